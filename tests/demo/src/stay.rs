//! The demonstration for people: everything stays up, with some traffic, until Ctrl-C.

use anyhow::Result;
use ballast_test_support::{Kind, Load, LoadOptions, Topology};

use crate::configuration::{HOST_NAME, Set};
use crate::stage::Stage;

/// Requests per second and node: enough that the console has something to show.
const BACKGROUND_RATE: f64 = 40.0;

/// Prints how to get in, keeps traffic going, and waits for ever.
pub(crate) async fn run(topology: &Topology, set: &Set, stage: &Stage) -> Result<()> {
    let nodes = &topology.cluster.nodes;
    let mut loads = Vec::new();
    for node in &nodes[..2] {
        let ip = node.host().ip();
        for (url, rate) in [
            (format!("http://{ip}:8080/"), BACKGROUND_RATE),
            (format!("https://{ip}:8443/"), BACKGROUND_RATE / 2.0),
            (format!("ws://{ip}:8080/"), 4.0),
            (format!("tcp://{ip}:9000"), 4.0),
        ] {
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
    }
    stage.chapter("everything is up; Ctrl-C removes it all");
    println!("\n  console    https://{}/", nodes[0].console());
    println!("             (its certificate is of the cluster's own authority, SHA-256");
    println!("             {})", topology.cluster.identity.ca_fingerprint_sha256);
    println!("  sign in    admin, with the code {}", topology.cluster.password());
    println!("  also at    https://{}/ (node-2)", nodes[1].console());
    for node in nodes {
        let wrapper = node.host().namespace().map(|name| format!("ip netns exec {name} "));
        println!("  {:<10} {}, pid {}", node.name(), node.host().ip(), node.pid().unwrap_or(0));
        if node.name() == "node-1" {
            let inside = match (wrapper, topology.client.namespace()) {
                (Some(_), Some(client)) => format!("ip netns exec {client} "),
                _ => String::new(),
            };
            println!("             {inside}curl http://{}:8080/", node.host().ip());
        }
    }
    if topology.client.lab().kind() == Kind::Loopback {
        println!("  (on loopback addresses: see the first lines for what that leaves out)");
    }
    println!("\n  Try: drain a member in the console; kill -9 a node's pid; watch the overview.");
    // Ends with the signal that `main` waits for.
    std::future::pending::<()>().await;
    drop(loads);
    Ok(())
}
