//! What a node asks of the world outside and tells it, with a real process: name servers, agents, keys of
//! tokens, collectors of traces and logs; and what its operators ask of it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ballast_model::NodeRole;
use ballast_model::explain::ExplainRequest;
use ballast_test_support::{Cluster, Lab, NodeOptions, Origin, wait_for};
use ballast_tests_cluster::outside::Outside;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SEEN_LIMIT: Duration = Duration::from_secs(20);

/// A public key (RFC 8037 Appendix A.2).
const KEYS: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "alg": "EdDSA",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// One node with these settings besides.
async fn node(lab: &Lab, change: impl FnOnce(&mut NodeOptions)) -> Result<Cluster> {
    let mut options = NodeOptions::new(NodeRole::Traffic);
    change(&mut options);
    Cluster::form(lab, &[("node-1", options)], |_| ()).await
}

fn server(name: &str, address: SocketAddr, pool: &str) -> Value {
    json!({"name": name, "spec": {
        "protocol": "http", "addresses": [address.ip()], "ports": [address.port()], "pool": pool}})
}

fn member(address: SocketAddr) -> Value {
    json!({"name": address.ip().to_string(), "address": address.ip(), "port": address.port()})
}

/// Status and head of an answer.
async fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_from_name_servers_and_agents_are_obeyed() -> Result<()> {
    let lab = Lab::loopback()?;
    let cluster = node(&lab, |_| ()).await?;
    let (one, two) =
        (Origin::start(&lab.host("one", 21)?).await?, Origin::start(&lab.host("two", 22)?).await?);
    let host = cluster.nodes[0].host();
    let (named, advised) = (host.socket(host.free_port()?), host.socket(host.free_port()?));
    let IpAddr::V4(of_two) = two.http().ip() else { anyhow::bail!("a lab of IPv4") };
    let names = Outside::name_server(of_two.octets()).await?;
    let port = host.free_port()?;
    let _ready = Outside::agent((one.http().ip(), port).into(), "ready up\n").await?;
    let _drains = Outside::agent((two.http().ip(), port).into(), "drain up\n").await?;
    cluster
        .apply(&json!({
            "monitors": [{"name": "agent", "spec": {
                "type": "agent", "port": port, "interval_ms": 200, "timeout_ms": 100, "agent": {}}}],
            "pools": [
                {"name": "named", "spec": {"dns_members": [{
                    "host": "two.example", "port": two.http().port(), "family": "ipv4",
                    "resolvers": [names.address]}]}},
                {"name": "advised", "spec": {"monitors": ["agent"],
                    "members": [member(one.http()), member(two.http())]}},
            ],
            "virtual_servers":
                [server("named", named, "named"), server("advised", advised, "advised")],
        }))
        .await?;
    wait_for("the member that the name server knows", SEEN_LIMIT, async || {
        get(named, "/").await.is_ok_and(|answer| answer.contains("x-origin: two"))
    })
    .await?;
    // Turn by turn, if nobody said otherwise.
    wait_for("nothing to go where the agent wants none", SEEN_LIMIT, async || {
        for _ in 0..8 {
            if !get(advised, "/").await.is_ok_and(|answer| answer.contains("x-origin: one")) {
                return false;
            }
        }
        true
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_fetched_spans_are_sent_and_explanations_are_given() -> Result<()> {
    let lab = Lab::loopback()?;
    let collector = Outside::http(String::new()).await?;
    let issuer = Outside::http(KEYS.to_owned()).await?;
    let endpoint = format!("http://{}/v1/traces", collector.address);
    let cluster = node(&lab, |options| options.otlp_endpoint = endpoint).await?;
    let origin = Origin::start(&lab.host("one", 21)?).await?;
    let host = cluster.nodes[0].host();
    let front = host.socket(host.free_port()?);
    let mut shop = server("shop", front, "web");
    shop["spec"]["policies"] = json!(["guard"]);
    shop["spec"]["http"] = json!({"tracing": {"enabled": true, "sample_percent": 100}});
    cluster
        .apply(&json!({
            "jwt_providers": [{"name": "issuer", "spec": {
                "jwks_url": format!("http://{}/keys", issuer.address)}}],
            "policies": [{"name": "guard", "spec": {"rules": [
                {"name": "private", "when": {"path": {"prefix": "/private"}},
                 "require_jwt": {"provider": "issuer"}}]}}],
            "pools": [{"name": "web", "spec": {"members": [member(origin.http())]}}],
            "virtual_servers": [shop],
        }))
        .await?;
    // Without keys it would be 503.
    wait_for("the keys to be fetched", SEEN_LIMIT, async || {
        get(front, "/private").await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 401 "))
    })
    .await?;
    ensure!(issuer.seen().iter().any(|line| line.starts_with("GET /keys ")), "{:?}", issuer.seen());
    let status = cluster.client().node_status().await?;
    let provider = status.jwt_providers.first().context("a provider")?;
    ensure!(provider.key_count == 1 && provider.fetched_at_ms.is_some(), "{provider:?}");

    ensure!(get(front, "/").await?.starts_with("HTTP/1.1 200 "), "the rest is free");
    let is_span = |line: &String| {
        line.starts_with("POST /v1/traces ") && line.contains(" application/x-protobuf ")
    };
    wait_for("spans at the collector", SEEN_LIMIT, async || collector.seen().iter().any(is_span))
        .await?;

    let told = cluster.client().explain(&ExplainRequest::new("shop", "a", "/x")).await?;
    ensure!(told.pool.as_deref() == Some("web") && told.member.is_some(), "{told:?}");
    let told = cluster.client().explain(&ExplainRequest::new("shop", "a", "/private/x")).await?;
    ensure!(told.steps.iter().any(|step| step.rule == "private" && step.matched), "{told:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_access_log_is_opened_again_and_goes_to_syslog() -> Result<()> {
    let lab = Lab::loopback()?;
    let log = lab.dir().join("requests.log");
    let put_aside = lab.dir().join("requests.log.old");
    let cluster = node(&lab, |options| options.access_log = log.display().to_string()).await?;
    let origin = Origin::start(&lab.host("one", 21)?).await?;
    let host = cluster.nodes[0].host();
    let front = host.socket(host.free_port()?);
    let declared = json!({
        "pools": [{"name": "web", "spec": {"members": [member(origin.http())]}}],
        "virtual_servers": [server("shop", front, "web")],
    });
    cluster.apply(&declared).await?;
    let has = |path: &std::path::Path, what: &str| {
        std::fs::read_to_string(path).is_ok_and(|text| text.contains(what))
    };
    get(front, "/before").await?;
    wait_for("a line", SEEN_LIMIT, async || has(&log, "/before")).await?;
    std::fs::rename(&log, &put_aside)?;
    cluster.nodes[0].sighup()?;
    wait_for("a new file", SEEN_LIMIT, async || log.exists()).await?;
    get(front, "/after").await?;
    wait_for("a line in it", SEEN_LIMIT, async || has(&log, "/after")).await?;
    ensure!(!has(&put_aside, "/after"), "the file that was put aside is left alone");
    drop(cluster);

    let lab = Lab::loopback()?;
    let syslog = Outside::datagrams().await?;
    let sink = format!("syslog:{}", syslog.address);
    let cluster = node(&lab, |options| options.access_log = sink).await?;
    let origin = Origin::start(&lab.host("one", 21)?).await?;
    let host = cluster.nodes[0].host();
    let front = host.socket(host.free_port()?);
    cluster
        .apply(&json!({
            "pools": [{"name": "web", "spec": {"members": [member(origin.http())]}}],
            "virtual_servers": [server("shop", front, "web")],
        }))
        .await?;
    get(front, "/told").await?;
    wait_for("a message (RFC 5424)", SEEN_LIMIT, async || {
        syslog.seen().iter().any(|text| text.starts_with('<') && text.contains("/told"))
    })
    .await
}
