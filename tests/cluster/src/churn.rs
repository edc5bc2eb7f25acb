//! A cluster's configuration that keeps changing, in ways that must leave traffic alone.

use anyhow::Result;
use ballast_client::{Client, MemberAction, WriteOptions};
use ballast_model::{
    Algorithm, CertificateSpec, Draft, Kind, MemberSpec, PolicySpec, PoolSpec, Protocol, Resource,
    VirtualServerSpec,
};
use ballast_test_support::{TestCa, Topology};
use serde_json::{Value, json};

/// Ports of the virtual servers.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// HTTP.
    pub plain: u16,
    /// HTTPS.
    pub tls: u16,
    /// Of one that comes and goes.
    pub passing: u16,
}

/// Makes change `number`: one of nine kinds.
///
/// # Errors
/// The cluster does not take it.
pub async fn change(
    client: &Client,
    world: &Topology,
    authority: &TestCa,
    number: u32,
    ports: &Ports,
) -> Result<()> {
    let options = WriteOptions::new();
    let address = world.origins[0].http().to_string();
    let pool: Resource<PoolSpec> = client.get("web").await?;
    match number % 9 {
        0 => {
            let mut draft = pool.to_draft();
            for (i, member) in (0..).zip(&mut draft.spec.members) {
                member.weight = 1 + (number as u16 + i) % 5;
            }
            client.put(&draft, &options).await?;
        }
        1 => {
            client.member_action("web", &address, MemberAction::Disable, &options).await?;
        }
        2 => {
            client.member_action("web", &address, MemberAction::Enable, &options).await?;
        }
        3 => {
            let spec = PoolSpec {
                members: vec![MemberSpec::new(world.origins[1].http())],
                ..PoolSpec::default()
            };
            client.put(&Draft::new("passing", spec), &options).await?;
            let listen = ([0, 0, 0, 0], ports.passing).into();
            let spec = VirtualServerSpec::new(Protocol::Http, listen, "passing");
            client.put(&Draft::new("passing", spec), &options).await?;
        }
        4 => {
            let mut draft = pool.to_draft();
            draft.spec.algorithm = match number % 4 {
                0 => Algorithm::LeastConnections,
                1 => Algorithm::P2c,
                2 => Algorithm::RoundRobin,
                _ => Algorithm::SourceHash,
            };
            client.put(&draft, &options).await?;
        }
        5 => {
            client.delete(Kind::VirtualServer, "passing", &options).await?;
            let patch = json!({"spec": {"http": {"header_max_count": 100 + number}}});
            client.patch::<VirtualServerSpec>("web", &patch, &options).await?;
        }
        6 => {
            let mark = json!({"rules": [{
                "name": "mark",
                "response_headers": {"set": {"X-Change": number.to_string()}},
            }]});
            let patch = json!({"spec": mark});
            client.patch::<PolicySpec>("mark", &patch, &options).await?;
        }
        7 => {
            let issued = certificate(world, authority)?;
            let patch = json!({"spec": issued});
            client.patch::<CertificateSpec>("site", &patch, &options).await?;
        }
        _ => {
            // In and out of the way of requests.
            let policies = if number.is_multiple_of(2) { json!(["mark"]) } else { json!([]) };
            let patch = json!({"spec": {"policies": policies, "connection_limit": 1_000 + number}});
            client.patch::<VirtualServerSpec>("site", &patch, &options).await?;
        }
    }
    Ok(())
}

/// What there is at first: an HTTP and an HTTPS virtual server before the same origins.
///
/// # Errors
/// No certificate can be made.
pub fn declaration(world: &Topology, authority: &TestCa, ports: &Ports) -> Result<Value> {
    let members: Vec<_> = world
        .origins
        .iter()
        .map(|origin| json!({"address": origin.http().ip(), "port": origin.http().port()}))
        .collect();
    let monitor = json!({"type": "tcp", "interval_ms": 500, "timeout_ms": 400});
    let server = |protocol: &str, port: u16| json!({"protocol": protocol, "addresses": ["0.0.0.0"], "ports": [port], "pool": "web"});
    let mut site = server("https", ports.tls);
    site["certificates"] = json!(["site"]);
    let mut web = server("http", ports.plain);
    web["policies"] = json!(["mark"]);
    Ok(json!({
        "monitors": [{"name": "alive", "spec": monitor}],
        "pools": [{"name": "web", "spec": {"members": members, "monitors": ["alive"]}}],
        "policies": [{"name": "mark", "spec": {"rules": []}}],
        "certificates": [{"name": "site", "spec": certificate(world, authority)?}],
        "virtual_servers": [{"name": "web", "spec": web}, {"name": "site", "spec": site}],
    }))
}

/// A new one, for every node.
fn certificate(world: &Topology, authority: &TestCa) -> Result<Value> {
    let nodes = world.cluster.nodes.iter().map(|node| node.host().ip().to_string());
    let nodes: Vec<String> = nodes.collect();
    let names: Vec<&str> = nodes.iter().map(String::as_str).collect();
    let issued = authority.issue(&names)?;
    Ok(json!({"chain_pem": issued.chain_pem, "private_key_pem": issued.key_pem}))
}
