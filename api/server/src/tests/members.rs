//! Members in and out of service.

use axum::http::Method;
use serde_json::json;

use super::harness::{Node, pool};
use crate::app::now_ms;

#[tokio::test]
async fn members_are_enabled_disabled_drained_and_forced_offline() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let operator = node.token(&admin, "operator").await;
    node.put(&admin, "/api/v1/pools/web", pool(&["10.0.0.1:80", "10.0.0.2:80"])).await.expect(201);
    let act = async |action: &str, body| {
        let path = format!("/api/v1/pools/web/members/10.0.0.1:80/{action}");
        let reply = node.send(&operator, Method::POST, &path, &[], body).await;
        reply.expect(200).json()["spec"]["members"][0].clone()
    };
    assert_eq!(act("disable", None).await["admin_state"], "disabled");
    assert_eq!(act("force-offline", None).await["admin_state"], "forced_offline");
    let drained = act("drain", Some(json!({ "deadline_s": 60 }))).await;
    let left_ms = drained["drain_until_ms"].as_u64().unwrap() - now_ms();
    assert!((1..=60_000).contains(&left_ms), "{left_ms}");
    assert_eq!(act("drain", None).await.get("drain_until_ms"), None);
    let enabled = act("enable", None).await;
    assert_eq!(enabled["admin_state"], "enabled");

    let reply = node.post(&operator, "/api/v1/pools/web/members/x/enable", json!({})).await;
    reply.expect_problem(404, "not_found");
    let reply = node.post(&operator, "/api/v1/pools/none/members/x/enable", json!({})).await;
    reply.expect_problem(404, "not_found");
    let path = "/api/v1/pools/web/members/10.0.0.1:80/drain";
    let reply = node.post(&operator, path, json!({ "deadline_s": 86_401 })).await;
    reply.expect_problem(422, "invalid");
}

#[tokio::test]
async fn members_are_put_patched_and_deleted() {
    let node = Node::start().await;
    let admin = node.admin().await;
    node.put(&admin, "/api/v1/pools/web", pool(&["10.0.0.1:80"])).await.expect(201);
    let path = "/api/v1/pools/web/members/m2";
    let added = node.put(&admin, path, json!({ "address": "10.0.0.2", "port": 80 })).await;
    assert_eq!(added.expect(200).json()["spec"]["members"][1]["name"], "m2");
    let patched = node.send(&admin, Method::PATCH, path, &[], Some(json!({ "weight": 7 }))).await;
    assert_eq!(patched.expect(200).json()["spec"]["members"][1]["weight"], 7);
    let bad = node.send(&admin, Method::PATCH, path, &[], Some(json!({ "weight": 300 }))).await;
    let problem = bad.expect_problem(422, "invalid");
    assert_eq!(problem["errors"][0]["pointer"], "/spec/members/1/weight");
    node.delete(&admin, path).await.expect(200);
    node.delete(&admin, path).await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn changes_side_by_side_are_all_made() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let members = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"];
    node.put(&admin, "/api/v1/pools/web", pool(&members)).await.expect(201);
    let disable = members.map(|member| {
        let path = format!("/api/v1/pools/web/members/{member}/disable");
        let (node, admin) = (&node, &admin);
        async move { node.send(admin, Method::POST, &path, &[], None).await.expect(200).json() }
    });
    futures_util::future::join_all(disable).await;
    let snapshot = node.snapshot();
    let pool = snapshot.state.config.pools.get("web").unwrap();
    assert!(pool.spec.members.iter().all(|member| member.admin_state.as_str() == "disabled"));
}

#[tokio::test]
async fn an_operator_has_a_pool_forget_its_clients() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let operator = node.token(&admin, "operator").await;
    let before_ms = now_ms();
    node.put(&admin, "/api/v1/pools/web", pool(&["10.0.0.1:80"])).await.expect(201);
    let reply = node.post(&operator, "/api/v1/pools/web/forget-clients", json!({})).await;
    let table = reply.expect(200).json()["spec"]["persistence_table"].clone();
    assert!(table["forgotten_until_ms"].as_u64().unwrap() >= before_ms, "{table}");
    assert_eq!(table["entry_max_count"], 100_000, "the rest stays");
    let reply = node.post(&operator, "/api/v1/pools/none/forget-clients", json!({})).await;
    reply.expect_problem(404, "not_found");
}
