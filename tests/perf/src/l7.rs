//! The HTTP data plane: ballast, HAProxy and nginx in alternated rounds, one worker each.
//!
//! The proxy has CPU 0; load and origin share CPU 1. All three do the same to a request: pick a
//! member, reuse a connection to it, add X-Forwarded-For, -Proto, -Host and -Port; or pass bytes on.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ballast_test_support::{Lab, wait_for};
use clap::Args;
use tokio::net::TcpStream;

use crate::Options;
use crate::driver::Outcome;
use crate::procfs::Usage;
use crate::report::{Bar, Report};
use crate::statistics::median;

mod certificate;
mod drive;
mod h2load;
mod memory;
mod origin;
mod peers;
mod prompt;
mod scenario;
mod strace;
mod subject;
mod wrk;

use certificate::Certificate;
use origin::Origin;
use scenario::{Cost, Generator, HOST_RULE_COUNT, Listener, SCENARIOS, Scenario, rule_host};
use subject::Subject;

/// The proxies' CPU, and the one of origin and load.
const PROXY_CPU: &[&str] = &["taskset", "-c", "0"];
const LOAD_CPU: &[&str] = &["taskset", "-c", "1"];
const LOAD_CPU_INDEX: usize = 1;
/// For two workers.
const BOTH_CPUS: &[&str] = &["taskset", "-c", "0,1"];

/// Length of a measurement, and of the run before it that opens connections.
const MEASURE_S: u32 = 4;
const WARM_UP_S: u32 = 1;

/// Length of the run under strace; that one is slow, and only its counts are used.
const TRACE_S: u32 = 2;

const START_LIMIT: Duration = Duration::from_secs(20);

/// Length of a run at a fixed rate, and how many there are for each round: what the machine does beside
/// shows in some, and the median is of all.
const OPEN_LOOP_S: u32 = 2;
const OPEN_LOOP_RUN_COUNT: u32 = 3;

/// The rate at which latencies are compared, relative to the slowest subject's capacity.
const OPEN_LOOP_LOAD: f64 = 0.6;

/// What a request of a kept connection may cost.
const SYSCALL_LIMIT: f64 = 5.0;
const CONTEXT_SWITCH_LIMIT: f64 = 0.05;
/// CPU per request with two workers, relative to one.
const TWO_WORKERS_LIMIT: f64 = 1.1;

/// The peers that ballast is compared with.
const PEERS: [&str; 2] = ["haproxy", "nginx"];

#[derive(Clone, Debug, Args)]
pub(crate) struct L7Options {
    #[command(flatten)]
    pub(crate) common: Options,
    /// Rows to measure, separated by commas; all without it. `memory` and `two-workers` are rows too.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The document whose section `l7` is replaced.
    #[arg(long)]
    document: Option<PathBuf>,
}

impl L7Options {
    fn wants(&self, row: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == row)
    }
}

type Metrics = BTreeMap<String, f64>;

/// Everything that is running.
struct Bench {
    lab: Lab,
    origin: Origin,
    certificate: Certificate,
    subjects: [Subject; 3],
}

/// Measures `rounds` alternated rounds of each row.
pub(crate) async fn run(options: &L7Options, rounds: u32) -> Result<Report> {
    ensure!(rounds > 0, "no rounds");
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    ensure!(cpus >= 2, "two CPUs are needed: one for the proxy, one for load and origin");
    let lab = Lab::loopback()?;
    let origin = Origin::start(&lab).await?;
    let certificate = Certificate::issue(&lab)?;
    let subjects = subject::all(&lab, &origin, &certificate).await?;
    let bench = Bench { lab, origin, certificate, subjects };
    let mut report = Report::new("l7", rounds);
    for scenario in SCENARIOS.iter().filter(|scenario| options.wants(scenario.name)) {
        report.add_row(bench.row(scenario, rounds).await.context(scenario.name)?);
    }
    if options.wants("memory") {
        report.add_row(memory::row(&bench).await.context("memory")?);
    }
    if options.wants("two-workers") {
        report.add_row(bench.two_workers(rounds).await.context("two-workers")?);
    }
    ensure!(!report.rows.is_empty(), "no row has such a name");
    if let Some(path) = &options.document {
        crate::document::write_section(path, "l7", &crate::document::table(&report)?)?;
    }
    Ok(report)
}

