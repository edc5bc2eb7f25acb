//! The list of routes: who may, what is described, what is not there.

use std::collections::BTreeSet;

use axum::http::Method;
use ballast_model::Role;

use super::harness::{As, Node};
use crate::openapi;
use crate::route::{Access, routes};

const ROLES: [Role; 4] = [Role::Viewer, Role::Operator, Role::Editor, Role::Admin];

/// What each role is meant to be allowed, said a second time: a change of one alone fails here.
fn needed(method: &Method, path: &str) -> Option<Role> {
    let path = path.strip_prefix("/api/v1/").unwrap_or(path);
    let first = path.split('/').next().unwrap_or("");
    let is_read = method == Method::GET;
    match (path, first) {
        ("/healthz" | "/readyz" | "openapi.json" | "setup" | "sessions", _) => None,
        ("sessions/current" | "plan" | "explain", _) => Some(Role::Viewer),
        ("tail", _) => Some(Role::Operator),
        _ if is_read => Some(Role::Viewer),
        ("apply", _) => Some(Role::Editor),
        (path, "pools") if path.contains("/{member}/") => Some(Role::Operator),
        (
            "pools/{name}/forget-clients"
            | "traffic-groups/{name}/failover"
            | "nodes/{name}/standby",
            _,
        ) => Some(Role::Operator),
        (path, "nodes") if path.contains("/availability/") => Some(Role::Operator),
        (
            _,
            "certificates" | "jwt-providers" | "monitors" | "policies" | "pools" | "regions"
            | "traffic-groups" | "virtual-servers",
        ) => Some(Role::Editor),
        _ => Some(Role::Admin),
    }
}

#[tokio::test]
async fn each_role_may_do_what_it_should_on_every_route_and_nothing_more() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let mut callers = Vec::new();
    for role in ROLES {
        callers.push((role, node.token(&admin, role.as_str()).await));
    }
    for route in routes() {
        let needed = needed(&route.method, &route.path);
        let path = route.path.replace("{name}", "x").replace("{member}", "y");
        // A parameter that no route knows: whoever may call gets no further than its refusal.
        let probe = format!("{path}?no_such_parameter=1");
        let called = async |who: &As| {
            let sent = node.send(who, route.method.clone(), &probe, &[], None).await;
            sent.json()["code"].as_str().unwrap_or_default().to_owned()
        };
        let what = format!("{} {}", route.method, route.path);
        let expected = if needed.is_none() { "invalid_parameter" } else { "unauthenticated" };
        assert_eq!(called(&As::Nobody).await, expected, "{what} as nobody");
        for (role, who) in &callers {
            let may = needed.is_none_or(|needed| *role >= needed);
            let expected = if may { "invalid_parameter" } else { "forbidden" };
            assert_eq!(called(who).await, expected, "{what} as {}", role.as_str());
        }
    }
}

#[test]
fn every_route_is_described_and_every_description_is_a_route() {
    let document = openapi::document();
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let role = operation.get("x-ballast-role").and_then(|role| role.as_str());
            described.insert((path.clone(), method.to_uppercase(), role.map(str::to_owned)));
        }
    }
    let there = routes().into_iter().map(|route| {
        let role = match route.access {
            Access::Public => None,
            Access::AtLeast(role) => Some(role.as_str().to_owned()),
        };
        (route.path, route.method.to_string(), role)
    });
    assert_eq!(described, there.collect());
}

#[test]
fn committed_openapi_document_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let committed = std::fs::read_to_string(path).unwrap();
    let is_current = committed == openapi::document_text();
    assert!(is_current, "run `cargo run -p ballast-api --bin openapi > api/server/openapi.json`");
}

#[test]
fn openapi_references_lead_somewhere_and_operations_have_names_of_their_own() {
    let document = openapi::document();
    let text = document.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
    }
    let mut ids = BTreeSet::new();
    for methods in document["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            assert!(ids.insert(operation["operationId"].to_string()), "{operation}");
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_too() {
    let node = Node::start().await;
    node.get(&As::Nobody, "/api/v1/gizmos").await.expect_problem(404, "not_found");
    node.get(&As::Nobody, "/api").await.expect_problem(404, "not_found");
    let wrong = node.send(&As::Nobody, Method::PATCH, "/api/v1/pools", &[], None).await;
    wrong.expect_problem(405, "method_not_allowed");
    let allow = wrong.header("allow");
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow:?}");
    node.send(&As::Nobody, Method::POST, "/", &[], None)
        .await
        .expect_problem(405, "method_not_allowed");
    let id = [("x-request-id", "from-the-caller")];
    let reply = node.send(&As::Nobody, Method::GET, "/api/v1/pools", &id, None).await;
    assert_eq!(reply.expect_problem(401, "unauthenticated")["request_id"], "from-the-caller");
    let odd = [("x-request-id", "no spaces")];
    let reply = node.send(&As::Nobody, Method::GET, "/api/v1/pools", &odd, None).await;
    assert_eq!(reply.header("x-request-id").len(), 32);
}

#[tokio::test]
async fn console_is_served_with_careful_headers() {
    let node = Node::start().await;
    for path in ["/", "/pools/web"] {
        let page = node.get(&As::Nobody, path).await;
        page.expect(200);
        assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"));
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        assert!(page.header("content-type").starts_with("text/html"));
    }
}
