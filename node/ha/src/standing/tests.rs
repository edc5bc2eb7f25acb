use ballast_model::ha::PRIORITY_HEALTHY_MIN;
use ballast_model::{
    AnyDraft, Draft, Edit, MonitorKind, MonitorSpec, NodeInterface, NodeRole, NodeSpec, Placement,
    PoolSpec, TrackedGateway, TrackedNetwork, TrackedPool, TrafficGroupSpec, testing,
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
    testing::config(edits)
}

fn well() -> Observed {
    Observed { held_down: None, data_plane: None, is_behind: false, owned: Vec::new() }
}

/// What is seen of pools, of the gateway and of the device `eth1`.
struct Seen {
    pool: Sighting,
    gateway: Sighting,
    link: Sighting,
}

const ALL_WELL: Seen = Seen {
    pool: Sighting::Well { lasts: Duration::MAX },
    gateway: Sighting::Well { lasts: Duration::MAX },
    link: Sighting::Well { lasts: Duration::MAX },
};

impl Sight for Seen {
    fn pool(&self, pool: &TrackedPool) -> Sighting {
        assert_eq!(pool.pool, "app");
        self.pool.clone()
    }

    fn gateway(&self, group: &str, address: IpAddr) -> Sighting {
        assert_eq!((group, address.to_string().as_str()), ("web", "192.0.2.1"));
        self.gateway.clone()
    }

    fn link(&self, device: &str) -> Sighting {
        assert_eq!(device, "eth1");
        self.link.clone()
    }
}

fn judged(config: &Config, observed: &Observed) -> Judgement {
    judge(config, "node-1", "web", observed, &ALL_WELL).unwrap()
}

/// The group tracks a gateway and the network `back`.
fn tracking_config(interfaces: Vec<NodeInterface>) -> Config {
    let config = config(|node| node.interfaces = interfaces);
    let mut group = config.traffic_groups.get("web").unwrap().to_draft();
    group.spec.tracking.gateways =
        vec![TrackedGateway { address: [192, 0, 2, 1].into(), weight: 20 }];
    group.spec.tracking.networks = vec![TrackedNetwork { network: "back".to_owned(), weight: 30 }];
    config.edited(&[Edit::put(AnyDraft::TrafficGroup(group), "c")], 2, 2).unwrap()
}

fn eth1() -> Vec<NodeInterface> {
    let (network, device) = ("back".to_owned(), "eth1".to_owned());
    vec![NodeInterface { network, device, ipv4: None, ipv6: None }]
}

fn lost_for(lasts: Duration) -> Sighting {
    Sighting::Lost { lasts, why: "does not answer ARP on eth0".to_owned() }
}

#[test]
fn a_pool_of_which_too_little_is_up_degrades() {
    let config = config(|_| ());
    let well_off = judged(&config, &well());
    assert_eq!((well_off.standing.unable, well_off.standing.priority), (None, 220));
    let seen = Seen { pool: lost_for(Duration::ZERO), ..ALL_WELL };
    let degraded = judge(&config, "node-1", "web", &well(), &seen).unwrap();
    assert_eq!(degraded.standing.priority, 100);
    assert_eq!(degraded.degraded, ["pool app does not answer ARP on eth0"]);
}

/// Else each outage of a shared pool moves the group, in one half of all cases, there and back.
#[test]
fn an_owner_holds_a_pool_for_well_until_every_node_must_have_found_it_lost() {
    let mut monitor = MonitorSpec::new(MonitorKind::Tcp);
    (monitor.interval_ms, monitor.timeout_ms, monitor.fall) = (1_000, 500, 3);
    let pool = PoolSpec { monitors: vec!["tcp".to_owned()], ..PoolSpec::default() };
    let edits = [
        Edit::put(AnyDraft::Monitor(Draft::new("tcp", monitor)), "m"),
        Edit::put(AnyDraft::Pool(Draft::new("app", pool)), "b"),
    ];
    let config = config(|_| ()).edited(&edits, 2, 2).unwrap();
    let owner = Observed { owned: vec!["web".to_owned()], ..well() };
    let priority = |observed: &Observed, pool: Sighting| {
        let seen = Seen { pool, ..ALL_WELL };
        judge(&config, "node-1", "web", observed, &seen).unwrap().standing.priority
    };
    // An interval, three shifts of up to a tenth of it either way, and the time of a probe.
    let (short, long) = (Duration::from_millis(2_099), Duration::from_millis(2_100));
    assert_eq!([short, long].map(|lasts| priority(&owner, lost_for(lasts))), [220, 100]);
    assert_eq!(priority(&well(), lost_for(Duration::ZERO)), 100, "others take it as it is");
    let back = |lasts| Sighting::Well { lasts };
    assert_eq!([short, long].map(|lasts| priority(&well(), back(lasts))), [100, 220]);
    assert_eq!(priority(&owner, back(Duration::ZERO)), 220);
}

