//! Real-time priority while latencies are measured: load and proxy run whenever they have something to do.
//! Otherwise a request waits for as long as anything else on the machine is let run, milliseconds that no
//! proxy has spent.
//!
//! Only root may; others measure without, and see what the machine does beside.

use std::time::Duration;

use anyhow::Result;
use ballast_test_support::{Lab, process};

use super::LOAD_CPU;

const PROMPT_LOAD: &[&str] = &["taskset", "-c", "1", "chrt", "--fifo", "1"];

const SET_LIMIT: Duration = Duration::from_secs(10);

fn is_allowed() -> bool {
    rustix::process::geteuid().is_root()
}

/// What the load is started with.
pub(super) fn load() -> &'static [&'static str] {
    if is_allowed() { PROMPT_LOAD } else { LOAD_CPU }
}

/// Gives every thread of a process that priority, or the usual one.
pub(super) async fn set(lab: &Lab, pid: u32, is_prompt: bool) -> Result<()> {
    if !is_allowed() {
        return Ok(());
    }
    let mut command = lab.host("client", 31)?.command("chrt");
    let (policy, priority) = if is_prompt { ("--fifo", "1") } else { ("--other", "0") };
    command.args(["--all-tasks", policy, "--pid", priority, &pid.to_string()]);
    process::run(command, SET_LIMIT).await?;
    Ok(())
}
