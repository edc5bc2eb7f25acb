//! From a write to its effect: PUT with `wait=applied` against three nodes, any of which takes it.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Result, ensure};
use ballast_client::WriteOptions;
use ballast_model::{Draft, MemberSpec, PoolSpec, Protocol, VirtualServerSpec};
use ballast_test_support::{Cluster, Lab};

use crate::report::{Bar, Report};
use crate::statistics::{median, percentile};

/// Longest time of 99 in 100 writes, in ms.
const P99_LIMIT_MS: f64 = 250.0;

/// Writes that are not counted: connections open, caches fill.
const WARM_UP_COUNT: u32 = 20;

/// Members of the pool that is changed.
const MEMBER_COUNT: u8 = 50;

/// Measures `writes` writes.
pub(crate) async fn run(writes: u32) -> Result<Report> {
    let lab = Lab::new()?;
    let cluster = Cluster::three_nodes(&lab).await?;
    let options = WriteOptions::new().wait_applied();
    cluster.client_of(0).put(&pool(&lab, 1), &options).await?;
    let listen = "0.0.0.0:8080".parse()?;
    let server = VirtualServerSpec::new(Protocol::Http, listen, "web");
    cluster.client_of(0).put(&Draft::new("web", server), &options).await?;

    let names: Vec<&str> = cluster.nodes.iter().map(|node| node.name()).collect();
    let mut times_ms: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for write in 0..writes + WARM_UP_COUNT {
        let node = write as usize % names.len();
        let draft = pool(&lab, 1 + u16::try_from(write % 200)?);
        let started = Instant::now();
        let written = cluster.client_of(node).put(&draft, &options).await?;
        let elapsed_ms = started.elapsed().as_secs_f64() * 1_000.0;
        ensure!(written.not_applied.is_empty(), "not applied: {:?}", written.not_applied);
        if write >= WARM_UP_COUNT {
            times_ms.entry(names[node]).or_default().push(elapsed_ms);
        }
    }
    let mut report = Report::new("propagation", writes);
    let all: Vec<f64> = times_ms.values().flatten().copied().collect();
    report.subjects.insert("all".to_owned(), summary(&all));
    for (name, times) in &times_ms {
        report.subjects.insert(format!("via {name}"), summary(times));
    }
    let p99 = percentile(&all, 0.99);
    report.bars.push(Bar::at_most("PUT to applied on three nodes, p99, ms", p99, P99_LIMIT_MS));
    Ok(report)
}

fn summary(times_ms: &[f64]) -> BTreeMap<String, f64> {
    BTreeMap::from([
        ("p50_ms".to_owned(), median(times_ms)),
        ("p99_ms".to_owned(), percentile(times_ms, 0.99)),
        ("max_ms".to_owned(), percentile(times_ms, 1.0)),
    ])
}

/// A pool whose members have this weight: each write changes all of them.
fn pool(lab: &Lab, weight: u16) -> Draft<PoolSpec> {
    let members = (0..MEMBER_COUNT).map(|number| MemberSpec {
        name: Some(format!("member-{number}")),
        weight,
        ..MemberSpec::new((lab.address(100 + number), 8080).into())
    });
    Draft::new("web", PoolSpec { members: members.collect(), ..PoolSpec::default() })
}