impl Bench {
    async fn row(&self, scenario: &Scenario, rounds: u32) -> Result<Report> {
        let (shown, unit) = scenario.cost.shown();
        let has_it = |subject: &&Subject| subject.listeners.contains_key(&scenario.listener);
        let subjects: Vec<&Subject> = self.subjects.iter().filter(has_it).collect();
        let mut samples: BTreeMap<&str, Vec<Metrics>> = BTreeMap::new();
        let mut ratios = Vec::new();
        for round in 0..rounds as usize {
            let mut cpu = BTreeMap::new();
            for turn in 0..subjects.len() {
                // Another subject is first in each round: none is always measured on a fresh machine.
                let subject = subjects[(round + turn) % subjects.len()];
                let metrics = self.measure(subject, scenario).await.context(subject.name)?;
                eprintln!(
                    "{} {}: {:<8} {:.2} {unit}, {:.0} requests/s",
                    scenario.name,
                    round + 1,
                    subject.name,
                    metrics[shown],
                    metrics["requests_per_s"]
                );
                cpu.insert(subject.name, metrics[scenario.cost.metric()]);
                samples.entry(subject.name).or_default().push(metrics);
            }
            let better = PEERS.iter().filter_map(|peer| cpu.get(peer).copied());
            let better = better.fold(f64::INFINITY, f64::min);
            ratios.push(cpu["ballast"] / better);
        }
        let mut report = Report::new(scenario.name, rounds);
        for (name, samples) in &samples {
            report.subjects.insert((*name).to_owned(), medians(samples));
        }
        let ratio = median(&ratios);
        report.ratios.insert("cpu_vs_better_peer".to_owned(), ratio);
        if let Some(limit) = scenario.ratio_limit {
            report.bars.push(Bar::at_most("CPU per request vs the better peer", ratio, limit));
        } else {
            report.shown = Some((shown.to_owned(), unit.to_owned()));
        }
        let failures = samples["ballast"].iter().map(|metrics| metrics["failures"]).sum();
        report.bars.push(Bar::at_most("failed requests", failures, 0.0));
        if scenario.is_close_up {
            self.look_closer(&mut report, rounds).await?;
        }
        Ok(report)
    }

    async fn measure(&self, subject: &Subject, scenario: &Scenario) -> Result<Metrics> {
        self.send(subject, scenario, WARM_UP_S).await?;
        let before = Usage::of(subject.pid)?;
        let outcome = self.send(subject, scenario, MEASURE_S).await?;
        let usage = Usage::of(subject.pid)?.since(before);
        let requests = outcome.requests as f64;
        let bytes = outcome.bytes as f64;
        // Of large content few answers may have ended.
        ensure!(requests > 0.0 || bytes > 0.0, "it answered nothing");
        if let Generator::Handshakes { resumed } = scenario.generator {
            let share = outcome.resumed as f64 / requests;
            let is_as_asked = if resumed { share > 0.95 } else { share == 0.0 };
            ensure!(is_as_asked, "{:.1} % of its handshakes resumed a session", share * 100.0);
        }
        let of_cost = match scenario.cost {
            Cost::Request => vec![("requests_per_cpu_s", requests / usage.cpu_us * 1e6)],
            Cost::Gigabyte | Cost::Bandwidth => vec![
                ("cpu_ms_per_gb", usage.cpu_us / 1e3 / (bytes / 1e9)),
                ("gbit_per_cpu_s", bytes * 8.0 / 1e9 / (usage.cpu_us / 1e6)),
                ("gbit_per_s", bytes * 8.0 / 1e9 / outcome.duration_s),
            ],
            // One to the member, one back.
            Cost::Datagram => vec![
                ("cpu_us_per_datagram", usage.cpu_us / (2.0 * requests)),
                ("datagrams_per_cpu_s", 2.0 * requests / usage.cpu_us * 1e6),
            ],
        };
        let of_cost = of_cost.into_iter().map(|(name, value)| (name.to_owned(), value));
        let requests = requests.max(1.0);
        Ok(of_cost
            .chain([
                ("cpu_us_per_request".to_owned(), usage.cpu_us / requests),
                ("kernel_us_per_request".to_owned(), usage.kernel_us / requests),
                (
                    "context_switches_per_request".to_owned(),
                    usage.context_switches as f64 / requests,
                ),
                ("requests_per_s".to_owned(), requests / outcome.duration_s),
                ("p50_us".to_owned(), outcome.p50_us),
                ("p99_us".to_owned(), outcome.p99_us),
                ("failures".to_owned(), outcome.failures as f64),
            ])
            .collect())
    }

