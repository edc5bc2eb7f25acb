//! High availability through the API of one node.

use axum::http::Method;
use ballast_model::event::EventBody;
use ballast_model::ha::{GroupState, GroupStatus, HaStatus, HaTransition};
use serde_json::{Value, json};

use super::harness::{As, Node};

const FAILOVER: &str = "/api/v1/traffic-groups/blue/failover";

fn group(vrid: u8) -> Value {
    let address = format!("198.51.100.{vrid}");
    json!({ "spec": { "virtual_router_id": vrid, "addresses": [{ "address": address }] } })
}

/// A node with the group `blue`, of which it says that it has this part.
async fn node_with(state: GroupState) -> (Node, As) {
    let node = Node::start().await;
    let admin = node.admin().await;
    node.put(&admin, "/api/v1/traffic-groups/blue", group(10)).await.expect(201);
    say(&node, "blue", state);
    (node, admin)
}

fn say(node: &Node, group: &str, state: GroupState) {
    let part = GroupStatus { group: group.to_owned(), state, ..GroupStatus::default() };
    let ha = HaStatus { groups: vec![part], ..HaStatus::default() };
    *node.view.ha.lock().unwrap() = Some(ha);
}

#[tokio::test]
async fn overview_names_the_owner_and_status_tells_when_there_is_none() {
    let (node, admin) = node_with(GroupState::Active).await;
    let seen = node.get(&admin, "/api/v1/ha").await.expect(200).json();
    assert_eq!(seen["groups"][0]["owners"], json!(["a"]));
    assert_eq!(seen["groups"][0]["addresses"], json!(["198.51.100.10"]));
    assert_eq!(seen["groups"][0].get("next"), None);
    assert_eq!(seen["groups"][0]["parts"][0]["node"], "a");
    assert_eq!(seen["nodes"][0]["availability"], "available");
    assert_eq!(seen["problems"], json!([]));

    say(&node, "blue", GroupState::Initialize);
    let seen = node.get(&admin, "/api/v1/status").await.expect(200).json();
    let problem = seen["problems"][0].as_str().unwrap();
    assert!(problem.starts_with("nobody owns traffic group blue"), "{problem}");
}

#[tokio::test]
async fn a_group_that_nobody_owns_is_taken_by_the_node_that_is_told_to() {
    let (node, admin) = node_with(GroupState::Backup).await;
    let operator = node.token(&admin, "operator").await;
    let reply = node.post(&operator, FAILOVER, json!({ "to": "a" })).await;
    let moved = &reply.expect(200).json()["moves"][0];
    assert_eq!((&moved["to"], &moved["moved_ms"]), (&json!("a"), &json!(7)));
    let best = node.send(&operator, Method::POST, FAILOVER, &[], None).await;
    assert_eq!(best.expect(200).json()["moves"][0]["to"], "a");
    let asked = node.view.moves.lock().unwrap().clone();
    assert_eq!(asked, vec![("blue".to_owned(), "a".to_owned()); 2]);
}

#[tokio::test]
async fn what_speaks_against_a_move_is_told_and_nobody_is_asked() {
    let (node, admin) = node_with(GroupState::Active).await;
    let unknown = node.post(&admin, FAILOVER, json!({ "to": "zoe" })).await;
    let problem = unknown.expect_problem(422, "invalid");
    assert_eq!(problem["errors"][0]["pointer"], "/to");
    let nobody = node.post(&admin, FAILOVER, json!({})).await.expect_problem(409, "not_able");
    assert!(nobody["detail"].as_str().unwrap().contains("no other traffic node"), "{nobody}");
    let none = node.post(&admin, "/api/v1/traffic-groups/red/failover", json!({})).await;
    none.expect_problem(404, "not_found");
    let mistyped = node.post(&admin, FAILOVER, json!({ "two": "a" })).await;
    mistyped.expect_problem(422, "invalid");
    // It has it already: asking again is no error.
    node.post(&admin, FAILOVER, json!({ "to": "a" })).await.expect(200);
    assert_eq!(*node.view.moves.lock().unwrap(), []);
}

#[tokio::test]
async fn a_move_that_fails_is_a_problem_with_the_owners_reason() {
    let (node, admin) = node_with(GroupState::Backup).await;
    node.put(&admin, "/api/v1/traffic-groups/stuck", group(11)).await.expect(201);
    say(&node, "stuck", GroupState::Backup);
    let reply =
        node.post(&admin, "/api/v1/traffic-groups/stuck/failover", json!({ "to": "a" })).await;
    let problem = reply.expect_problem(409, "not_moved");
    assert!(problem["detail"].as_str().unwrap().contains("b did not take it"), "{problem}");
}

