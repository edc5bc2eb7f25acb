//! Signing in: setup code, sessions, tokens, CSRF, throttling.

use axum::http::Method;
use serde_json::json;

use super::harness::{As, Node, PASSWORD, pool};

const SESSIONS: &str = "/api/v1/sessions";
const CURRENT: &str = "/api/v1/sessions/current";

#[tokio::test]
async fn setup_code_makes_one_administrator() {
    let node = Node::start_with(None).await;
    let code = node.setup_code.clone().unwrap();
    assert_eq!(node.get(&As::Nobody, "/api/v1/setup").await.json()["required"], true);
    let set_up = async |code: &str, username: &str, password: &str| {
        let body = json!({ "code": code, "username": username, "password": password });
        node.post(&As::Nobody, "/api/v1/setup", body).await
    };
    set_up("WRONG", "ada", PASSWORD).await.expect_problem(403, "setup_code_invalid");
    let problem = set_up(&code, "a b", "short").await.expect_problem(422, "invalid");
    let pointers: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|e| e["pointer"].clone()).collect();
    assert_eq!(pointers, ["/username", "/password"]);
    let made = set_up(&code.to_lowercase(), "ada", PASSWORD).await;
    assert_eq!(made.expect(201).json()["role"], "admin");
    let session = As::Bearer(made.session());
    assert_eq!(node.get(&session, CURRENT).await.expect(200).json()["user"], "ada");
    assert_eq!(node.get(&As::Nobody, "/api/v1/setup").await.json()["required"], false);
    set_up(&code, "eve", PASSWORD).await.expect_problem(403, "setup_code_invalid");
}

#[tokio::test]
async fn session_by_cookie_needs_its_csrf_token_for_changes() {
    let node = Node::start().await;
    let body = json!({ "username": "admin", "password": PASSWORD });
    let reply = node.post(&As::Nobody, SESSIONS, body).await;
    let cookie = reply.expect(201).header("set-cookie");
    for attribute in ["; HttpOnly", "; Secure", "; SameSite=Strict", "; Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let csrf_token = reply.json()["csrf_token"].as_str().unwrap().to_owned();
    let cookie = |csrf_token: Option<&str>| As::Cookie {
        session: reply.session(),
        csrf_token: csrf_token.map(str::to_owned),
    };
    let read = node.get(&cookie(None), CURRENT).await;
    assert_eq!(read.expect(200).json()["csrf_token"], csrf_token.as_str());
    let path = "/api/v1/pools/p";
    for wrong in [None, Some("0123456789abcdef0123456789abcdef")] {
        let refused = node.put(&cookie(wrong), path, pool(&[])).await;
        refused.expect_problem(403, "csrf_token_invalid");
    }
    node.put(&cookie(Some(&csrf_token)), path, pool(&[])).await.expect(201);
    let ended = node.delete(&cookie(Some(&csrf_token)), CURRENT).await;
    assert!(ended.expect(204).header("set-cookie").contains("Max-Age=0"));
    node.get(&cookie(None), CURRENT).await.expect_problem(401, "unauthenticated");
    assert_eq!(node.snapshot().state.cluster.revoked_sessions.len(), 1);
}

#[tokio::test]
async fn sessions_end_with_password_and_user() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let path = "/api/v1/users/ann";
    let user = |password: &str| json!({ "spec": { "role": "viewer", "password": password } });
    node.put(&admin, path, user(PASSWORD)).await.expect(201);
    let first = node.sign_in("ann", PASSWORD).await;
    node.get(&first, "/api/v1/pools").await.expect(200);
    node.put(&admin, path, user("a new one, longer")).await.expect(200);
    node.get(&first, "/api/v1/pools").await.expect_problem(401, "unauthenticated");
    let second = node.sign_in("ann", "a new one, longer").await;
    let disable = Some(json!({ "spec": { "disabled": true } }));
    node.send(&admin, Method::PATCH, path, &[], disable).await.expect(200);
    node.get(&second, "/api/v1/pools").await.expect_problem(401, "unauthenticated");
    let body = json!({ "username": "ann", "password": "a new one, longer" });
    let refused = node.post(&As::Nobody, SESSIONS, body).await;
    refused.expect_problem(401, "credentials_invalid");
    let enable = Some(json!({ "spec": { "disabled": false } }));
    node.send(&admin, Method::PATCH, path, &[], enable).await.expect(200);
    node.delete(&admin, path).await.expect(204);
    node.get(&second, "/api/v1/pools").await.expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn guessing_is_slowed_down_and_tells_nothing() {
    let node = Node::start().await;
    let attempt = async |username: &str| {
        let body = json!({ "username": username, "password": "wrong, and long" });
        node.post(&As::Nobody, SESSIONS, body).await
    };
    let known = attempt("admin").await.expect_problem(401, "credentials_invalid");
    let unknown = attempt("nobody").await.expect_problem(401, "credentials_invalid");
    assert_eq!(known["detail"], unknown["detail"]);
    // A machine that is busy may take longer for an attempt than the first waits last.
    for _ in 0..20 {
        let refused = attempt("admin").await;
        if refused.status == 429 {
            refused.expect_problem(429, "too_many_attempts");
            assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
            attempt("nobody").await.expect_problem(401, "credentials_invalid");
            return;
        }
        refused.expect_problem(401, "credentials_invalid");
    }
    panic!("nothing slows guessing down");
}

#[tokio::test]
async fn tokens_are_refused_when_unknown_expired_or_deleted() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let token = node.token(&admin, "viewer").await;
    node.get(&token, "/api/v1/pools").await.expect(200);
    let info = node.get(&token, CURRENT).await.expect(200).json();
    assert_eq!((&info["user"], info.get("csrf_token")), (&json!("token/t-viewer"), None));
    node.delete(&token, CURRENT).await.expect_problem(409, "no_session");
    let expire = Some(json!({ "spec": { "expires_at_ms": 1 } }));
    let path = "/api/v1/tokens/t-viewer";
    node.send(&admin, Method::PATCH, path, &[], expire).await.expect(200);
    node.get(&token, "/api/v1/pools").await.expect_problem(401, "unauthenticated");
    node.delete(&admin, path).await.expect(204);
    for bearer in ["blst_x", "", "a.b", "eyJ9.eyJ9"] {
        let reply = node.get(&As::Bearer(bearer.to_owned()), "/api/v1/pools").await;
        reply.expect_problem(401, "unauthenticated");
        assert_eq!(reply.header("www-authenticate"), "Bearer");
    }
    let basic = [("authorization", "Basic YTpi")];
    let reply = node.send(&As::Nobody, Method::GET, "/api/v1/pools", &basic, None).await;
    reply.expect_problem(401, "unauthenticated");
}
