use crate::decision::Scratch;
use crate::request::Request;
use crate::testing::{get, policy};

use super::*;

fn location_of(redirect: &str, request: &Request<'_>) -> String {
    let policy = policy(&format!(r#"[{{"name": "r", "action": {{"redirect": {redirect}}}}}]"#));
    let (mut scratch, mut out) = (Scratch::default(), b"left over".to_vec());
    policy.evaluate(request, &mut scratch).location(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn location(redirect: &str, target: &str) -> String {
    location_of(redirect, &get("Example.com:8080", target))
}

/// What the member is asked for after these rewrites, one rule each.
fn target(rewrites: &[&str], target: &str) -> Option<String> {
    let rules: Vec<_> = rewrites
        .iter()
        .enumerate()
        .map(|(i, rewrite)| format!(r#"{{"name": "r{i}", "rewrite": {rewrite}}}"#))
        .collect();
    let policy = policy(&format!("[{}]", rules.join(",")));
    let request = get("example.com", target);
    let (mut scratch, mut out) = (Scratch::default(), b"left over".to_vec());
    let changed = policy.evaluate(&request, &mut scratch).rewritten_target(&mut out);
    changed.then(|| String::from_utf8(out).unwrap())
}

#[test]
fn a_redirect_keeps_what_it_does_not_name() {
    assert_eq!(location(r#"{"scheme": "https"}"#, "/a?b=c"), "https://example.com/a?b=c");
    assert_eq!(location(r#"{"host": "www.${host}"}"#, "/a"), "http://www.example.com/a");
    assert_eq!(location(r#"{"port": 8443, "scheme": "https"}"#, "/"), "https://example.com:8443/");
    assert_eq!(location(r#"{"port": 80}"#, "/"), "http://example.com/");
    assert_eq!(location(r#"{"query": "drop"}"#, "/a?b"), "/a");
    assert_eq!(location(r#"{"query": {"set": "from=${path}"}}"#, "/a?b"), "/a?from=/a");
    assert_eq!(location(r#"{"path": {"set": "/new"}}"#, "/a?b"), "/new?b");
    assert_eq!(location(r#"{"query": {"set": "${query}"}}"#, "/a"), "/a");
}

#[test]
fn a_redirect_without_a_host_to_speak_of_stays_relative() {
    let request = get("", "/a");
    assert_eq!(location_of(r#"{"scheme": "https"}"#, &request), "/a");
    assert_eq!(location_of(r#"{"host": "b", "scheme": "https"}"#, &request), "https://b/a");
}

#[test]
fn no_path_sends_the_client_to_a_host_of_its_own_choice() {
    let to_first_segment = r#"{"path": {"regex": {"pattern": "^/go(.*)$", "to": "$1"}}}"#;
    assert_eq!(location(to_first_segment, "/go/evil.example/x"), "/evil.example/x");
    assert_eq!(location(to_first_segment, "/go//evil.example/x"), "/evil.example/x");
    assert_eq!(location(to_first_segment, "/go/\\evil.example"), "/%5Cevil.example");
    assert_eq!(location(r#"{"query": "drop"}"#, "//evil.example/x"), "/evil.example/x");
    let slash_in_front = r#"{"path": {"regex": {"pattern": "^/go(.*)$", "to": "/$1"}}}"#;
    assert_eq!(location(slash_in_front, "/go/evil.example/x"), "/evil.example/x");
}

#[test]
fn nothing_that_is_written_ends_a_line() {
    let request = Request {
        authority: b"a\r\nX: y",
        path: b"/p\r\nX: y",
        query: Some(b"q\r\nX: y"),
        request_id: b"id\r\nX: y",
        method: b"GET\r\n",
        ..get("", "/")
    };
    let location = location_of(
        r#"{"scheme": "https", "path": {"set": "/${request_id}${path}${method}"}, "query": {"set": "${query}"}}"#,
        &request,
    );
    assert!(!location.bytes().any(|b| b < 0x20), "{location:?}");
    let policy = policy(
        r#"[{"name": "r", "request_headers": {"set": {"X-A": "${request_id} ${host} ${path} ${query} ${method}"}}}]"#,
    );
    let mut scratch = Scratch::default();
    let decision = policy.evaluate(&request, &mut scratch);
    let mut value = Vec::new();
    for edit in decision.request_edits() {
        assert!(decision.edit_value(edit, &mut value));
        assert!(!value.iter().any(|b| *b < b' '), "{value:?}");
    }
}

#[test]
fn a_beginning_is_replaced_in_whole_segments() {
    let rewrite = r#"{"path": {"prefix": {"from": "/api/", "to": "/v2"}}}"#;
    for (old, new) in [
        ("/api", "/v2"),
        ("/api/", "/v2/"),
        ("/api/x?y", "/v2/x?y"),
        ("/apix", "/apix"),
        ("/b", "/b"),
    ] {
        assert_eq!(target(&[rewrite], old).unwrap(), new, "{old}");
    }
    let away = r#"{"path": {"prefix": {"from": "/api", "to": "/"}}}"#;
    assert_eq!(target(&[away], "/api/x").unwrap(), "/x");
    assert_eq!(target(&[away], "/api").unwrap(), "/");
    let below = r#"{"path": {"prefix": {"from": "/", "to": "/api"}}}"#;
    assert_eq!(target(&[below], "/x").unwrap(), "/api/x");
    assert_eq!(target(&[below], "/").unwrap(), "/api/");
}

#[test]
fn groups_go_where_the_replacement_says() {
    let rewrite =
        r#"{"path": {"regex": {"pattern": "/u/([0-9]+)/([a-z]*)", "to": "/$2/of/$1${host}"}}}"#;
    assert_eq!(target(&[rewrite], "/x/u/7/cats/y").unwrap(), "/x/cats/of/7example.com/y");
    assert_eq!(target(&[rewrite], "/x/u/y").unwrap(), "/x/u/y");
    let optional = r#"{"path": {"regex": {"pattern": "^/a(b)?", "to": "/$1c"}}}"#;
    assert_eq!(target(&[optional], "/a").unwrap(), "/c");
}

#[test]
fn several_rewrites_follow_each_other_and_the_last_query_counts() {
    let first = r#"{"path": {"prefix": {"from": "/a", "to": "/b"}}, "query": {"set": "x=1"}}"#;
    let second = r#"{"path": {"prefix": {"from": "/b", "to": "/c"}}, "query": "drop"}"#;
    assert_eq!(target(&[first, second], "/a/z?q").unwrap(), "/c/z");
    assert_eq!(target(&[second, first], "/a/z?q").unwrap(), "/b/z?x=1");
    assert_eq!(target(&[r#"{"host": "x"}"#], "/a/z"), None);
}

#[test]
fn what_a_path_cannot_have_is_escaped() {
    assert_eq!(
        target(&[r#"{"query": "drop"}"#], "/a b\u{e9}<%20>").unwrap(),
        "/a%20b%C3%A9%3C%20%3E"
    );
    let mut out = Vec::new();
    write_path(b"", &mut out);
    assert_eq!(out, b"/");
}