    /// Sends a scenario's load for `seconds`.
    async fn send(&self, subject: &Subject, scenario: &Scenario, seconds: u32) -> Result<Outcome> {
        let address = subject.address(scenario.listener);
        let scheme = if scenario.listener.is_tls() { "https" } else { "http" };
        match scenario.generator {
            Generator::Wrk { path, closes } => {
                let mut headers = Vec::new();
                match scenario.listener {
                    Listener::HostRules => {
                        headers.push(format!("Host: {}", rule_host(HOST_RULE_COUNT - 1)));
                    }
                    Listener::Cookie => headers.push(format!("Cookie: {}", subject.cookie)),
                    _ => {}
                }
                if closes {
                    headers.push("Connection: close".to_owned());
                }
                let url = format!("{scheme}://{address}{path}");
                wrk::run(&self.lab, &url, &headers, seconds).await
            }
            Generator::H2load => {
                h2load::run(&self.lab, &format!("{scheme}://{address}/"), seconds).await
            }
            Generator::Handshakes { resumed } => {
                drive::handshakes(&self.lab, address, &self.certificate, resumed, seconds).await
            }
            Generator::Users => {
                wrk::users(&self.lab, &format!("{scheme}://{address}/"), seconds).await
            }
            Generator::Large { path } => {
                wrk::large(&self.lab, &format!("{scheme}://{address}{path}"), seconds).await
            }
            Generator::Datagrams => drive::datagrams(&self.lab, address, seconds).await,
        }
    }

