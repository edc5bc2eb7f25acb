//! Policies: every condition and every action over real sockets, positive and negative.

use std::time::Duration;

use ballast_model::explain::ExplainRequest;
use ballast_model::{AnyDraft, Draft, Edit, Kind, MemberSpec, PolicySpec, PoolSpec, RegionSpec};
use ballast_telemetry::FailureReason;

use crate::harness::*;

#[path = "policy/actions.rs"]
mod actions;
#[path = "policy/jwt.rs"]
mod jwt;
#[path = "policy/limits.rs"]
mod limits;
#[path = "policy/scale.rs"]
mod scale;
#[path = "policy/speaker.rs"]
mod speaker;

use speaker::Speaker;

/// An origin that answers with its name and the head and body that it got.
pub(crate) async fn named(name: &'static str) -> Origin {
    Origin::answering(move |request| ok(&format!("{name} {}{}", request.head, request.text())))
        .await
}

/// Declares the policy `rules` made of those rules.
pub(crate) fn declare(site: &mut Site, rules: &str) {
    let spec: PolicySpec = serde_json::from_str(&format!("{{\"rules\": {rules}}}")).unwrap();
    site.edit(&[Edit::put(AnyDraft::Policy(Draft::new("rules", spec)), "uid-rules")]);
}

/// Declares one more pool of one member.
pub(crate) fn declare_pool(site: &mut Site, name: &str, origin: &Origin) {
    let members = vec![MemberSpec::new(origin.address)];
    let spec = PoolSpec { members, ..PoolSpec::default() };
    site.edit(&[Edit::put(AnyDraft::Pool(Draft::new(name, spec)), format!("uid-{name}"))]);
}

/// A site with the pools `origin` and `blue` and a policy of those rules.
pub(crate) async fn site(rules: &str) -> (Site, [Origin; 2]) {
    let origins = [named("origin").await, named("blue").await];
    let mut site = Site::start(&[origins[0].address]).await;
    declare_pool(&mut site, "blue", &origins[1]);
    let office = RegionSpec { cidrs: vec!["127.0.0.0/8".parse().unwrap()] };
    let moon = RegionSpec { cidrs: vec!["192.0.2.0/24".parse().unwrap()] };
    site.edit(&[
        Edit::put(AnyDraft::Region(Draft::new("here", office)), "uid-here"),
        Edit::put(AnyDraft::Region(Draft::new("moon", moon)), "uid-moon"),
    ]);
    declare(&mut site, rules);
    site.server.policies = vec!["rules".to_owned()];
    site.apply().await;
    (site, origins)
}

/// Whether a request is sent to the pool `blue` where `when` says so, over HTTP/1.1 and over HTTP/2.
async fn matches(when: &str, request: &str) -> [bool; 2] {
    let rules =
        format!("[{{\"name\": \"r\", \"when\": {when}, \"action\": {{\"pool\": \"blue\"}}}}]");
    let (site, _origins) = site(&rules).await;
    let mut matches = [false; 2];
    for (matches, mut client) in matches.iter_mut().zip(Speaker::each(&site).await) {
        *matches = client.ask(request).await.text().starts_with("blue ");
    }
    matches
}

fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: Shop.Example.com:8080\r\n{fields}\r\n")
}