#[tokio::test]
async fn standby_lists_each_group_with_why_it_stays() {
    let (node, admin) = node_with(GroupState::Active).await;
    let path = "/api/v1/nodes/a/standby";
    let seen = node.send(&admin, Method::POST, path, &[], None).await.expect(200).json();
    assert_eq!(
        (&seen["moves"][0]["group"], &seen["moves"][0]["from"]),
        (&json!("blue"), &json!("a"))
    );
    assert!(seen["moves"][0]["error"].as_str().unwrap().contains("nobody else"), "{seen}");
    say(&node, "blue", GroupState::Backup);
    let seen = node.send(&admin, Method::POST, path, &[], None).await.expect(200).json();
    assert_eq!(seen["moves"], json!([]));
    let path = "/api/v1/nodes/zoe/standby";
    node.send(&admin, Method::POST, path, &[], None).await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn availability_is_the_operators_and_other_settings_of_a_node_the_administrators() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let operator = node.token(&admin, "operator").await;
    for wanted in ["maintenance", "offline", "available"] {
        let path = format!("/api/v1/nodes/a/availability/{wanted}");
        let reply = node.send(&operator, Method::POST, &path, &[], None).await;
        assert_eq!(reply.expect(200).json()["spec"]["availability"], wanted);
    }
    let path = "/api/v1/nodes/zoe/availability/offline";
    node.send(&operator, Method::POST, path, &[], None).await.expect_problem(404, "not_found");

    let path = "/api/v1/nodes/a";
    let patch = json!({ "spec": { "capacity": 40, "availability": "maintenance",
        "interfaces": [{ "network": "front", "device": "eth0", "ipv4": "192.0.2.1" }] } });
    let patched = node.send(&admin, Method::PATCH, path, &[], Some(patch)).await;
    let spec = patched.expect(200).json()["spec"].clone();
    assert_eq!((&spec["capacity"], &spec["interfaces"][0]["device"]), (&json!(40), &json!("eth0")));
    let mut back = spec.clone();
    back["capacity"] = json!(50);
    node.put(&admin, path, json!({ "spec": back })).await.expect(200);
    let other = Some(json!({ "spec": { "node_id": 9 } }));
    let refused = node.send(&admin, Method::PATCH, path, &[], other).await;
    assert!(refused.status.is_client_error(), "{}", refused.text);
}

#[tokio::test]
async fn timeline_is_filtered_and_bounded_and_the_newest_comes_first() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let transition = |at_ms, group: &str| HaTransition {
        at_ms,
        node: "a".to_owned(),
        group: group.to_owned(),
        ..HaTransition::default()
    };
    *node.view.timeline.lock().unwrap() =
        vec![transition(1, "blue"), transition(3, "red"), transition(2, "blue")];
    let times = async |query: &str| {
        let reply = node.get(&admin, &format!("/api/v1/ha/events{query}")).await;
        let told = reply.expect(200).json();
        assert_eq!(told["missing"], json!([]));
        let items = told["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["at_ms"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(times("").await, [3, 2, 1]);
    assert_eq!(times("?group=blue").await, [2, 1]);
    assert_eq!(times("?limit=1").await, [3]);
    assert_eq!(times("?node=zoe").await, [0; 0]);
    let wrong = node.get(&admin, "/api/v1/ha/events?limit=0").await;
    wrong.expect_problem(400, "invalid_parameter");
}

#[tokio::test]
async fn preview_says_who_would_take_what() {
    let (node, admin) = node_with(GroupState::Active).await;
    let now = node.get(&admin, "/api/v1/ha/preview").await.expect(200).json();
    assert_eq!(now["moves"], json!([]));
    let then = node.get(&admin, "/api/v1/ha/preview?down=a").await.expect(200).json();
    assert_eq!(
        (&then["moves"][0]["group"], &then["moves"][0]["from"]),
        (&json!("blue"), &json!("a"))
    );
    assert_eq!(then["moves"][0].get("to"), None);
    let unknown = node.get(&admin, "/api/v1/ha/preview?down=a,zoe").await;
    let problem = unknown.expect_problem(400, "invalid_parameter");
    assert!(problem["detail"].as_str().unwrap().contains("zoe"), "{problem}");
}

#[tokio::test]
async fn traffic_groups_are_planned_and_applied() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let mut blue = group(10);
    blue["name"] = json!("blue");
    let mut faulty = group(0);
    faulty["name"] = json!("blue");
    let refused = node.post(&admin, "/api/v1/apply", json!({ "traffic_groups": [faulty] })).await;
    let problem = refused.expect_problem(422, "invalid");
    let pointer = problem["errors"][0]["pointer"].as_str().unwrap();
    assert_eq!(pointer, "/traffic_groups/0/spec/virtual_router_id");
    let declaration = json!({ "traffic_groups": [blue] });
    let plan = node.post(&admin, "/api/v1/plan", declaration.clone()).await.expect(200).json();
    assert!(plan.to_string().contains("blue"), "{plan}");
    node.post(&admin, "/api/v1/apply", declaration).await.expect(200);
    let there = node.get(&admin, "/api/v1/traffic-groups/blue?status=true").await;
    assert_eq!(there.expect(200).json()["status"]["nodes"][0]["node"], "a");
    let exported = node.get(&admin, "/api/v1/export").await.expect(200).json();
    assert_eq!(exported["traffic_groups"][0]["spec"]["virtual_router_id"], 10);
}

#[tokio::test]
async fn transitions_are_streamed() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let path = "/api/v1/events?kinds=ha";
    let open = node.response(&admin, Method::GET, path, &[], String::new()).await;
    assert_eq!(open.status(), 200);
    let transition = HaTransition { group: "blue".to_owned(), ..HaTransition::default() };
    node.view.happens(EventBody::Ha { transition });
    let mut body = open.into_body().into_data_stream();
    let mut text = String::new();
    while !text.contains("\ndata: ") {
        let limit = std::time::Duration::from_secs(10);
        let next = futures_util::StreamExt::next(&mut body);
        let bytes = tokio::time::timeout(limit, next).await.unwrap().unwrap().unwrap();
        text.push_str(std::str::from_utf8(&bytes).unwrap());
    }
    assert!(text.contains("event: ha\n") && text.contains(r#""group":"blue""#), "{text}");
}
