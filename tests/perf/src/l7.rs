//! HTTP/1.1 keep-alive: ballast, HAProxy and nginx in alternated rounds, one worker each.
//!
//! The proxy has CPU 0; wrk and the origin share CPU 1. All three do the same to a request: pick the
//! one member, reuse a connection to it, add X-Forwarded-For, -Proto, -Host and -Port, write no log.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use ballast_test_support::Lab;

use crate::procfs::Usage;
use crate::report::{Bar, Report};
use crate::statistics::median;

mod strace;
mod subject;
mod wrk;

use subject::{Origin, Subject};

/// CPU per request relative to the better peer, at most.
const CPU_RATIO_LIMIT: f64 = 1.25;

/// Length of a measurement, and of the run before it that opens connections.
const MEASURE_S: u32 = 4;
const WARM_UP_S: u32 = 1;

/// Length of the run under strace; that one is slow, and only its counts are used.
const TRACE_S: u32 = 2;

/// The peers that ballast is compared with.
const PEERS: [&str; 2] = ["haproxy", "nginx"];

type Metrics = BTreeMap<String, f64>;

/// Measures `rounds` alternated rounds.
pub(crate) async fn run(rounds: u32) -> Result<Report> {
    ensure!(rounds > 0, "no rounds");
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    ensure!(cpus >= 2, "two CPUs are needed: one for the proxy, one for load and origin");
    let lab = Lab::loopback()?;
    let origin = Origin::start(&lab).await?;
    let subjects = [
        Subject::ballast(&lab, &origin).await?,
        Subject::haproxy(&lab, &origin).await?,
        Subject::nginx(&lab, &origin).await?,
    ];
    let mut samples: BTreeMap<&str, Vec<Metrics>> = BTreeMap::new();
    let mut ratios = Vec::new();
    for round in 0..rounds as usize {
        let mut cpu = BTreeMap::new();
        for turn in 0..subjects.len() {
            // Another subject is first in each round: none is always measured on a fresh machine.
            let subject = &subjects[(round + turn) % subjects.len()];
            let metrics = measure(&lab, subject).await?;
            eprintln!(
                "round {}: {:<8} {:.2} µs CPU per request, {:.0} requests/s",
                round + 1,
                subject.name,
                metrics["cpu_us_per_request"],
                metrics["requests_per_s"]
            );
            cpu.insert(subject.name, metrics["cpu_us_per_request"]);
            samples.entry(subject.name).or_default().push(metrics);
        }
        let better = PEERS.iter().map(|peer| cpu[peer]).fold(f64::INFINITY, f64::min);
        ratios.push(cpu["ballast"] / better);
    }
    let mut report = Report::new("l7", rounds);
    for subject in &subjects {
        let mut metrics = medians(&samples[subject.name]);
        metrics.insert("syscalls_per_request".to_owned(), strace::count(&lab, subject).await?);
        report.subjects.insert(subject.name.to_owned(), metrics);
    }
    let ratio = median(&ratios);
    report.ratios.insert("cpu_vs_better_peer".to_owned(), ratio);
    let failures = samples["ballast"].iter().map(|metrics| metrics["failures"]).sum();
    report.bars.push(Bar::at_most("CPU per request vs the better peer", ratio, CPU_RATIO_LIMIT));
    report.bars.push(Bar::at_most("failed requests", failures, 0.0));
    Ok(report)
}

async fn measure(lab: &Lab, subject: &Subject) -> Result<Metrics> {
    wrk::run(lab, &subject.url, WARM_UP_S).await?;
    let before = Usage::of(subject.pid)?;
    let result = wrk::run(lab, &subject.url, MEASURE_S).await?;
    let usage = Usage::of(subject.pid)?.since(before);
    let requests = result.requests as f64;
    ensure!(requests > 0.0, "{} answered nothing", subject.name);
    Ok(BTreeMap::from([
        ("cpu_us_per_request".to_owned(), usage.cpu_us / requests),
        ("context_switches_per_request".to_owned(), usage.context_switches as f64 / requests),
        ("requests_per_s".to_owned(), requests / result.duration_s),
        ("p50_us".to_owned(), result.p50_us),
        ("p99_us".to_owned(), result.p99_us),
        ("failures".to_owned(), result.failures as f64),
        ("rss_mib".to_owned(), usage.rss_bytes as f64 / (1_024.0 * 1_024.0)),
    ]))
}

fn medians(samples: &[Metrics]) -> Metrics {
    let names = samples.first().map(|metrics| metrics.keys().cloned()).into_iter().flatten();
    names
        .map(|name| {
            let values: Vec<f64> = samples.iter().map(|metrics| metrics[&name]).collect();
            let value = median(&values);
            (name, value)
        })
        .collect()
}

/// Longest time for a run of `seconds` to end.
fn limit(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds) + 20)
}

#[cfg(test)]
mod tests;
