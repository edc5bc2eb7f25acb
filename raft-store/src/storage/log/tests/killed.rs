//! A process that writes is killed at any moment; what it had acknowledged is there.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;

const STATE_DIR: &str = "BALLAST_TEST_STATE_DIR";
const ROUNDS: u64 = 12;

/// Appends, purges and votes until it is killed, and says what is durable. Does nothing unless a
/// test starts it with a directory.
#[test]
#[ignore = "it runs as the process that is killed"]
fn writes_until_killed() {
    let Some(state_dir) = std::env::var_os(STATE_DIR) else { return };
    let opened = crate::storage::open(Path::new(&state_dir)).unwrap();
    let mut log = opened.log;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    runtime.block_on(async {
        let last = log.get_log_state().await.unwrap().last_log_id.map_or(0, |id| id.index);
        for index in last + 1.. {
            // Sizes from none to several parts.
            let bytes = (index as usize * 7_919) % 40_000;
            log.blocking_append([entry(index, bytes)]).await.unwrap();
            println!("acknowledged {index}");
            if index % 50 == 0 {
                log.save_vote(&Vote::new(index, 1)).await.unwrap();
                println!("voted {index}");
            }
        }
    });
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let directory = TempDir::new().unwrap();
    let (mut acknowledged, mut voted) = (0, 0);
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "storage::log::tests::killed::writes_until_killed"])
            .args(["--ignored", "--nocapture"])
            .env(STATE_DIR, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let goal = acknowledged + 10 + round * 13;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut note = |line: &str, acknowledged: &mut u64| {
            let number = |prefix| line.split_once(prefix)?.1.trim().parse::<u64>().ok();
            voted = number("voted ").unwrap_or(voted);
            *acknowledged = number("acknowledged ").unwrap_or(*acknowledged);
        };
        while acknowledged < goal {
            let line = lines.next().expect("it goes on until killed").unwrap();
            note(&line, &mut acknowledged);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        lines.map_while(Result::ok).for_each(|line| note(&line, &mut acknowledged));
        let opened = crate::storage::open(directory.path()).unwrap();
        let found = verify(opened.log.backend.as_ref()).unwrap();
        let last = found.last.unwrap().index;
        assert!(last >= acknowledged, "round {round}: {last} < {acknowledged}");
        let vote = found.vote.map_or(0, |vote| vote.leader_id.term);
        assert!(vote >= voted, "round {round}: voted {voted}, found {vote}");
        drop(opened.log);
        opened.writer_thread.join().unwrap();
    }
}
