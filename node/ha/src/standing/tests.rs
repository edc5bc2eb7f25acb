use ballast_model::{
    AnyDraft, Draft, Edit, NodeRole, NodeSpec, PoolSpec, TrackedPool, TrafficGroupSpec,
};

use super::*;

fn config(change: impl FnOnce(&mut NodeSpec)) -> Config {
    let mut node = NodeSpec::new(1, NodeRole::Traffic, "192.0.2.1:7400", Vec::new());
    change(&mut node);
    let mut spec = TrafficGroupSpec::new(7, ["192.0.2.10".parse().unwrap()]);
    spec.tracking.pools =
        vec![TrackedPool { pool: "app".to_owned(), up_min_percent: 50, weight: 20 }];
    let edits = [
        Edit::put(AnyDraft::Node(Draft::new("node-1", node)), "a"),
        Edit::put(AnyDraft::Pool(Draft::new("app", PoolSpec::default())), "b"),
        Edit::put(AnyDraft::TrafficGroup(Draft::new("web", spec)), "c"),
    ];
    Config::default().edited(&edits, 1, 1).unwrap()
}

fn well() -> Observed {
    Observed { held_down: None, data_plane: None, is_behind: false, owned: Vec::new() }
}

fn judged(config: &Config, observed: &Observed, up_percent: u8) -> Judgement {
    judge(config, "node-1", "web", observed, |_| Some(up_percent)).unwrap()
}

#[test]
fn a_pool_below_its_threshold_degrades_and_at_it_does_not() {
    let config = config(|_| ());
    let well_off = judged(&config, &well(), 50);
    assert_eq!((well_off.standing.unable, well_off.standing.priority), (None, 200));
    let degraded = judged(&config, &well(), 49);
    assert!(degraded.standing.priority < ballast_model::ha::PRIORITY_HEALTHY_MIN);
    assert_eq!(degraded.degraded.len(), 1);
}

#[test]
fn a_dead_data_plane_and_a_start_take_no_part() {
    let config = config(|_| ());
    let dead = Observed { data_plane: Some("worker 1 hangs".to_owned()), ..well() };
    let judgement = judged(&config, &dead, 100);
    assert_eq!(judgement.standing.unable, Some(Unable::DataPlaneDead));
    assert!(judgement.unable.unwrap().contains("worker 1"));
    let starting = Observed { held_down: Some("probes".to_owned()), ..well() };
    assert_eq!(judged(&config, &starting, 100).standing.unable, Some(Unable::Starting));
}

#[test]
fn maintenance_is_the_last_resort_and_offline_none() {
    let maintenance = config(|node| node.availability = Availability::Maintenance);
    let judgement = judged(&maintenance, &well(), 100);
    assert_eq!((judgement.standing.unable, judgement.standing.priority), (None, 1));
    let offline = config(|node| node.availability = Availability::Offline);
    assert_eq!(judged(&offline, &well(), 100).standing.unable, Some(Unable::Offline));
}

#[test]
fn a_group_that_is_not_there_is_not_judged() {
    assert_eq!(judge(&config(|_| ()), "node-1", "other", &well(), |_| None), None);
}

#[test]
fn a_node_whose_configuration_may_be_old_takes_nothing_from_one_that_serves() {
    let config = config(|_| ());
    let behind = Observed { is_behind: true, ..well() };
    let judgement = judged(&config, &behind, 100);
    assert_eq!(judgement.standing.unable, None, "where nobody serves it does");
    assert!(judgement.standing.priority < ballast_model::ha::PRIORITY_HEALTHY_MIN);
}
