//! Runs h2load and reads what it prints.

use anyhow::{Context, Result};
use ballast_test_support::{Lab, process};

use super::LOAD_CPU;
use crate::driver::Outcome;

/// Sends for `seconds` over 8 connections of 16 streams each.
pub(super) async fn run(lab: &Lab, url: &str, seconds: u32) -> Result<Outcome> {
    let client = lab.host("client", 31)?;
    let mut command = client.command_with(LOAD_CPU, "h2load");
    command.args(["-t1", "-c8", "-m16", &format!("-D{seconds}"), url]);
    let output = process::run(command, super::limit(seconds)).await?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse(&text, f64::from(seconds)).with_context(|| format!("h2load said:\n{text}"))
}

/// `requests: 10 total, 10 started, 10 done, 10 succeeded, 0 failed, 0 errored, 0 timeout` and
/// `status codes: 10 2xx, 0 3xx, 0 4xx, 0 5xx`. It gives no percentiles.
fn parse(text: &str, duration_s: f64) -> Option<Outcome> {
    let number = |line: &str, word: &str| -> Option<u64> {
        let part = line.split(',').find(|part| part.trim_end().ends_with(word))?;
        part.split_whitespace().rev().nth(1)?.parse().ok()
    };
    let line = |start: &str| text.lines().find_map(|line| line.trim().strip_prefix(start));
    let requests = line("requests:")?;
    let statuses = line("status codes:")?;
    // Streams that are open when time is up are neither done nor failed.
    let good = number(statuses, "2xx")? + number(statuses, "3xx")?;
    let failures = number(requests, "errored")? + number(requests, "timeout")?;
    let refused = number(statuses, "4xx")? + number(statuses, "5xx")?;
    Some(Outcome {
        requests: good + refused,
        failures: failures + refused,
        duration_s,
        ..Outcome::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_h2load_prints() {
        let text = "finished in 4.00s, 12345.00 req/s, 1.20MB/s\n\
            requests: 49380 total, 49508 started, 49380 done, 49370 succeeded, 10 failed, 2 errored, \
            1 timeout\nstatus codes: 49370 2xx, 0 3xx, 0 4xx, 8 5xx\n";
        let outcome = parse(text, 4.0).unwrap();
        assert_eq!((outcome.requests, outcome.failures), (49_378, 11));
        assert_eq!(parse("", 4.0), None);
    }
}
