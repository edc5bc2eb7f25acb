//! What the kernel has counted for a process, all its threads together.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// Counters of a process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Time on a CPU, in µs.
    pub(crate) cpu_us: f64,
    /// Voluntary and involuntary.
    pub(crate) context_switches: u64,
    /// Resident memory, in bytes.
    pub(crate) rss_bytes: u64,
}

impl Usage {
    /// The counters of process `pid` now.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let mut usage = Self::default();
        let tasks = fs::read_dir(process.join("task")).context("the process has ended")?;
        for task in tasks.flatten() {
            // A thread may end between the listing and the reading.
            let schedstat = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let on_cpu_ns =
                schedstat.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok());
            usage.cpu_us += on_cpu_ns.unwrap_or(0.0) / 1_000.0;
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
            context_switches: self.context_switches.saturating_sub(before.context_switches),
            rss_bytes: self.rss_bytes,
        }
    }
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|n| n.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::Usage;

    #[test]
    fn this_process_has_used_something() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.cpu_us > 0.0 && usage.rss_bytes > 100_000, "{usage:?}");
    }
}
