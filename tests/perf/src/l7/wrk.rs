//! Runs wrk and reads what it prints.

use std::fs;

use anyhow::{Context, Result};
use ballast_test_support::{Lab, process};

use super::LOAD_CPU;
use super::scenario::{USER_COUNT, USER_FIELD};
use crate::driver::Outcome;

/// Connections where requests are counted, and where bytes are.
const CONNECTION_COUNT: usize = 64;
const LARGE_CONNECTION_COUNT: usize = 8;

/// Sends for `seconds` over 64 connections from the load's CPU.
pub(super) async fn run(lab: &Lab, url: &str, headers: &[String], seconds: u32) -> Result<Outcome> {
    let mut arguments = Vec::new();
    for header in headers {
        arguments.extend(["-H".to_owned(), header.clone()]);
    }
    send(lab, url, CONNECTION_COUNT, &arguments, seconds).await
}

/// The same over 8 connections: content so large that few answers end in time.
pub(super) async fn large(lab: &Lab, url: &str, seconds: u32) -> Result<Outcome> {
    // By itself it gives an answer up after 2 s.
    let patience = format!("--timeout={}s", seconds + 10);
    send(lab, url, LARGE_CONNECTION_COUNT, &[patience], seconds).await
}

/// Each request names the next of so many clients.
pub(super) async fn users(lab: &Lab, url: &str, seconds: u32) -> Result<Outcome> {
    let script = lab.host("client", 31)?.dir()?.join("users.lua");
    fs::write(&script, users_script())?;
    let arguments = ["-s".to_owned(), script.display().to_string()];
    send(lab, url, CONNECTION_COUNT, &arguments, seconds).await
}

/// What wrk runs to make them.
pub(super) fn users_script() -> String {
    // Made before, so that the load's CPU does not make strings while it measures.
    format!(
        "local made, next = {{}}, 0\n\
         function init()\n  \
           for i = 1, {USER_COUNT} do\n    \
             made[i] = wrk.format(nil, nil, {{ [\"{USER_FIELD}\"] = \"user-\" .. i }})\n  \
           end\n\
         end\n\
         function request()\n  next = next % {USER_COUNT} + 1\n  return made[next]\nend\n"
    )
}

async fn send(
    lab: &Lab,
    url: &str,
    connections: usize,
    arguments: &[String],
    seconds: u32,
) -> Result<Outcome> {
    let client = lab.host("client", 31)?;
    let mut command = client.command_with(LOAD_CPU, "wrk");
    command.args(["-t1", &format!("-c{connections}"), "--latency", &format!("-d{seconds}s")]);
    command.args(arguments).arg(url);
    let output = process::run(command, super::limit(seconds)).await?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse(&text).with_context(|| format!("wrk said:\n{text}"))
}

fn parse(text: &str) -> Option<Outcome> {
    let mut outcome = Outcome::default();
    for line in text.lines().map(str::trim) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [count, "requests", "in", time, read, "read"] => {
                outcome.requests = count.parse().ok()?;
                outcome.duration_s = microseconds(time.trim_end_matches(','))? / 1e6;
                outcome.bytes = bytes(read)?;
            }
            ["50%", time] => outcome.p50_us = microseconds(time)?,
            ["99%", time] => outcome.p99_us = microseconds(time)?,
            ["Non-2xx", .., count] => outcome.failures += count.parse::<u64>().ok()?,
            ["Socket", "errors:", rest @ ..] => {
                let numbers =
                    rest.iter().filter_map(|word| word.trim_end_matches(',').parse::<u64>().ok());
                outcome.failures += numbers.sum::<u64>();
            }
            _ => {}
        }
    }
    (outcome.duration_s > 0.0).then_some(outcome)
}

/// wrk's `812.00us`, `1.42ms`, `3.00s`, `1.50m`.
fn microseconds(text: &str) -> Option<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 60e6)];
    let (number, unit) =
        units.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
    Some(number.parse::<f64>().ok()? * unit)
}

/// wrk's `512.00B`, `27.59MB`, `1.20GB`: of 1,024 each.
fn bytes(text: &str) -> Option<u64> {
    let units = [("KB", 1), ("MB", 2), ("GB", 3), ("TB", 4), ("B", 0)];
    let (number, power) =
        units.iter().find_map(|(name, power)| Some((text.strip_suffix(name)?, *power)))?;
    Some((number.parse::<f64>().ok()? * 1_024_f64.powi(power)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_wrk_prints() {
        let text = "Running 4s test @ http://127.0.0.1:1/\n  1 threads and 64 connections\n  \
            Latency Distribution\n     50%  812.00us\n     75%    1.00ms\n     90%    1.10ms\n     \
            99%    1.42ms\n  157260 requests in 4.00s, 27.59MB read\n  Socket errors: connect 0, \
            read 2, write 0, timeout 1\n  Non-2xx or 3xx responses: 4\nRequests/sec:  39315.00\n";
        let outcome = parse(text).unwrap();
        assert_eq!(outcome.requests, 157_260);
        assert_eq!(outcome.failures, 7);
        assert_eq!(outcome.duration_s, 4.0);
        assert_eq!(outcome.bytes, (27.59 * 1_048_576.0) as u64);
        assert_eq!((outcome.p50_us, outcome.p99_us), (812.0, 1_420.0));
        assert_eq!(parse("unable to connect"), None);
    }
}