#[tokio::test]
async fn every_condition_matches_what_it_says_and_nothing_else() {
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json; charset=utf-8\r\n\
        Content-Length: 2\r\n\r\n{}";
    for (when, request, expected) in [
        (r#"{"host": ["shop.example.com"]}"#, get("/", ""), true),
        (r#"{"host": ["*.example.com"]}"#, get("/", ""), true),
        (r#"{"host": ["example.com"]}"#, get("/", ""), false),
        (r#"{"path": {"exact": "/a/b"}}"#, get("/x/../a//b?q", ""), true),
        (r#"{"path": {"exact": "/a"}}"#, get("/a/b", ""), false),
        (r#"{"path": {"prefix": "/api"}}"#, get("/api/x", ""), true),
        (r#"{"path": {"prefix": "/api"}}"#, get("/apix", ""), false),
        (r#"{"path": {"regex": "^/v[0-9]+/"}}"#, get("/v12/x", ""), true),
        (r#"{"path": {"regex": "^/v[0-9]+/"}}"#, get("/vx/", ""), false),
        (r#"{"method": ["POST"]}"#, post.to_owned(), true),
        (r#"{"method": ["POST"]}"#, get("/", ""), false),
        (r#"{"header": {"name": "x-user", "prefix": "an"}}"#, get("/", "X-User: ann\r\n"), true),
        (r#"{"header": {"name": "x-user"}}"#, get("/", ""), false),
        (r#"{"cookie": {"name": "b", "equals": "2"}}"#, get("/", "Cookie: a=1; b=2\r\n"), true),
        (r#"{"cookie": {"name": "b", "equals": "2"}}"#, get("/", "Cookie: a=2\r\n"), false),
        (r#"{"query": {"name": "q", "equals": "a b"}}"#, get("/?x=1&q=a%20b", ""), true),
        (r#"{"query": {"name": "q"}}"#, get("/?x=q", ""), false),
        (r#"{"content_type": ["application/json"]}"#, post.to_owned(), true),
        (r#"{"content_type": ["text/*"]}"#, post.to_owned(), false),
        (r#"{"source": ["127.0.0.1"]}"#, get("/", ""), true),
        (r#"{"source": ["192.0.2.0/24"]}"#, get("/", ""), false),
        (r#"{"region": ["here"]}"#, get("/", ""), true),
        (r#"{"region": ["moon"]}"#, get("/", ""), false),
        (r#"{"all": [{"method": ["GET"]}, {"path": {"prefix": "/"}}]}"#, get("/", ""), true),
        (r#"{"all": [{"method": ["GET"]}, {"region": ["moon"]}]}"#, get("/", ""), false),
        (r#"{"any": [{"region": ["moon"]}, {"method": ["GET"]}]}"#, get("/", ""), true),
        (r#"{"not": {"method": ["GET"]}}"#, get("/", ""), false),
    ] {
        assert_eq!(matches(when, &request).await, [expected; 2], "{when} {request}");
    }
}

#[tokio::test]
async fn policies_are_tried_in_order_and_change_under_a_connection_that_lives_on() {
    let (mut site, _origins) = site(
        r#"[{"name": "r", "when": {"path": {"prefix": "/b"}},
        "action": {"pool": "blue"}}]"#,
    )
    .await;
    let mut client = site.connect().await;
    assert!(client.get("/b").await.text().starts_with("blue "));
    assert!(client.get("/a").await.text().starts_with("origin "));

    declare(&mut site, r#"[{"name": "r", "action": {"pool": "blue"}}]"#);
    site.wait_applied().await;
    assert!(client.get("/a").await.text().starts_with("blue "), "the edit is seen at once");

    let first: PolicySpec = serde_json::from_str(
        r#"{"rules": [{"name": "x", "when": {"path": {"exact": "/x"}},
            "action": {"respond": {"status": 404}}}]}"#,
    )
    .unwrap();
    site.edit(&[Edit::put(AnyDraft::Policy(Draft::new("first", first)), "uid-first")]);
    site.server.policies = vec!["first".to_owned(), "rules".to_owned()];
    site.apply().await;
    assert_eq!(client.get("/x").await.status(), 404);
    assert!(client.get("/y").await.text().starts_with("blue "));

    site.server.policies.clear();
    site.apply().await;
    assert!(client.get("/x").await.text().starts_with("origin "));
    site.edit(&[Edit::delete(Kind::Policy, "rules"), Edit::delete(Kind::Pool, "blue")]);
    site.wait_applied().await;
    assert!(client.get("/x").await.text().starts_with("origin "), "and without what is deleted");
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn an_edited_pool_or_region_counts_without_touching_the_policy() {
    let (mut site, _origins) = site(
        r#"[{"name": "r", "when": {"region": ["moon"]},
        "action": {"pool": "blue"}}]"#,
    )
    .await;
    let mut client = site.connect().await;
    assert!(client.get("/").await.text().starts_with("origin "));
    let moon = RegionSpec { cidrs: vec!["127.0.0.1".parse().unwrap()] };
    site.edit(&[Edit::put(AnyDraft::Region(Draft::new("moon", moon)), "uid-moon")]);
    site.wait_applied().await;
    assert!(client.get("/").await.text().starts_with("blue "));
    let green = named("green").await;
    declare_pool(&mut site, "blue", &green);
    site.wait_applied().await;
    assert!(client.get("/").await.text().starts_with("green "));
}

#[tokio::test]
async fn explaining_tells_what_the_engine_does_and_uses_nothing_up() {
    let (site, _origins) = site(
        r#"[{"name": "admin", "when": {"path": {"prefix": "/admin"}}, "action": {"respond": {"status": 404}}},
            {"name": "few", "rate_limits": [{"requests": 1, "interval_s": 3600}]},
            {"name": "blue", "when": {"all": [{"method": ["GET"]}, {"header": {"name": "X-Colour", "equals": "blue"}}]},
             "action": {"pool": "blue"}}]"#,
    )
    .await;
    let mut request = ExplainRequest::new("site", "Shop:80", "/x?y");
    for _ in 0..5 {
        let told = site.plane.explain(request.clone()).await.unwrap();
        assert_eq!((told.host.as_str(), told.path.as_str()), ("shop", "/x"));
        let rules: Vec<_> = told.steps.iter().map(|s| (s.rule.as_str(), s.matched)).collect();
        assert_eq!(rules, [("admin", false), ("few", true), ("blue", false)]);
        assert_eq!(told.steps[2].condition.as_deref(), Some("/when/all/1"));
        assert_eq!((told.steps[2].policy.as_str(), told.steps[2].position), ("rules", 2));
        assert_eq!(told.pool.as_deref(), Some("origin"));
        assert_eq!(told.member, Some(told.members[0].member.clone()));
    }
    request.headers.insert("x-colour".to_owned(), "blue".to_owned());
    let told = site.plane.explain(request.clone()).await.unwrap();
    assert_eq!((told.pool.as_deref(), told.why.as_str()), (Some("blue"), "chosen by round_robin"));
    request.path = "/admin".to_owned();
    let told = site.plane.explain(request.clone()).await.unwrap();
    assert_eq!((told.pool, told.member, told.why.as_str()), (None, None, "no member is asked"));
    assert_eq!(site.connect().await.get("/").await.status(), 200, "the one request is still there");
    assert_eq!(site.connect().await.get("/").await.status(), 429);
    request.virtual_server = "other".to_owned();
    assert_eq!(site.plane.explain(request).await, None);
}
