//! What an idle connection costs: resident memory before and after many were opened, of processes that have
//! served nothing yet. One that has, takes for its connections what others have left.

use anyhow::{Result, ensure};
use ballast_test_support::Lab;

use super::scenario::Listener;
use super::{Bench, Metrics, drive, subject};
use crate::procfs::Usage;
use crate::report::{Bar, Report};

/// How many: enough that what they cost stands out, few enough for every default limit.
const CONNECTION_COUNT: usize = 2_000;

/// Listeners looked at, and what a connection may cost there, in KiB.
const LIMITS: [(Listener, f64); 2] = [(Listener::Plain, 8.0), (Listener::Tls, 24.0)];

pub(super) async fn row(bench: &Bench) -> Result<Report> {
    let mut report = Report::new("memory", 1);
    for (listener, limit) in LIMITS {
        let name = format!("{}_kib_per_idle_connection", listener.name());
        let lab = Lab::loopback()?;
        for subject in &subject::all(&lab, &bench.origin, &bench.certificate).await? {
            let address = subject.address(listener);
            let certificate = listener.is_tls().then_some(&bench.certificate);
            // What the first connections bring into being is not theirs alone.
            drop(drive::idle(&bench.lab, address, certificate, 16).await?);
            let before = Usage::of(subject.pid)?;
            let idle = drive::idle(&bench.lab, address, certificate, CONNECTION_COUNT).await?;
            ensure!(idle.count == CONNECTION_COUNT as u64, "only {} were opened", idle.count);
            let after = Usage::of(subject.pid)?;
            let bytes = after.rss_bytes.saturating_sub(before.rss_bytes) as f64;
            let each = bytes / 1_024.0 / CONNECTION_COUNT as f64;
            eprintln!(
                "memory: {:<8} {each:.1} KiB per idle {} connection",
                subject.name,
                listener.name()
            );
            let metrics: &mut Metrics = report.subjects.entry(subject.name.to_owned()).or_default();
            metrics.insert(name.clone(), each);
        }
        let each = report.subjects["ballast"][&name];
        let what = format!("KiB per idle {} connection", listener.name());
        report.bars.push(Bar::at_most(&what, each, limit));
    }
    Ok(report)
}
