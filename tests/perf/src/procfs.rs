//! What the kernel has counted for a process, all its threads together.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// Counters of a process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Time on a CPU, in µs, to the kernel's tick (10 ms); threads that have ended included, which the
    /// finer counters of the single threads are not.
    pub(crate) cpu_us: f64,
    /// The part of that which was spent in the kernel.
    pub(crate) kernel_us: f64,
    /// Voluntary and involuntary.
    pub(crate) context_switches: u64,
    /// Resident memory, in bytes.
    pub(crate) rss_bytes: u64,
}

impl Usage {
    /// The counters of process `pid` now.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let stat = fs::read_to_string(process.join("stat")).context("the process has ended")?;
        let (user_us, kernel_us) = cpu_us(&stat).context("/proc/PID/stat")?;
        let mut usage = Self { cpu_us: user_us + kernel_us, kernel_us, ..Self::default() };
        for task in fs::read_dir(process.join("task"))?.flatten() {
            // A thread may end between the listing and the reading.
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            usage.context_switches += field(&status, "voluntary_ctxt_switches:")
                + field(&status, "nonvoluntary_ctxt_switches:");
        }
        let status = fs::read_to_string(process.join("status"))?;
        usage.rss_bytes = field(&status, "VmRSS:") * 1_024;
        Ok(usage)
    }

    /// What was added since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            cpu_us: self.cpu_us - before.cpu_us,
            kernel_us: self.kernel_us - before.kernel_us,
            context_switches: self.context_switches.saturating_sub(before.context_switches),
            rss_bytes: self.rss_bytes,
        }
    }
}

/// utime and stime: fields 14 and 15, counted after the name, which may hold spaces (proc(5)).
fn cpu_us(stat: &str) -> Option<(f64, f64)> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut ticks = fields.split(' ').skip(11).map(str::parse::<f64>);
    let us = |ticks: f64| ticks / rustix::param::clock_ticks_per_second() as f64 * 1e6;
    Some((us(ticks.next()?.ok()?), us(ticks.next()?.ok()?)))
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|n| n.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_resident() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.rss_bytes > 100_000, "{usage:?}");
    }

    #[test]
    fn time_is_found_after_an_odd_name() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 9 1 1";
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(cpu_us(stat), Some((150.0 / ticks * 1e6, 50.0 / ticks * 1e6)));
    }
}
