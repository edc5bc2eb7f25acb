//! The live tail.

use std::sync::Arc;

use ballast_model::tail::TailFilter;
use serde_json::{Value, json};

use super::events::Stream;
use super::harness::Node;
use crate::NodeView;
use crate::peer::tail_sessions::TailSessions;
use crate::peer::{TailAsk, TailBatch};

/// Name and document of an event.
fn event(block: &str) -> (&str, Value) {
    let mut lines = block.lines();
    let name = lines.next().unwrap().strip_prefix("event: ").unwrap();
    let data = lines.next().unwrap().strip_prefix("data: ").unwrap();
    (name, serde_json::from_str(data).unwrap())
}

#[tokio::test]
async fn a_reader_gets_records_with_the_node_and_what_was_left_out() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let operator = node.token(&admin, "operator").await;
    let path = "/api/v1/tail?virtual_server=web&status=5xx&client=192.0.2.0/24&min_duration_ms=5\
                &pool=blue&member=m1&reason=any&path_prefix=/api%2F&rate_max_per_s=7&node=a";
    let mut stream = Stream::open(&node, &operator, path, None).await;
    let (filter, sender) = node.view.readers.lock().unwrap()[0].clone();
    let text = |text: &str| Some(text.to_owned());
    let expected = TailFilter {
        virtual_server: text("web"),
        pool: text("blue"),
        member: text("m1"),
        status: Some("5xx".parse().unwrap()),
        reason: text("any"),
        path_prefix: text("/api/"),
        client: Some("192.0.2.0/24".parse().unwrap()),
        min_duration_ms: 5,
        rate_max_per_s: 7,
    };
    assert_eq!(filter, expected);
    sender.send(json!({ "uri": "/one" }).to_string()).await.unwrap();
    let block = stream.block().await.unwrap();
    assert_eq!(event(&block), ("record", json!({ "node": "a", "uri": "/one" })));
    sender.send(json!({ "uri": "/more" }).to_string()).await.unwrap();
    let block = stream.block().await.unwrap();
    assert_eq!(event(&block).1["uri"], "/more");
    let block = stream.block().await.unwrap();
    assert_eq!(event(&block), ("left_out", json!({ "node": "a", "left_out_count": 1 })));
    node.shutdown.cancel();
    assert_eq!(stream.block().await, None);
}

#[tokio::test]
async fn a_filter_that_means_nothing_is_refused_and_a_reader_too_many_too() {
    let node = Node::start().await;
    let admin = node.admin().await;
    for query in [
        "status=6xx",
        "client=192.0.2.1/24",
        "min_duration_ms=-1",
        "rate_max_per_s=0",
        "rate_max_per_s=1001",
        "node=nobody",
        "host=a",
    ] {
        let path = format!("/api/v1/tail?{query}");
        node.get(&admin, &path).await.expect_problem(400, "invalid_parameter");
    }
    let too_long = format!("/api/v1/tail?path_prefix={}", "x".repeat(1_025));
    node.get(&admin, &too_long).await.expect_problem(400, "invalid_parameter");
    assert!(node.view.readers.lock().unwrap().is_empty());
    let _first = Stream::open(&node, &admin, "/api/v1/tail?rate_max_per_s=1000", None).await;
    let _second = Stream::open(&node, &admin, "/api/v1/tail", None).await;
    node.get(&admin, "/api/v1/tail").await.expect_problem(503, "busy");
}

fn ask(session: &str) -> TailAsk {
    TailAsk { session: session.to_owned(), filter: TailFilter::default() }
}

#[tokio::test]
async fn a_session_is_given_what_was_made_between_its_calls() {
    let node = Node::start().await;
    let sessions = TailSessions::new(Arc::<_>::clone(&node.view) as Arc<dyn NodeView>);
    assert_eq!(sessions.next(ask("one")).await, TailBatch::default());
    let sender = node.view.readers.lock().unwrap()[0].1.clone();
    let records = ["a", "more"].map(|uri| json!({ "uri": uri }).to_string());
    for record in &records {
        sender.send(record.clone()).await.unwrap();
    }
    let batch = sessions.next(ask("one")).await;
    assert_eq!((batch.records, batch.left_out_count), (records.to_vec(), 1));
    // Another session watches for itself, and there are no more places than the node has.
    assert_eq!(sessions.next(ask("two")).await, TailBatch::default());
    let refused = sessions.next(ask("three")).await;
    assert_eq!(refused.error.as_deref(), Some("2 readers watch this node already"));
    assert_eq!(sessions.count(), 2);
}

#[tokio::test]
async fn a_session_that_nobody_asks_for_ends() {
    let node = Node::start().await;
    let sessions = TailSessions::new(Arc::<_>::clone(&node.view) as Arc<dyn NodeView>);
    sessions.next(ask("one")).await;
    let sender = node.view.readers.lock().unwrap()[0].1.clone();
    tokio::time::pause();
    // Resolves once the feed is gone.
    sender.closed().await;
    assert_eq!(sessions.count(), 0);
}
