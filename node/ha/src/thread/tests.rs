use std::net::IpAddr;

use ballast_model::ha::GroupState;
use ballast_model::{
    AnyDraft, Draft, Edit, NodeRole, NodeSpec, Snapshot, State, TrafficGroupSpec, testing,
};
use ballast_vrrp::State::{Active, Backup, Initialize};
use futures_util::future::BoxFuture;

use super::*;
use crate::kernel::Netlink;
use crate::{Ha, HaOptions, TrafficView};

#[path = "../../tests/shared/namespace.rs"]
mod namespace;

use namespace::{Namespace, ip};

const PATIENCE: Duration = Duration::from_secs(20);

struct Idle;

impl TrafficView for Idle {
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn data_plane_alive(&self) -> Result<(), String> {
        Ok(())
    }

    fn pool_up_percent(&self, _: &str) -> Option<u8> {
        None
    }

    fn quiesce(&self, _: Vec<IpAddr>, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

fn start(directory: &tempfile::TempDir) -> Ha {
    let options = HaOptions {
        node_name: "node-1".to_owned(),
        node_id: 1,
        state_dir: directory.path().to_owned(),
        advert_key: [7; 32],
        is_successor: false,
    };
    Ha::start(options, Arc::new(Idle)).unwrap()
}

async fn applied(ha: &Ha, index: u64) {
    let mut applied = ha.applied();
    let reached = applied.wait_for(|it| *it >= index);
    let _index = tokio::time::timeout(PATIENCE, reached).await.expect("in time").unwrap();
}

#[tokio::test]
async fn a_thread_that_panics_is_started_again_and_told_everything() {
    let directory = tempfile::tempdir().unwrap();
    let ha = start(&directory);
    ha.apply(Arc::new(Snapshot { index: 3, ..Snapshot::default() }));
    applied(&ha, 3).await;
    ha.0.command(Command::Panic);
    // Lost with the thread, or taken by the next one: it is carried out.
    ha.apply(Arc::new(Snapshot { index: 4, ..Snapshot::default() }));
    applied(&ha, 4).await;
    let error = ha.plane_status().error.expect("status tells of it");
    assert!(error.contains("started again (1 in all)") && error.contains("as asked"), "{error}");
    ha.shutdown().await;
}

/// In a network namespace of the test's own; needs root.
#[tokio::test]
async fn an_owner_whose_thread_panics_owns_again_and_leaves_a_recording() {
    let namespace = Namespace::new();
    namespace.enter();
    ip("link add eth0 type veth peer name eth1");
    ip("address add 192.0.2.1/24 dev eth0");
    ip("link set eth1 up");
    ip("link set eth0 up");
    let node = NodeSpec::new(1, NodeRole::Traffic, "192.0.2.1:7400", Vec::new());
    let virtual_ip: IpAddr = [192, 0, 2, 100].into();
    let mut group = TrafficGroupSpec::new(51, [virtual_ip]);
    group.advert_interval_ms = 100;
    let config = testing::config([
        Edit::put(AnyDraft::Node(Draft::new("node-1", node)), "n"),
        Edit::put(AnyDraft::TrafficGroup(Draft::new("web", group)), "g"),
    ]);
    let state = State { config, ..State::default() };
    let directory = tempfile::tempdir().unwrap();
    let ha = start(&directory);
    ha.apply(Arc::new(Snapshot { index: 1, state }));
    let mut netlink = Netlink::open().unwrap();
    let mut is_held = || {
        let mut addresses = netlink.devices().unwrap().into_iter().flat_map(|it| it.addresses);
        addresses.any(|it| it.address == virtual_ip)
    };
    let is_active =
        || ha.status().groups.first().is_some_and(|group| group.state == GroupState::Active);
    until(|| is_active() && is_held()).await;
    ha.0.command(Command::Panic);
    until(|| !is_active()).await;
    until(|| is_active() && is_held()).await;
    ha.shutdown().await;
    let parts = |file: std::path::PathBuf| {
        crate::recordings::replay(&file).expect("the same effects").machine.state()
    };
    let folder = directory.path().join("ha-recordings");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let parts: Vec<_> = files.into_iter().map(parts).collect();
    // Listening, Active, the panic while it was; the same again, and the stop.
    assert_eq!(parts, [Backup, Active, Active, Backup, Active, Initialize]);
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    let waited = async {
        while !is_so() {
            looks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.expect("in time");
}

#[tokio::test]
async fn a_thread_that_waits_for_its_next_start_lets_go_and_stops() {
    let directory = tempfile::tempdir().unwrap();
    let ha = start(&directory);
    for _ in 0..3 {
        ha.0.command(Command::Panic);
    }
    ha.release_all(Duration::ZERO).await;
    let ended = tokio::time::timeout(PATIENCE, ha.shutdown()).await;
    ended.expect("in time");
}

#[tokio::test]
async fn a_thread_that_hangs_is_told_of_and_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    let ha = start(&directory);
    let interval = Duration::from_millis(100);
    until(|| ha.0.pulse.is_alive(interval)).await;
    assert_eq!(ha.plane_status().error, None);
    let (release, hung) = std::sync::mpsc::sync_channel(0);
    ha.0.command(Command::Hang(hung));
    until(|| !ha.0.pulse.is_alive(interval)).await;
    until(|| ha.plane_status().error.is_some_and(|error| error.contains("has not run for"))).await;
    drop(release);
    until(|| ha.0.pulse.is_alive(interval) && ha.plane_status().error.is_none()).await;
    ha.shutdown().await;
}

#[tokio::test]
async fn a_thread_that_hangs_keeps_no_node_from_stopping_and_stops_when_it_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let ha = start(&directory);
    let (release, hung) = std::sync::mpsc::sync_channel(0);
    ha.0.command(Command::Hang(hung));
    // Neither demand finds room in the channel.
    for _ in 0..=crate::COMMAND_MAX_COUNT {
        ha.0.command(Command::HandOver { group: "nobody".to_owned() });
    }
    ha.release_all(Duration::ZERO).await;
    let ended = tokio::time::timeout(PATIENCE, ha.shutdown()).await;
    ended.expect("in time");
    drop(release);
}

#[tokio::test]
async fn commands_that_a_full_channel_refused_are_made_up_for() {
    let directory = tempfile::tempdir().unwrap();
    let ha = start(&directory);
    let (release, until) = std::sync::mpsc::sync_channel(0);
    ha.0.command(Command::Hang(until));
    for _ in 0..=crate::COMMAND_MAX_COUNT {
        ha.0.command(Command::HandOver { group: "nobody".to_owned() });
    }
    ha.apply(Arc::new(Snapshot { index: 5, ..Snapshot::default() }));
    assert!(ha.0.refused_count.load(Ordering::Relaxed) >= 1);
    drop(release);
    applied(&ha, 5).await;
    ha.shutdown().await;
}

#[test]
fn failures_are_shown_while_they_last_and_for_some_time_after() {
    let mut scheduling = Scheduling::default();
    assert_eq!(scheduling.problem(), None);
    let failure = |is_over, at| Some(Failure { why: "it broke".to_owned(), at, is_over });
    scheduling.last_failure = failure(false, Instant::now());
    assert!(scheduling.problem().expect("a problem").contains("does not run"));
    scheduling.last_failure = failure(true, Instant::now());
    assert!(scheduling.problem().expect("a problem").contains("was started again"));
    if let Some(long_ago) = Instant::now().checked_sub(SHOWN_FOR) {
        scheduling.last_failure = failure(true, long_ago);
        assert_eq!(scheduling.problem(), None);
    }
}