#[test]
fn by_load_a_group_stays_where_it_is_the_smaller_share() {
    let config = |capacity| {
        let config = config(|node| node.capacity = capacity);
        let mut web = config.traffic_groups.get("web").unwrap().to_draft();
        (web.spec.placement, web.spec.load_factor) = (Placement::Load, 20);
        let mut other = TrafficGroupSpec::new(8, ["192.0.2.11".parse().unwrap()]);
        other.load_factor = 20;
        let edits = [
            Edit::put(AnyDraft::TrafficGroup(web), "c"),
            Edit::put(AnyDraft::TrafficGroup(Draft::new("other", other)), "d"),
        ];
        config.edited(&edits, 2, 2).unwrap()
    };
    let both = Observed { owned: vec!["web".to_owned(), "other".to_owned()], ..well() };
    let large_owner = judged(&config(1_000), &both).standing.priority;
    let small_and_empty = judged(&config(100), &well()).standing.priority;
    assert!(large_owner > small_and_empty, "4 % there, 20 % here");
    let large_and_empty = judged(&config(1_000), &well()).standing.priority;
    assert!(large_and_empty > large_owner, "2 % there, 4 % here");
}

#[test]
fn a_dead_data_plane_and_a_start_take_no_part() {
    let config = config(|_| ());
    let dead = Observed { data_plane: Some("worker 1 hangs".to_owned()), ..well() };
    let judgement = judged(&config, &dead);
    assert_eq!(judgement.standing.unable, Some(Unable::DataPlaneDead));
    assert!(judgement.unable.unwrap().contains("worker 1"));
    let starting = Observed { held_down: Some("probes".to_owned()), ..well() };
    assert_eq!(judged(&config, &starting).standing.unable, Some(Unable::Starting));
}

#[test]
fn maintenance_is_the_last_resort_and_offline_none() {
    let maintenance = config(|node| node.availability = Availability::Maintenance);
    let judgement = judged(&maintenance, &well());
    assert_eq!((judgement.standing.unable, judgement.standing.priority), (None, 1));
    let offline = config(|node| node.availability = Availability::Offline);
    assert_eq!(judged(&offline, &well()).standing.unable, Some(Unable::Offline));
}

#[test]
fn a_group_that_is_not_there_is_not_judged() {
    assert_eq!(judge(&config(|_| ()), "node-1", "other", &well(), &ALL_WELL), None);
}

#[test]
fn a_node_whose_configuration_may_be_old_takes_nothing_from_one_that_serves() {
    let config = config(|_| ());
    let behind = Observed { is_behind: true, ..well() };
    let judgement = judged(&config, &behind);
    assert_eq!(judgement.standing.unable, None, "where nobody serves it does");
    assert!(judgement.standing.priority < PRIORITY_HEALTHY_MIN);
}

