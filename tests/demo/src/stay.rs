//! The demonstration for people: everything stays up, with some traffic, until Ctrl-C. What they kill is
//! started again after a while, and what that cost clients is printed.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::Result;
use ballast_test_support::{Kind, Load, LoadOptions, Probe, Topology, probe, programs};
use tokio::time::interval;

use crate::configuration::{self, GROUP, HOST_NAME, Set};
use crate::floating::{self, PORT};
use crate::stage::{Stage, note};

/// Requests per second and node: enough that the console has something to show.
const BACKGROUND_RATE: f64 = 40.0;

/// How often nodes and clients are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How long a node that somebody killed stays dead.
const DEAD_FOR: Duration = Duration::from_secs(20);

/// A shorter time without an answer is not worth a line, in ms.
const TOLD_GAP_MIN_MS: f64 = 50.0;

/// Prints how to get in, keeps traffic going, and looks after it for ever.
pub(crate) async fn run(mut topology: Topology, set: &Set, stage: &Stage) -> Result<()> {
    let addresses = if topology.client.lab().kind() == Kind::Namespaces {
        let addresses = configuration::float(&topology, stage).await?;
        floating::one_owner(&topology, addresses).await?;
        floating::wait_for_next(&topology).await?;
        Some(addresses)
    } else {
        None
    };
    let loads = start_loads(&topology, set, addresses).await?;
    stage.chapter("everything is up; Ctrl-C removes it all");
    tell(&topology, addresses)?;
    // Ends with the signal that `main` waits for.
    look_after(&mut topology, addresses).await?;
    drop(loads);
    Ok(())
}

async fn start_loads(
    topology: &Topology,
    set: &Set,
    addresses: Option<[IpAddr; 2]>,
) -> Result<Vec<Load>> {
    let mut urls = Vec::new();
    for node in &topology.cluster.nodes[..2] {
        let ip = node.host().ip();
        urls.push((format!("http://{ip}:8080/"), BACKGROUND_RATE));
        urls.push((format!("https://{ip}:8443/"), BACKGROUND_RATE / 2.0));
        urls.push((format!("ws://{ip}:8080/"), 4.0));
        urls.push((format!("tcp://{ip}:9000"), 4.0));
    }
    if let Some([v4, v6]) = addresses {
        urls.push((format!("http://{v4}/"), BACKGROUND_RATE));
        urls.push((format!("https://{v4}/"), BACKGROUND_RATE / 2.0));
        urls.push((format!("http://[{v6}]/"), BACKGROUND_RATE / 2.0));
    }
    let mut loads = Vec::new();
    for (url, rate) in urls {
        let options = LoadOptions {
            connections: 4,
            rate: Some(rate),
            requests_per_connection: Some(200),
            ca: Some(set.ca.clone()),
            host_name: url.starts_with("https").then(|| HOST_NAME.to_owned()),
            ..LoadOptions::new(url)
        };
        loads.push(Load::start(&topology.client, &options).await?);
    }
    Ok(loads)
}

/// How to get in, and what to try.
fn tell(topology: &Topology, addresses: Option<[IpAddr; 2]>) -> Result<()> {
    let nodes = &topology.cluster.nodes;
    let (console, ca) = (nodes[0].console(), &topology.cluster.identity.ca_fingerprint_sha256);
    println!("\n  console    https://{console}/");
    println!("             (its certificate is of the cluster's own authority, SHA-256");
    println!("             {ca})");
    println!("  sign in    admin, with the code {}", topology.cluster.password());
    println!("  also at    https://{}/ (node-2)", nodes[1].console());
    for node in nodes {
        println!("  {:<10} {}, pid {}", node.name(), node.host().ip(), node.pid().unwrap_or(0));
    }
    let inside = topology.client.namespace().map(|name| format!("ip netns exec {name} "));
    println!(
        "  a client   {}curl http://{}:8080/",
        inside.as_deref().unwrap_or(""),
        nodes[0].host().ip()
    );
    let Some([v4, v6]) = addresses else {
        println!("  (on loopback addresses: see the first lines for what that leaves out)");
        println!(
            "\n  Try: drain a member in the console; kill -9 a node's pid; watch the overview."
        );
        return Ok(());
    };
    println!("  floating   {v4} and {v6}, group {GROUP}, served on ports 80 and 443");
    println!("\n  Try, from another terminal (it asks for that code):");
    println!("    CTL={}", programs::find("ballastctl")?.display());
    let url = format!("https://{}", nodes[1].console());
    println!("    $CTL login {url} --username admin --ca-fingerprint {ca}");
    let dead_s = DEAD_FOR.as_secs();
    for (command, meaning) in [
        ("$CTL ha status".to_owned(), "who owns the floating addresses, who is next".to_owned()),
        ("$CTL ha preview --down node-1".to_owned(), "who would take what".to_owned()),
        (format!("$CTL ha failover {GROUP}"), "move them by hand".to_owned()),
        ("kill -9 PID".to_owned(), format!("of their owner; started again after {dead_s} s")),
        ("$CTL ha events".to_owned(), "what happened, and why".to_owned()),
    ] {
        println!("    {command:<30} # {meaning}");
    }
    println!("  What it costs clients is printed here. Or drain a member in the console.");
    Ok(())
}

/// Tells gaps that clients saw, and starts again what somebody killed.
async fn look_after(topology: &mut Topology, addresses: Option<[IpAddr; 2]>) -> Result<()> {
    let mut watched = Vec::new();
    for ip in addresses.into_iter().flatten() {
        watched.push((ip, Probe::start(&topology.client, SocketAddr::new(ip, PORT))?));
    }
    let mut seen_us = probe::now_us();
    let mut died: Vec<Option<Instant>> = vec![None; topology.cluster.nodes.len()];
    let mut ticks = interval(LOOK_INTERVAL);
    loop {
        ticks.tick().await;
        for (node, died) in topology.cluster.nodes.iter_mut().zip(&mut died) {
            if node.is_running() {
                *died = None;
            } else if died.get_or_insert_with(Instant::now).elapsed() > DEAD_FOR {
                node.start()?;
                let pid = node.pid().unwrap_or(0);
                note(&format!("{} is started again, pid {pid}", node.name()));
            }
        }
        // A gap is told once it is over: the last answer is then a fresh one.
        let now_us = probe::now_us();
        let is_calm = |probe: &Probe| probe.answered_since(now_us.saturating_sub(200_000)) > 10;
        if !watched.iter().all(|(_, probe)| is_calm(probe)) {
            continue;
        }
        for (ip, probe) in &watched {
            let gap = probe.longest_gap(seen_us);
            if gap.ms() >= TOLD_GAP_MIN_MS {
                let by = probe.last_answer().unwrap_or_default();
                let mut nodes = topology.cluster.nodes.iter();
                let by = nodes.find(|node| node.host().ip().to_string() == by);
                let by = by.map_or("nobody", |node| node.name());
                note(&format!("{ip}: {:.0} ms without an answer; now {by} answers", gap.ms()));
            }
            probe.forget();
        }
        seen_us = now_us;
    }
}
