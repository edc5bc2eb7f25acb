//! The event stream.

use std::time::Duration;

use axum::body::BodyDataStream;
use axum::http::Method;
use ballast_model::event::EventBody;
use ballast_model::status::Health;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::harness::{As, Node, pool};

/// How long an event may take.
const LIMIT: Duration = Duration::from_secs(10);

pub(super) struct Stream {
    body: BodyDataStream,
    text: String,
}

impl Stream {
    pub(super) async fn open(node: &Node, who: &As, path: &str, after: Option<&Value>) -> Self {
        let id = after.map(ToString::to_string).unwrap_or_default();
        let headers = [("last-event-id", id.as_str())];
        let headers = if after.is_some() { &headers[..] } else { &[] };
        let response = node.response(who, Method::GET, path, headers, String::new()).await;
        assert_eq!(response.status(), 200);
        let mut stream =
            Self { body: response.into_body().into_data_stream(), text: String::new() };
        assert_eq!(stream.block().await.unwrap(), "retry: 1000");
        stream
    }

    /// The next event; none at the stream's end.
    async fn next(&mut self) -> Option<Value> {
        let block = self.block().await?;
        let data = block.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
        let event: Value = serde_json::from_str(data).unwrap();
        assert!(block.starts_with(&format!("id: {}\nevent: ", event["id"])), "{block}");
        Some(event)
    }

    pub(super) async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                return Some(block);
            }
            let bytes = tokio::time::timeout(LIMIT, self.body.next()).await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&bytes.unwrap()).unwrap());
        }
    }
}

fn health(member: &str) -> EventBody {
    EventBody::Health {
        pool: "web".to_owned(),
        member: member.to_owned(),
        health: Health::Down,
        reason: "connection refused".to_owned(),
    }
}

#[tokio::test]
async fn events_stream_resume_and_end() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let path = "/api/v1/events";
    let mut all = Stream::open(&node, &admin, path, None).await;
    let mut health_only = Stream::open(&node, &admin, "/api/v1/events?kinds=health", None).await;
    node.put(&admin, "/api/v1/pools/web", pool(&[])).await.expect(201);
    let first = all.next().await.unwrap();
    assert_eq!((&first["kind"], &first["changed"][0]["name"]), (&json!("config"), &json!("web")));
    assert_eq!(first["origin"]["actor"], "admin");
    node.view.happens(health("m1"));
    let second = all.next().await.unwrap();
    assert_eq!((&second["kind"], &second["member"]), (&json!("health"), &json!("m1")));
    assert_eq!(health_only.next().await.unwrap(), second);

    let mut resumed = Stream::open(&node, &admin, path, Some(&first["id"])).await;
    assert_eq!(resumed.next().await.unwrap(), second);
    let mut current = Stream::open(&node, &admin, path, Some(&second["id"])).await;
    for stranger in [json!(1), json!(second["id"].as_u64().unwrap() + 100), json!("x")] {
        let mut lost = Stream::open(&node, &admin, path, Some(&stranger)).await;
        let told = lost.next().await.unwrap();
        assert_eq!((&told["kind"], &told["id"]), (&json!("lagged"), &second["id"]));
    }
    node.view.happens(health("m2"));
    assert_eq!(current.next().await.unwrap()["member"], "m2");
    node.get(&admin, "/api/v1/events?kinds=weather").await.expect_problem(400, "invalid_parameter");

    node.shutdown.cancel();
    while all.next().await.is_some() {}
}
