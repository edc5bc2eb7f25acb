//! A benchmark's result: a table for people, JSON for everything else.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;

use serde::Serialize;

/// The result of a benchmark.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Its name.
    pub(crate) bench: String,
    /// What it ran on.
    pub(crate) machine: String,
    /// How often it measured.
    pub(crate) rounds: u32,
    /// Medians over the rounds, by subject and metric.
    pub(crate) subjects: BTreeMap<String, BTreeMap<String, f64>>,
    /// What was compared within each round; medians over the rounds.
    pub(crate) ratios: BTreeMap<String, f64>,
    /// The metric that tells most, and its unit, where that is not CPU time per request.
    #[serde(skip)]
    pub(crate) shown: Option<(String, String)>,
    /// What must hold, that of the rows included.
    pub(crate) bars: Vec<Bar>,
    /// Its parts, where it has some.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) rows: Vec<Report>,
}

/// A value and what it may be at most.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) limit: f64,
    pub(crate) holds: bool,
}

impl Bar {
    /// A bar that `value` must not exceed.
    pub(crate) fn at_most(name: &str, value: f64, limit: f64) -> Self {
        Self { name: name.to_owned(), value, limit, holds: value <= limit }
    }
}

impl Report {
    /// A report without results.
    pub(crate) fn new(bench: &str, rounds: u32) -> Self {
        Self {
            bench: bench.to_owned(),
            machine: machine(),
            rounds,
            subjects: BTreeMap::new(),
            ratios: BTreeMap::new(),
            shown: None,
            bars: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Adds a part; its bars are bars of the whole.
    pub(crate) fn add_row(&mut self, row: Report) {
        self.bars.extend(row.bars.iter().map(|bar| {
            let name = format!("{}: {}", row.bench, bar.name);
            Bar { name, ..bar.clone() }
        }));
        self.rows.push(row);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            writeln!(f, "\n{} · {} rounds · {}\n", self.bench, self.rounds, self.machine)?;
        }
        for row in &self.rows {
            row.fmt(f)?;
        }
        let metrics: Vec<&String> = {
            let all = self.subjects.values().flat_map(BTreeMap::keys);
            let unique: std::collections::BTreeSet<&String> = all.collect();
            unique.into_iter().collect()
        };
        write!(f, "{:<30}", "")?;
        for subject in self.subjects.keys() {
            write!(f, "{subject:>14}")?;
        }
        writeln!(f)?;
        for metric in metrics {
            write!(f, "{metric:<30}")?;
            for values in self.subjects.values() {
                match values.get(metric) {
                    Some(value) => write!(f, "{:>14}", number(*value))?,
                    None => write!(f, "{:>14}", "–")?,
                }
            }
            writeln!(f)?;
        }
        for (name, ratio) in &self.ratios {
            writeln!(f, "{name:<30}{ratio:>14.3}")?;
        }
        for bar in &self.bars {
            let mark = if bar.holds { "✓" } else { "✗" };
            writeln!(
                f,
                "{mark} {}: {} (at most {})",
                bar.name,
                number(bar.value),
                number(bar.limit)
            )?;
        }
        Ok(())
    }
}

fn number(value: f64) -> String {
    if value.abs() >= 1_000.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}

fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown CPU", |(_, model)| model);
    let cores = text.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // Without what whoever built it added.
    let kernel = kernel.trim().split('-').next().unwrap_or_default();
    format!("{cores} × {model}, Linux {kernel}")
}
