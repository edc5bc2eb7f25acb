//! Plan, apply, export.

use serde_json::{Value, json};

use super::harness::{Node, certificate};

fn declaration() -> Value {
    json!({
        "monitors": [{ "name": "tcp", "spec": { "type": "tcp" } }],
        "pools": [{
            "name": "web",
            "labels": { "team": "shop" },
            "spec": { "monitors": ["tcp"], "members": [{ "address": "10.0.0.1", "port": 80 }] },
        }],
        "virtual_servers": [{ "name": "shop", "spec": {
            "protocol": "http", "addresses": ["127.0.0.1"], "ports": [8080], "pool": "web",
        } }],
    })
}

#[tokio::test]
async fn apply_is_one_entry_and_again_none() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let plan = node.post(&admin, "/api/v1/plan", declaration()).await.expect(200).json();
    assert_eq!(plan["items"].as_array().unwrap().len(), 3);
    let index = node.snapshot().index;
    let applied = node.post(&admin, "/api/v1/apply?wait=applied", declaration()).await;
    let report = applied.expect(200).json();
    assert_eq!((&report["applied"], &report["index"]), (&json!(true), &json!(index + 1)));
    assert_eq!(node.snapshot().index, index + 1);
    let again = node.post(&admin, "/api/v1/apply", declaration()).await.expect(200).json();
    assert_eq!(again["applied"], false);
    let export = node.get(&admin, "/api/v1/export").await.expect(200).json();
    let again = node.post(&admin, "/api/v1/apply", export).await.expect(200).json();
    assert_eq!(again["applied"], false, "{again}");
    assert_eq!(node.snapshot().index, index + 1);
}

#[tokio::test]
async fn faults_point_into_the_declaration_and_nothing_is_made() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let index = node.snapshot().index;
    let mut declared = declaration();
    declared["pools"].as_array_mut().unwrap().push(json!({ "name": "web2", "spec": {
        "monitors": ["nowhere"], "members": [{ "address": "10.0.0.1", "port": 0 }],
    } }));
    for path in ["/api/v1/plan", "/api/v1/apply", "/api/v1/apply?dry_run=true"] {
        let problem =
            node.post(&admin, path, declared.clone()).await.expect_problem(422, "invalid");
        let pointers: Vec<_> =
            problem["errors"].as_array().unwrap().iter().map(|e| e["pointer"].clone()).collect();
        assert_eq!(pointers, ["/pools/1/spec/members/0/port", "/pools/1/spec/monitors/0"]);
    }
    let shapes = json!({
        "pools": [{ "name": "a", "spec": { "x": 1 } }, { "name": "b" }, { "name": "c", "spec": {} },
            { "name": "c", "spec": {} }],
        "users": [],
        "monitors": 7,
    });
    let problem = node.post(&admin, "/api/v1/apply", shapes).await.expect_problem(422, "invalid");
    let text = problem["errors"].to_string();
    for pointer in
        ["/pools/0/spec/x", "\"/pools/1\"", "/pools/3/name", "\"/users\"", "\"/monitors\""]
    {
        assert!(text.contains(pointer), "{pointer} is not in {text}");
    }
    assert_eq!(node.snapshot().index, index);
}

#[tokio::test]
async fn prune_deletes_what_is_in_its_scope_alone() {
    let node = Node::start().await;
    let admin = node.admin().await;
    node.post(&admin, "/api/v1/apply", declaration()).await.expect(200);
    let empty = || json!({});
    let kept = node.post(&admin, "/api/v1/apply", empty()).await.expect(200).json();
    assert_eq!(kept["applied"], false);
    let path = "/api/v1/apply?prune=true&label=team=shop";
    let problem = node.post(&admin, path, empty()).await.expect_problem(409, "referenced");
    assert_eq!(problem["referrers"][0]["name"], "shop");
    node.delete(&admin, "/api/v1/virtual-servers/shop").await.expect(204);
    let pruned = node.post(&admin, path, empty()).await.expect(200).json();
    assert_eq!(pruned["plan"]["items"].as_array().unwrap().len(), 1);
    node.get(&admin, "/api/v1/pools/web").await.expect(404);
    node.get(&admin, "/api/v1/monitors/tcp").await.expect(200);
    let reply = node.post(&admin, "/api/v1/apply?label=team=shop", empty()).await;
    reply.expect_problem(400, "invalid_parameter");
}

#[tokio::test]
async fn secrets_are_sealed_and_never_shown_in_a_plan() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let (chain, key) = certificate("shop.example");
    let declared = json!({ "certificates": [
        { "name": "shop", "spec": { "chain_pem": chain, "private_key_pem": key } },
    ] });
    node.post(&admin, "/api/v1/apply", declared.clone()).await.expect(200);
    let again = node.post(&admin, "/api/v1/apply", declared).await.expect(200).json();
    assert_eq!(again["applied"], false, "{again}");
    let (chain, other) = certificate("shop.example");
    let declared = json!({ "certificates": [
        { "name": "shop", "spec": { "chain_pem": chain, "private_key_pem": other } },
    ] });
    let plan = node.post(&admin, "/api/v1/plan", declared).await;
    assert_eq!(plan.expect(200).json()["items"][0]["action"], "update");
    for secret in [key, other] {
        assert!(!plan.text.contains(secret.lines().nth(1).unwrap()), "{}", plan.text);
    }
    assert!(!plan.text.contains("ciphertext\":\""), "{}", plan.text);
}
