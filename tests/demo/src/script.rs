//! The script of `--check`: traffic of every kind, then things are drained and killed under load.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use ballast_client::{MemberAction, WriteOptions};
use ballast_model::status::Health;
use ballast_model::{Draft, MonitorKind, MonitorSpec, NodeRole};
use ballast_test_support::cluster::READY_LIMIT;
use ballast_test_support::{Load, LoadOptions, LoadReport, Topology, wait_for};

use crate::configuration::{HOST_NAME, MEMBERS, POOL, Set};
use crate::floating;
use crate::stage::{Stage, note};

/// Connections of each load.
pub(crate) const CONNECTIONS: u16 = 16;

/// Requests after which a load has seen enough of a situation.
const ENOUGH: u64 = 1_000;

/// Longest time for a change of health to be noticed (two probes, half a second apart, and slack).
const NOTICE_LIMIT: Duration = Duration::from_secs(20);

/// Plays it; fails when anything was lost that should not be.
pub(crate) async fn run(mut topology: Topology, set: &Set, stage: &Stage) -> Result<()> {
    every_protocol(&topology, set, stage).await?;
    drain(&topology, stage).await?;
    kill_origin(&mut topology, stage).await?;
    kill_leader(&mut topology, stage).await?;
    floating::run(&mut topology, stage).await?;
    let (good, bad) = stage.counts();
    println!();
    if bad > 0 {
        bail!("{bad} of {} observations are not as they should be", good + bad);
    }
    println!("✓ all {good} observations are as they should be");
    Ok(())
}

async fn every_protocol(topology: &Topology, set: &Set, stage: &Stage) -> Result<()> {
    stage.chapter("HTTP, HTTPS, WebSocket and TCP through both traffic nodes");
    for node in traffic_nodes(topology) {
        let ip = topology.cluster.nodes[node].host().ip();
        let urls = [
            ("HTTP", format!("http://{ip}:8080/")),
            ("HTTP, 256 KiB", format!("http://{ip}:8080/?chunked=262144")),
            ("HTTPS", format!("https://{ip}:8443/")),
            ("WebSocket", format!("ws://{ip}:8080/")),
            ("TCP", format!("tcp://{ip}:9000")),
        ];
        for (name, url) in urls {
            let secure = url.starts_with("https");
            let options = LoadOptions {
                connections: 6,
                // New connections, so that TCP and WebSocket are balanced too.
                requests_per_connection: Some(5),
                ca: secure.then(|| set.ca.clone()),
                host_name: secure.then(|| HOST_NAME.to_owned()),
                ..LoadOptions::new(url)
            };
            let mut load = Load::start(&topology.client, &options).await?;
            load.wait_for_requests(200).await?;
            let report = load.stop().await?;
            let lossless = report.failed_count() == 0 && report.sent == report.ok;
            let spread = MEMBERS.iter().all(|origin| report.of_origin(origin) > 0);
            let name = format!("{name} through {}", topology.cluster.nodes[node].name());
            stage.expect(lossless && spread, &format!("{name}: {report}"));
        }
    }
    Ok(())
}

async fn drain(topology: &Topology, stage: &Stage) -> Result<()> {
    stage.chapter("draining origin-1 under load on both nodes");
    let client = topology.cluster.client();
    let options = WriteOptions::new().wait_applied();
    let mut loads = start_loads(topology, &traffic_nodes(topology)).await?;
    for (_, load) in &mut loads {
        load.wait_for_requests(ENOUGH).await?;
    }
    let started = Instant::now();
    let action = MemberAction::Drain { deadline_s: Some(30) };
    let written = client.member_action(POOL, "origin-1", action, &options).await?;
    let millis = started.elapsed().as_millis();
    stage.expect(
        written.not_applied.is_empty(),
        &format!("drain carried out by every node after {millis} ms"),
    );
    for (name, load) in &mut loads {
        // What was under way when the drain was carried out may still come from there.
        let before = load.wait_for_requests(u64::from(CONNECTIONS) * 4).await?;
        let after = load.wait_for_requests(ENOUGH).await?;
        let more = after.of_origin("origin-1") - before.of_origin("origin-1");
        let others = after.ok - before.ok;
        let text = format!("{name}: of the next {others} requests, origin-1 got {more}");
        stage.expect(more == 0, &text);
    }
    client.member_action(POOL, "origin-1", MemberAction::Enable, &options).await?;
    for (name, load) in &mut loads {
        let back = comes_back(load, "origin-1").await;
        stage.expect(back, &format!("{name}: enabled again, origin-1 gets requests"));
    }
    for (name, load) in loads {
        expect_lossless(stage, &name, &load.stop().await?);
    }
    Ok(())
}

async fn kill_origin(topology: &mut Topology, stage: &Stage) -> Result<()> {
    stage.chapter("killing origin-2 (SIGKILL) under load on both nodes");
    let mut loads = start_loads(topology, &traffic_nodes(topology)).await?;
    for (_, load) in &mut loads {
        load.wait_for_requests(ENOUGH).await?;
    }
    let started = Instant::now();
    topology.origins[1].kill()?;
    topology.cluster.wait_for_health(&["origin-2"], Health::Down, NOTICE_LIMIT).await?;
    stage.saw(&format!(
        "both nodes found it down after {:.1} s: {}",
        started.elapsed().as_secs_f64(),
        why_down(topology).await?
    ));
    for (name, load) in &mut loads {
        let before = load.wait_for_requests(u64::from(CONNECTIONS) * 4).await?;
        let after = load.wait_for_requests(ENOUGH).await?;
        // Requests that it had already taken cannot be sent again safely, one a connection at most.
        let lost = before.failed_count();
        let text = format!("{name}: {lost} requests died with it (at most {CONNECTIONS} can)");
        stage.expect(lost <= u64::from(CONNECTIONS), &text);
        let lost_later = after.failed_count() - before.failed_count();
        let text =
            format!("{name}: of the next {} requests, {lost_later} failed", after.ok - before.ok);
        stage.expect(lost_later == 0, &text);
        for failure in after.first_failures.iter().take(3) {
            note(failure);
        }
    }
    topology.origins[1].resume().await?;
    topology.cluster.wait_for_health(&["origin-2"], Health::Up, NOTICE_LIMIT).await?;
    for (name, load) in &mut loads {
        let back = comes_back(load, "origin-2").await;
        stage.expect(back, &format!("{name}: started again, origin-2 gets requests"));
    }
    for (_, load) in loads {
        load.stop().await?;
    }
    Ok(())
}