    /// Latency at a rate that all can serve, and what a request costs beside CPU time.
    async fn look_closer(&self, report: &mut Report, rounds: u32) -> Result<()> {
        let capacity = report.subjects.values().map(|metrics| metrics["requests_per_s"]);
        let rate = capacity.fold(f64::INFINITY, f64::min) * OPEN_LOOP_LOAD;
        let mut p99s: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for round in 0..(rounds * OPEN_LOOP_RUN_COUNT) as usize {
            for turn in 0..self.subjects.len() {
                let subject = &self.subjects[(round + turn) % self.subjects.len()];
                let address = subject.address(Listener::Timed);
                let member = self.origin.timed;
                prompt::set(&self.lab, subject.pid, true).await?;
                let outcome =
                    drive::open_loop(&self.lab, address, member, rate, OPEN_LOOP_S).await?;
                prompt::set(&self.lab, subject.pid, false).await?;
                ensure!(outcome.failures == 0, "{} failed at {rate:.0}/s", subject.name);
                eprintln!(
                    "open loop {}: {:<8} p50 {:.0} µs, p99 {:.0} µs at {rate:.0}/s",
                    round + 1,
                    subject.name,
                    outcome.p50_us,
                    outcome.p99_us
                );
                p99s.entry(subject.name).or_default().push(outcome.p99_us);
            }
        }
        for subject in &self.subjects {
            let syscalls = strace::count(&self.lab, subject).await?;
            let metrics = report.subjects.entry(subject.name.to_owned()).or_default();
            metrics.insert("syscalls_per_request".to_owned(), syscalls);
            metrics.insert("open_loop_p99_us".to_owned(), median(&p99s[subject.name]));
            metrics.insert("open_loop_rate_per_s".to_owned(), rate);
        }
        let of = |subject: &str, metric: &str| report.subjects[subject][metric];
        let better =
            PEERS.iter().map(|peer| of(peer, "open_loop_p99_us")).fold(f64::INFINITY, f64::min);
        let p99_ratio = of("ballast", "open_loop_p99_us") / better;
        let bars = [
            Bar::at_most("p99 at the same rate vs the better peer", p99_ratio, 1.0),
            Bar::at_most(
                "system calls per request",
                of("ballast", "syscalls_per_request"),
                SYSCALL_LIMIT,
            ),
            Bar::at_most(
                "context switches per request",
                of("ballast", "context_switches_per_request"),
                CONTEXT_SWITCH_LIMIT,
            ),
        ];
        report.ratios.insert("open_loop_p99_vs_better_peer".to_owned(), p99_ratio);
        report.bars.extend(bars);
        Ok(())
    }

    /// Whether workers cost each other anything: one against two of them, in alternated rounds.
    async fn two_workers(&self, rounds: u32) -> Result<Report> {
        let lab = Lab::loopback()?;
        let pair = subject::ballast(&lab, &self.origin, &self.certificate, BOTH_CPUS, 2).await?;
        let keep_alive = &SCENARIOS[0];
        let mut samples: BTreeMap<&str, Vec<Metrics>> = BTreeMap::new();
        let mut ratios = Vec::new();
        for round in 0..rounds {
            let one = self.measure(&self.subjects[0], keep_alive).await?;
            let two = self.measure(&pair, keep_alive).await?;
            let ratio = two["cpu_us_per_request"] / one["cpu_us_per_request"];
            eprintln!("two-workers {}: {ratio:.3}", round + 1);
            ratios.push(ratio);
            samples.entry("one worker").or_default().push(one);
            samples.entry("two workers").or_default().push(two);
        }
        let mut report = Report::new("two-workers", rounds);
        for (name, samples) in &samples {
            report.subjects.insert((*name).to_owned(), medians(samples));
        }
        let ratio = median(&ratios);
        report.bars.push(Bar::at_most("CPU per request vs one worker", ratio, TWO_WORKERS_LIMIT));
        Ok(report)
    }
}

/// Ballast alone, for whoever looks at the keep-alive path with other means.
pub(crate) struct KeepAlive {
    lab: Lab,
    subject: Subject,
    _origin: Origin,
}

impl KeepAlive {
    /// Starts origin and ballast, the latter behind `wrapper`.
    pub(crate) async fn start(lab: &Lab, wrapper: &'static [&'static str]) -> Result<Self> {
        let origin = Origin::start(lab).await?;
        let certificate = Certificate::issue(lab)?;
        let subject = subject::ballast(lab, &origin, &certificate, wrapper, 1).await?;
        Ok(Self { lab: lab.clone(), subject, _origin: origin })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.subject.pid
    }

    /// Keep-alive requests for `seconds`.
    pub(crate) async fn send(&self, seconds: u32) -> Result<Outcome> {
        let url = format!("http://{}/", self.subject.address(Listener::Plain));
        wrk::run(&self.lab, &url, &[], seconds).await
    }
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

async fn listening(address: std::net::SocketAddr) -> Result<()> {
    wait_for(&format!("{address} to accept connections"), START_LIMIT, async || {
        TcpStream::connect(address).await.is_ok()
    })
    .await
}

#[cfg(test)]
mod tests;