#[test]
fn a_lost_gateway_and_a_network_without_link_degrade_by_their_weights() {
    let config = tracking_config(eth1());
    let judged = |seen: &Seen| judge(&config, "node-1", "web", &well(), seen).unwrap();
    let healthy = judged(&ALL_WELL).standing.priority;
    assert!(healthy >= PRIORITY_HEALTHY_MIN);
    assert_eq!(judged(&ALL_WELL).gateways(), Gateways::Reachable);
    let no_gateway = Seen { gateway: lost_for(Duration::ZERO), ..ALL_WELL };
    let judgement = judged(&no_gateway);
    assert_eq!(judgement.standing.priority, healthy - 100 - 20);
    assert_eq!(judgement.degraded, ["gateway 192.0.2.1 does not answer ARP on eth0"]);
    assert_eq!(judgement.gateways(), Gateways::Failed);
    let no_link = Sighting::Lost { lasts: Duration::ZERO, why: "eth1 has no link".to_owned() };
    let judgement = judged(&Seen { link: no_link, ..no_gateway });
    assert_eq!(judgement.standing.priority, healthy - 100 - 20 - 30);
    assert_eq!(judgement.degraded[1], "network back: eth1 has no link");
    assert_eq!(judgement.standing.unable, None, "where nobody is better it serves");
}

#[test]
fn what_can_not_be_looked_at_takes_nothing_but_a_network_without_device_is_lost() {
    let unknown = Sighting::Unknown;
    let unknown = Seen { pool: unknown.clone(), gateway: unknown.clone(), link: unknown };
    let config = tracking_config(eth1());
    let judgement = judge(&config, "node-1", "web", &well(), &unknown).unwrap();
    assert!(judgement.standing.priority >= PRIORITY_HEALTHY_MIN);
    assert_eq!(judgement.gateways(), Gateways::Unknown);
    assert!(judgement.tracked.iter().all(|one| one.state == TrackedState::Unknown));
    let config = tracking_config(Vec::new());
    let judgement = judge(&config, "node-1", "web", &well(), &unknown).unwrap();
    assert_eq!(judgement.degraded, ["network back: the node names no device on it"]);
}

/// At each moment: a node that is well, while the owner is not, takes the group over.
#[test]
fn a_gateway_that_all_lose_moves_no_group_when_it_goes_nor_when_it_comes_back() {
    let config = tracking_config(eth1());
    let owner = Observed { owned: vec!["web".to_owned()], ..well() };
    let is_well = |observed: &Observed, gateway: Sighting| {
        let seen = Seen { gateway, ..ALL_WELL };
        let judgement = judge(&config, "node-1", "web", observed, &seen).unwrap();
        judgement.standing.priority >= PRIORITY_HEALTHY_MIN
    };
    let well_for = |lasts| Sighting::Well { lasts };
    // Two nodes ask every 500 ms and not at the same moment: their verdicts are less than that apart.
    for apart_ms in [0, 1, 250, 499, 500] {
        for owner_is_ahead in [true, false] {
            for now_ms in (0..5_000_u64).step_by(10) {
                let first = Duration::from_millis(now_ms);
                let second = now_ms.checked_sub(apart_ms).map(Duration::from_millis);
                let (own, other) =
                    if owner_is_ahead { (Some(first), second) } else { (second, Some(first)) };
                let lost = |seen: Option<Duration>| seen.map_or(well_for(Duration::MAX), lost_for);
                let stays = is_well(&owner, lost(own)) || !is_well(&well(), lost(other));
                assert!(stays, "lost, {now_ms} ms, {apart_ms} ms apart");
                let back = |seen: Option<Duration>| seen.map_or(lost_for(Duration::MAX), well_for);
                let stays = is_well(&owner, back(own)) || !is_well(&well(), back(other));
                assert!(stays, "back, {now_ms} ms, {apart_ms} ms apart");
            }
        }
    }
}

#[test]
fn an_owner_that_alone_loses_its_gateway_gives_up_after_its_grace() {
    let config = tracking_config(eth1());
    let owner = Observed { owned: vec!["web".to_owned()], ..well() };
    let priority = |lasts| {
        let seen = Seen { gateway: lost_for(lasts), ..ALL_WELL };
        judge(&config, "node-1", "web", &owner, &seen).unwrap().standing.priority
    };
    assert!(priority(OWNER_GRACE - Duration::from_millis(1)) >= PRIORITY_HEALTHY_MIN);
    assert!(priority(OWNER_GRACE) < PRIORITY_HEALTHY_MIN);
}
