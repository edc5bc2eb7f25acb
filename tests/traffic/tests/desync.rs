//! Answers that parsers disagree about: a client gets its own answer whole, or knows that it did not.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use ballast_test_support::{Cluster, Lab};
use ballast_tests_traffic::responses::{self, Expect, SMUGGLED, VECTORS, Vector};
use ballast_tests_traffic::wire::Wire;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_gets_an_answer_that_was_not_meant_for_it() -> Result<()> {
    let lab = Lab::loopback()?;
    let cluster = Cluster::one_node(&lab).await?;
    let host = lab.host("origin", 41)?;
    let address = host.socket(host.free_port()?);
    let _origin = responses::origin(address).await?;
    let front = cluster.nodes[0].host().socket(cluster.nodes[0].host().free_port()?);
    let member = json!({"address": address.ip(), "port": address.port()});
    let declaration = json!({
        "pools": [{"name": "origin", "spec": {"members": [member]}}],
        "virtual_servers": [{"name": "front", "spec": {
            "protocol": "http", "addresses": [front.ip()], "ports": [front.port()],
            "pool": "origin", "http": {"response_timeout_ms": 2_000, "body_idle_timeout_ms": 2_000},
        }}],
    });
    cluster.apply(&declaration).await?;
    let mut discrepancies = Vec::new();
    for vector in VECTORS {
        if let Err(error) = attempt(front, vector).await {
            discrepancies.push(format!("{}: {error:#}", vector.name));
        }
    }
    ensure!(discrepancies.is_empty(), "{}", discrepancies.join("\n"));
    Ok(())
}

async fn attempt(front: SocketAddr, vector: &Vector) -> Result<()> {
    let mut wire = Wire::connect(front).await?;
    let request = format!("GET /v-{} HTTP/1.1\r\nHost: a\r\n\r\n", vector.name);
    wire.send(request.as_bytes()).await;
    let answer = wire.answer().await;
    match vector.expect {
        Expect::Refused => {
            let answer = answer?.context("closed without a word")?;
            ensure!(answer.status == 502, "status {}", answer.status);
        }
        // Where nothing was passed on yet it is still time to say what happened.
        Expect::Cut => {
            let is_502 = matches!(&answer, Ok(Some(answer)) if answer.status == 502);
            ensure!(is_502 || answer.is_err(), "it looks whole: {answer:?}");
        }
        Expect::Passed(status, content) => {
            let answer = answer?.context("closed without a word")?;
            ensure!(answer.status == status, "status {}", answer.status);
            ensure!(answer.body == content.as_bytes(), "content {:?}", answer.body);
            // Whatever came behind the answer is not the answer to what is asked next.
            wire.send(b"GET /same HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let next = wire.answer().await?.context("no answer to the second request")?;
            ensure!(next.path.as_deref() == Some("/same"), "behind it came {next:?}");
        }
    }
    // Another client, whose request may go over a connection to the origin that is used already.
    let mut wire = Wire::connect(front).await?;
    wire.send(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let next = wire.answer().await?.context("the next client got no answer")?;
    ensure!(next.path.as_deref() == Some("/next"), "the next client got {next:?}");
    ensure!(next.body != SMUGGLED.as_bytes(), "the next client got it");
    Ok(())
}
