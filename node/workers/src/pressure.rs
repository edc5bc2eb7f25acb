//! How short the node runs of what connections need, and from when on which of them are refused.
//!
//! Invariant: measuring happens on the data plane's own thread; a worker reads one number.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Time between two measurements.
pub(crate) const SAMPLE_INTERVAL: Duration = Duration::from_millis(500);
/// A worker that is late by this much, in ms, has too much to do for anything of low priority.
const LAG_LOW_MS: u64 = 100;
/// And by this much, for anything but high priority.
const LAG_NORMAL_MS: u64 = 500;

/// What was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// File descriptors in use, of those that the process may have, in percent.
    pub descriptors_percent: u8,
    /// Memory in use, of what the machine or the control group has, in percent.
    pub memory_percent: u8,
    /// How late the latest worker turns to what is ready, in ms, smoothed.
    pub lag_ms: u64,
}

impl Pressure {
    /// How short the node runs, in percent: of whatever it is shortest of.
    pub fn percent(&self) -> u8 {
        let lag_percent = match self.lag_ms {
            LAG_NORMAL_MS.. => 95,
            LAG_LOW_MS.. => 80,
            _ => 0,
        };
        self.descriptors_percent.max(self.memory_percent).max(lag_percent)
    }
}

/// Measures descriptors and memory; lag is measured by the workers.
#[derive(Clone)]
pub struct PressureGauge(Arc<dyn Fn() -> Pressure + Send + Sync>);

impl fmt::Debug for PressureGauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PressureGauge")
    }
}

impl PressureGauge {
    /// Asks `measure`, which must not block for long.
    pub fn new(measure: impl Fn() -> Pressure + Send + Sync + 'static) -> Self {
        Self(Arc::new(measure))
    }

    /// This process, and the machine or control group that it runs in.
    pub fn system() -> Self {
        let groups = control_groups();
        Self::new(move || Pressure {
            descriptors_percent: descriptors_percent().unwrap_or(0),
            memory_percent: memory_percent(&groups).unwrap_or(0),
            lag_ms: 0,
        })
    }

    pub(crate) fn measure(&self) -> Pressure {
        (self.0)()
    }
}

fn descriptors_percent() -> Option<u8> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current?;
    // Since Linux 6.2 the directory's size is the number of its entries; before, it is 0, and the
    // limit on connections has to do.
    let count = fs::metadata("/proc/self/fd").ok()?.len();
    percent(count, limit)
}

fn memory_percent(groups: &[PathBuf]) -> Option<u8> {
    let of_groups = groups.iter().filter_map(|group| group_memory_percent(group)).max();
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    of_groups.max(machine_memory_percent(&text))
}

fn machine_memory_percent(meminfo: &str) -> Option<u8> {
    let total = field(meminfo, "MemTotal:")?;
    let available = field(meminfo, "MemAvailable:")?;
    percent(total.saturating_sub(available), total)
}

fn group_memory_percent(group: &Path) -> Option<u8> {
    let read = |file| fs::read_to_string(group.join(file)).ok();
    limited_memory_percent(&read("memory.max")?, &read("memory.current")?, &read("memory.stat")?)
}

/// What can be taken back from the page cache at once counts as free.
fn limited_memory_percent(max: &str, current: &str, stat: &str) -> Option<u8> {
    let max: u64 = max.trim().parse().ok()?;
    let current: u64 = current.trim().parse().ok()?;
    percent(current.saturating_sub(field(stat, "inactive_file").unwrap_or(0)), max)
}

/// The control groups (version 2) that this process is in, its own first.
fn control_groups() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(path) = text.lines().find_map(|line| line.strip_prefix("0::/")) else {
        return Vec::new();
    };
    let root = Path::new("/sys/fs/cgroup");
    let own = root.join(path);
    own.ancestors().take_while(|group| group.starts_with(root)).map(Path::to_owned).collect()
}

/// The number after `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().map(str::split_whitespace);
    lines.find_map(
        |mut words| {
            if words.next()? == name { words.next()?.parse().ok() } else { None }
        },
    )
}

fn percent(part: u64, whole: u64) -> Option<u8> {
    let percent = u128::from(part) * 100 / u128::from((whole > 0).then_some(whole)?);
    Some(percent.min(100) as u8)
}

#[cfg(test)]
mod tests;
