//! What a node of three costs while nobody uses it: memory, and CPU over 20 s.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ballast_client::WriteOptions;
use ballast_model::status::Health;
use ballast_model::{
    Draft, MemberSpec, MonitorKind, MonitorSpec, PoolSpec, Protocol, VirtualServerSpec,
};
use ballast_test_support::{Cluster, Lab, Origin};

use crate::procfs::Usage;
use crate::report::{Bar, Report};
use crate::statistics::median;

const WINDOW: Duration = Duration::from_secs(20);
const RSS_LIMIT_MIB: f64 = 64.0;
const CPU_LIMIT_PERCENT: f64 = 1.0;

/// Measures `rounds` windows.
pub(crate) async fn run(rounds: u32) -> Result<Report> {
    let lab = Lab::new()?;
    let cluster = Cluster::three_nodes(&lab).await?;
    let origins = [Origin::start(&lab.host("origin-1", 21)?).await?];
    configure(&cluster, &origins).await?;

    let mut samples: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for _ in 0..rounds {
        let before = usages(&cluster)?;
        let started = Instant::now();
        // Nothing happens for the length of the window: that is what is measured.
        let nothing = tokio::time::timeout(WINDOW, std::future::pending::<()>()).await;
        drop(nothing);
        let elapsed_us = started.elapsed().as_secs_f64() * 1e6;
        for ((name, before), (_, after)) in before.into_iter().zip(usages(&cluster)?) {
            let cpu_percent = after.since(before).cpu_us / elapsed_us * 100.0;
            let rss_mib = after.rss_bytes as f64 / (1_024.0 * 1_024.0);
            samples.entry(name).or_default().push((cpu_percent, rss_mib));
        }
    }
    let mut report = Report::new("idle", rounds);
    let (mut cpu_worst, mut rss_worst) = (0.0_f64, 0.0_f64);
    for (name, samples) in samples {
        let cpu = median(&samples.iter().map(|sample| sample.0).collect::<Vec<_>>());
        let rss = median(&samples.iter().map(|sample| sample.1).collect::<Vec<_>>());
        cpu_worst = cpu_worst.max(cpu);
        rss_worst = rss_worst.max(rss);
        let metrics = [("cpu_percent".to_owned(), cpu), ("rss_mib".to_owned(), rss)];
        report.subjects.insert(name, metrics.into());
    }
    report.bars.push(Bar::at_most(
        "resident memory of the largest node, MiB",
        rss_worst,
        RSS_LIMIT_MIB,
    ));
    report.bars.push(Bar::at_most(
        "CPU of the busiest node, % of a core",
        cpu_worst,
        CPU_LIMIT_PERCENT,
    ));
    Ok(report)
}

/// One of everything, so that probes run and listeners listen.
async fn configure(cluster: &Cluster, origins: &[Origin]) -> Result<()> {
    let client = cluster.client();
    let options = WriteOptions::new().wait_applied();
    let monitor = Draft::new("tcp", MonitorSpec::new(MonitorKind::Tcp));
    client.put(&monitor, &options).await?;
    let members = origins.iter().map(|origin| MemberSpec {
        name: Some(origin.name().to_owned()),
        ..MemberSpec::new(origin.http())
    });
    let monitors = vec!["tcp".to_owned()];
    let pool = PoolSpec { members: members.collect(), monitors, ..PoolSpec::default() };
    client.put(&Draft::new("web", pool), &options).await?;
    let server = VirtualServerSpec::new(Protocol::Http, "0.0.0.0:8080".parse()?, "web");
    client.put(&Draft::new("web", server), &options).await?;
    cluster.wait_for_health(&["origin-1"], Health::Up, Duration::from_secs(30)).await
}

fn usages(cluster: &Cluster) -> Result<Vec<(String, Usage)>> {
    let usage = |node: &ballast_test_support::Node| {
        let pid = node.pid().context("every node runs")?;
        Ok((node.name().to_owned(), Usage::of(pid)?))
    };
    cluster.nodes.iter().map(usage).collect()
}
