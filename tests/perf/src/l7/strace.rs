//! Counts system calls per request, in a run of its own: tracing slows everything down.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ballast_test_support::{Lab, Process, wait_for};
use rustix::process::Signal;

use super::scenario::Listener;
use super::subject::Subject;
use super::{LOAD_CPU, TRACE_S, wrk};

const ATTACH_LIMIT: Duration = Duration::from_secs(20);

/// System calls per request of all the subject's threads.
pub(super) async fn count(lab: &Lab, subject: &Subject) -> Result<f64> {
    let url = format!("http://{}/", subject.address(Listener::Plain));
    // Connections are opened before, so that opening them is not counted.
    wrk::run(lab, &url, &[], 1).await?;
    let client = lab.host("client", 31)?;
    let dir = client.dir()?;
    let (summary, log) = (dir.join("strace.txt"), dir.join(format!("strace-{}.log", subject.name)));
    let mut command = client.command_with(LOAD_CPU, "strace");
    command.args(["-c", "-f", "-o"]).arg(&summary).args(["-p", &subject.pid.to_string()]);
    let mut tracer = Process::start("strace", command, &log)?;
    wait_for("strace to attach", ATTACH_LIMIT, async || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains("attached"))
    })
    .await?;
    let result = wrk::run(lab, &url, &[], TRACE_S).await?;
    tracer.signal(Signal::INT)?;
    tracer.wait(ATTACH_LIMIT).await?;
    let text = fs::read_to_string(&summary).context("strace's summary")?;
    let calls = total(&text).with_context(|| format!("strace said:\n{text}"))?;
    ensure!(result.requests > 0, "{} answered nothing under strace", subject.name);
    Ok(calls / result.requests as f64)
}

/// The calls in the summary's last line: `100.00 1.23 5 24680 12 total`.
fn total(summary: &str) -> Option<f64> {
    let line = summary.lines().rev().find(|line| line.trim_end().ends_with("total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn reads_the_total() {
        let text = "% time seconds usecs/call calls errors syscall\n\
            ------ ----------- ----------- --------- --------- ----------------\n \
            60.00 0.000600 1 600 writev\n100.00    0.001000           1      1000        12 total\n";
        assert_eq!(super::total(text), Some(1_000.0));
        assert_eq!(super::total("nothing"), None);
    }
}