async fn kill_leader(topology: &mut Topology, stage: &Stage) -> Result<()> {
    let leader = topology.cluster.leader().await?;
    let name = topology.cluster.nodes[leader].name().to_owned();
    stage.chapter(&format!(
        "killing the Raft leader, {name} (SIGKILL), under load on the other nodes"
    ));
    let options = WriteOptions::new().wait_applied();
    let monitor = |name: &str| Draft::new(name, MonitorSpec::new(MonitorKind::Tcp));
    topology.cluster.client_of(leader).put(&monitor("before-the-kill"), &options).await?;
    let others: Vec<usize> = traffic_nodes(topology).into_iter().filter(|i| *i != leader).collect();
    let mut loads = start_loads(topology, &others).await?;
    for (_, load) in &mut loads {
        load.wait_for_requests(ENOUGH).await?;
    }
    topology.cluster.nodes[leader].sigkill()?;
    let started = Instant::now();
    let survivor = others[0];
    let client = topology.cluster.client_of(survivor).clone();
    wait_for("a write to succeed", READY_LIMIT, async || {
        client.put(&monitor("after-the-kill"), &WriteOptions::new()).await.is_ok()
    })
    .await?;
    let seconds = started.elapsed().as_secs_f64();
    let new = topology.cluster.leader().await?;
    let new_name = topology.cluster.nodes[new].name();
    stage.expect(
        new != leader,
        &format!("{new_name} leads now; the first write succeeded {seconds:.1} s after the kill"),
    );
    let kept = client.find::<MonitorSpec>("before-the-kill").await?.is_some();
    stage.expect(kept, "the write that was acknowledged before the kill is there");
    for (_, load) in &mut loads {
        load.wait_for_requests(ENOUGH).await?;
    }
    for (name, load) in loads {
        expect_lossless(stage, &name, &load.stop().await?);
    }
    come_back(topology, leader, stage).await
}

/// Starts the killed node and sees it catch up and serve.
async fn come_back(topology: &mut Topology, killed: usize, stage: &Stage) -> Result<()> {
    topology.cluster.nodes[killed].restart(READY_LIMIT).await?;
    let client = topology.cluster.client_of(killed).clone();
    wait_for("the killed node to catch up", READY_LIMIT, async || {
        client.find::<MonitorSpec>("after-the-kill").await.is_ok_and(|found| found.is_some())
    })
    .await?;
    let name = topology.cluster.nodes[killed].name().to_owned();
    stage.saw(&format!("{name} is back and has what was written meanwhile"));
    if topology.cluster.nodes[killed].role() == NodeRole::Traffic {
        let members = MEMBERS;
        topology.cluster.wait_for_health(&members, Health::Up, NOTICE_LIMIT).await?;
        for (name, mut load) in start_loads(topology, &[killed]).await? {
            load.wait_for_requests(ENOUGH).await?;
            expect_lossless(stage, &name, &load.stop().await?);
        }
    }
    Ok(())
}

fn traffic_nodes(topology: &Topology) -> Vec<usize> {
    let nodes = topology.cluster.nodes.iter().enumerate();
    nodes.filter(|(_, node)| node.role() == NodeRole::Traffic).map(|(index, _)| index).collect()
}

/// Keep-alive HTTP load on each of these nodes.
async fn start_loads(topology: &Topology, nodes: &[usize]) -> Result<Vec<(String, Load)>> {
    let mut loads = Vec::new();
    for node in nodes {
        let node = &topology.cluster.nodes[*node];
        let url = format!("http://{}:8080/", node.host().ip());
        let options = LoadOptions { connections: CONNECTIONS, ..LoadOptions::new(url) };
        let load = Load::start(&topology.client, &options).await?;
        loads.push((node.name().to_owned(), load));
    }
    Ok(loads)
}

fn expect_lossless(stage: &Stage, name: &str, report: &LoadReport) {
    let lossless = report.failed_count() == 0 && report.sent == report.ok;
    let gap = report.longest_gap_ms;
    stage.expect(lossless, &format!("{name}: {report}; never silent for more than {gap} ms"));
}

/// Whether an origin gets requests (again).
async fn comes_back(load: &mut Load, origin: &str) -> bool {
    let Ok(before) = load.snapshot().await else { return false };
    let what = format!("{origin} to get requests");
    let waited = wait_for(&what, NOTICE_LIMIT, async || {
        load.snapshot().await.is_ok_and(|now| now.of_origin(origin) > before.of_origin(origin))
    });
    waited.await.is_ok()
}

/// The reason that a node gives for origin-2 being down.
async fn why_down(topology: &Topology) -> Result<String> {
    let status = topology.cluster.status().await?;
    let members =
        status.nodes.iter().filter_map(|node| node.status.as_ref()).flat_map(|n| &n.members);
    let mut down = members.filter(|member| member.member == "origin-2");
    Ok(down.next().map_or_else(|| "no reason given".to_owned(), |member| member.reason.clone()))
}
