//! What is written down of attempts to change something.

use std::io;
use std::sync::{Arc, Mutex};

use axum::http::Method;
use ballast_model::ha::{GroupState, GroupStatus, HaStatus};
use serde_json::{Value, json};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::EnvFilter;

use super::harness::{As, Node};

/// The audit log of this thread, on which the test and its node run.
struct Log {
    lines: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

struct Writer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn start() -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&lines);
        let log = tracing_subscriber::fmt()
            .json()
            .with_env_filter(EnvFilter::new("audit=info"))
            .with_writer(move || Writer(Arc::clone(&writer)))
            .finish();
        Self { lines, _guard: tracing::subscriber::set_default(log) }
    }

    /// What was written since the last time.
    fn take(&self) -> Vec<Value> {
        let bytes = std::mem::take(&mut *self.lines.lock().unwrap());
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice::<Value>(line).unwrap()["fields"].take()).collect()
    }
}

async fn node_with_a_group() -> (Node, As, As) {
    let node = Node::start().await;
    let admin = node.admin().await;
    let operator = node.token(&admin, "operator").await;
    let group = json!({ "spec": { "virtual_router_id": 10, "addresses": [{ "address": "198.51.100.10" }] } });
    node.put(&admin, "/api/v1/traffic-groups/blue", group).await.expect(201);
    let state = GroupState::Backup;
    let part = GroupStatus { group: "blue".to_owned(), state, ..GroupStatus::default() };
    *node.view.ha.lock().unwrap() = Some(HaStatus { groups: vec![part], ..HaStatus::default() });
    (node, admin, operator)
}

#[tokio::test]
async fn moving_groups_and_holding_nodes_back_is_written_down_with_who_and_what() {
    let log = Log::start();
    let (node, _admin, operator) = node_with_a_group().await;
    log.take();
    for (path, code) in [
        ("/api/v1/nodes/a/standby", 200),
        ("/api/v1/nodes/a/availability/maintenance", 200),
        ("/api/v1/nodes/a/availability/available", 200),
        ("/api/v1/nodes/zoe/standby", 404),
        ("/api/v1/traffic-groups/blue/failover", 200),
    ] {
        node.send(&operator, Method::POST, path, &[], None).await.expect(code);
        let lines = log.take();
        let write = lines.last().unwrap();
        assert_eq!((&write["path"], &write["status"]), (&json!(path), &json!(code)));
        assert_eq!((&write["method"], &write["role"]), (&json!("POST"), &json!("operator")));
        assert!(!write["actor"].as_str().unwrap().is_empty(), "{write}");
        let moves: Vec<_> = lines.iter().filter(|line| line.get("group").is_some()).collect();
        let is_move = path.ends_with("failover");
        assert_eq!(moves.len(), usize::from(is_move), "{lines:?}");
        for one in moves {
            assert_eq!((&one["group"], &one["to"]), (&json!("blue"), &json!("a")));
            assert_eq!(one["request_id"], write["request_id"]);
            assert_eq!(one["actor"], write["actor"]);
        }
    }
}

#[tokio::test]
async fn what_is_refused_is_written_down_and_what_only_looks_is_not() {
    let log = Log::start();
    let (node, admin, _operator) = node_with_a_group().await;
    let viewer = node.token(&admin, "viewer").await;
    log.take();
    let path = "/api/v1/traffic-groups/blue/failover";
    node.send(&viewer, Method::POST, path, &[], None).await.expect(403);
    let lines = log.take();
    assert!(lines.len() == 1 && lines[0]["path"] == path, "{lines:?}");
    assert_eq!(lines[0]["message"], "refused");
    for looked in ["/api/v1/ha", "/api/v1/ha/events", "/api/v1/ha/preview?down=a"] {
        node.get(&viewer, looked).await.expect(200);
    }
    assert_eq!(log.take(), Vec::<Value>::new());
}
