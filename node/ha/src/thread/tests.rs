use std::net::IpAddr;

use ballast_model::Snapshot;
use futures_util::future::BoxFuture;

use super::*;
use crate::{Ha, HaOptions, TrafficView};

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
