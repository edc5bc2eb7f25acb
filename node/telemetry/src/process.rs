//! What the process itself uses, read from `/proc`.

use std::fs;

use crate::prometheus::{MetricKind, Metrics};

/// What the process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessUsage {
    /// Resident memory.
    pub resident_bytes: u64,
    /// Time on a processor, user and system together, in ms.
    pub cpu_ms: u64,
    /// Open file descriptors.
    pub fd_count: u64,
    /// Most file descriptors it may open.
    pub fd_max_count: u64,
    /// Threads.
    pub thread_count: u64,
}

impl ProcessUsage {
    /// Reads what this process uses. What can't be read is 0.
    pub fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let usage = parse_stat(&stat, rustix::param::page_size() as u64, ticks_per_second());
        Self {
            fd_count: fs::read_dir("/proc/self/fd").map_or(0, |fds| fds.count() as u64),
            fd_max_count: parse_fd_limit(&limits),
            ..usage
        }
    }
}

/// Writes the families of the process, named as the Prometheus client libraries name them.
pub fn write_process(metrics: &mut Metrics) {
    let usage = ProcessUsage::read();
    metrics.single(
        "process_resident_memory_bytes",
        MetricKind::Gauge,
        "Resident memory.",
        usage.resident_bytes,
    );
    metrics.single(
        "process_cpu_seconds_total",
        MetricKind::Counter,
        "Time on a processor, user and system.",
        usage.cpu_ms as f64 / 1_000.0,
    );
    metrics.single("process_open_fds", MetricKind::Gauge, "Open file descriptors.", usage.fd_count);
    metrics.single(
        "process_max_fds",
        MetricKind::Gauge,
        "Most file descriptors that may be open.",
        usage.fd_max_count,
    );
    metrics.single("process_threads", MetricKind::Gauge, "Threads.", usage.thread_count);
}

fn ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second()
}

/// proc(5): fields are counted from 1; the second, in parentheses, may hold spaces.
fn parse_stat(stat: &str, page_bytes: u64, ticks_per_second: u64) -> ProcessUsage {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    // `fields[0]` is field 3.
    let field = |number: usize| {
        fields.get(number - 3).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0)
    };
    let ticks = field(14) + field(15);
    ProcessUsage {
        cpu_ms: ticks * 1_000 / ticks_per_second.max(1),
        thread_count: field(20),
        resident_bytes: field(24) * page_bytes,
        ..ProcessUsage::default()
    }
}

fn parse_fd_limit(limits: &str) -> u64 {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    soft.and_then(|soft| soft.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
