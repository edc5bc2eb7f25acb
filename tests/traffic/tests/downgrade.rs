//! Requests of HTTP/2 on their way to members that speak HTTP/1.1, four parsers of it: each is one
//! request or none.

use anyhow::{Result, ensure};
use ballast_test_support::Lab;
use ballast_tests_traffic::downgrade::{Downgrade, vectors};
use ballast_tests_traffic::http2::{self, Told};
use ballast_tests_traffic::requests::Expect;
use ballast_tests_traffic::world::{World, canary, check_log};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_parser_sees_more_than_the_one_request_that_was_sent() -> Result<()> {
    let lab = Lab::loopback()?;
    let world = World::start(&lab).await?;
    let vectors = vectors();
    let expected: Vec<_> = vectors
        .iter()
        .filter(|vector| may_be_counted(vector))
        .map(|vector| (vector.path(), usize::from(vector.expect == Expect::Passed)))
        .collect();
    let mut discrepancies = Vec::new();
    for (origin, front) in &world.fronts {
        let name = origin.parser.name();
        for vector in &vectors {
            let told =
                http2::ask(*front, &vector.fields(), &vector.content, &vector.trailers).await?;
            let wanted = match vector.expect {
                Expect::Refused => Told::Refused,
                Expect::Passed => Told::Served,
            };
            if told != wanted {
                discrepancies.push(format!("{name} {}: {told:?}", vector.name));
            }
            if let Err(error) = canary(*front, &format!("/next-{}", vector.name)).await {
                discrepancies.push(format!("{name} {}: {error:#}", vector.name));
            }
        }
        canary(*front, "/canary").await?;
        let seen = origin.requests_until("/canary").await?;
        let (cuts, faults): (Vec<_>, Vec<_>) =
            check_log(&seen, &expected).into_iter().partition(|fault| is_cut(fault));
        discrepancies.extend(faults.into_iter().map(|what| format!("{name} {what}")));
        let begun_count = vectors.len() - expected.len();
        if cuts.len() > begun_count {
            discrepancies.push(format!("{name} saw {} requests cut off", cuts.len()));
        }
    }
    ensure!(discrepancies.is_empty(), "{}", discrepancies.join("\n"));
    Ok(())
}

/// Whether it tells of a request that ended in the middle (node writes that down).
fn is_cut(fault: &str) -> bool {
    ["saw REFUSED HPE_INVALID_EOF_STATE", "saw REFUSED ECONNRESET"].contains(&fault)
}

/// Whether the origin's log tells how often it was asked. What is found wrong within or behind the
/// content may have begun to be passed on; then the member's connection is cut, and whether the origin
/// notes half a request is up to it.
fn may_be_counted(vector: &Downgrade) -> bool {
    vector.expect == Expect::Passed || vector.content.is_empty()
}
