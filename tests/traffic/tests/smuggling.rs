//! Requests that parsers disagree about, in front of four parsers: nobody sees one that the proxy did
//! not mean to send, and nobody gets somebody else's answer.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use ballast_test_support::Lab;
use ballast_tests_traffic::origins::{Origin, Parser};
use ballast_tests_traffic::requests::{Expect, VECTORS, Vector};
use ballast_tests_traffic::wire::Wire;
use ballast_tests_traffic::world::{World, canary, check_log};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_parser_sees_a_request_that_was_not_meant_for_it() -> Result<()> {
    let lab = Lab::loopback()?;
    let world = World::start(&lab).await?;
    let mut discrepancies = Vec::new();
    for (origin, front) in &world.fronts {
        for vector in VECTORS {
            if let Err(error) = attempt(*front, vector).await {
                discrepancies.push(format!("{} {}: {error:#}", origin.parser.name(), vector.name));
            }
        }
        canary(*front, "/canary").await?;
        let seen = origin.requests_until("/canary").await?;
        discrepancies.extend(
            check_log(&seen, &expected())
                .into_iter()
                .map(|what| format!("{} {what}", origin.parser.name())),
        );
    }
    ensure!(discrepancies.is_empty(), "{}", discrepancies.join("\n"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_smuggled_request_would_be_noticed() -> Result<()> {
    let lab = Lab::loopback()?;
    for (parser, last) in Parser::ALL.into_iter().zip(41..) {
        let origin = Origin::start(&lab, parser, last).await?;
        let mut wire = Wire::connect(origin.address).await?;
        let both =
            "GET /v-cl-zero HTTP/1.1\r\nHost: a\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
        wire.send(both.as_bytes()).await;
        let answer = wire.answer().await?.context("no answer")?;
        ensure!(answer.path.as_deref() == Some("/v-cl-zero"), "{}: {answer:?}", parser.name());
        let faults = check_log(&origin.requests_until("/smuggled").await?, &expected());
        let is_noticed = faults.iter().any(|fault| fault == "saw GET /smuggled");
        ensure!(is_noticed, "{}: {faults:?}", parser.name());
    }
    Ok(())
}

/// Sends it, and says what is not as it should be.
async fn attempt(front: SocketAddr, vector: &Vector) -> Result<()> {
    let mut wire = Wire::connect(front).await?;
    wire.send(&vector.bytes()).await;
    let answer = wire.answer().await?;
    match vector.expect {
        Expect::Refused => {
            let answer = answer.context("closed without a word")?;
            ensure!(answer.path.is_none(), "an origin answered it: {answer:?}");
            ensure!((400..=599).contains(&answer.status), "status {}", answer.status);
            let more = wire.answer().await?;
            ensure!(more.is_none(), "the connection went on: {more:?}");
        }
        Expect::Passed => {
            let answer = answer.context("closed without a word")?;
            let path = answer.path.as_deref();
            let is_own = path.is_some_and(|path| path.starts_with(&vector.path()));
            ensure!(is_own, "answered {} for {path:?}", answer.status);
            let after = format!("/after-{}", vector.name);
            wire.send(format!("GET {after} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
            if let Some(answer) = wire.answer().await? {
                ensure!(answer.path.as_deref() == Some(&after), "behind it came {answer:?}");
            }
        }
    }
    canary(front, &format!("/next-{}", vector.name)).await
}

fn expected() -> Vec<(String, usize)> {
    VECTORS
        .iter()
        .map(|vector| (vector.path(), usize::from(vector.expect == Expect::Passed)))
        .collect()
}
