use super::*;

fn client() -> Client {
    Client::builder("https://10.0.0.1:8443").trust(crate::Trust::Insecure).build().unwrap()
}

#[test]
fn names_are_escaped_in_urls() {
    let request = Request::api(Method::GET, ["pools", "web", "members", "[2001:db8::1]:80", "a/b"]);
    assert_eq!(
        client().url(&request).as_str(),
        "https://10.0.0.1:8443/api/v1/pools/web/members/[2001:db8::1]:80/a%2Fb"
    );
}

#[test]
fn events_url_names_its_kinds() {
    assert_eq!(
        client().events_url(&["config", "health"]),
        "https://10.0.0.1:8443/api/v1/events?kinds=config%2Chealth"
    );
}

#[test]
fn write_options_become_query_and_headers() {
    let options = WriteOptions::new().if_revision(7).dry_run().wait_applied().idempotency_key("k");
    let request = Request::api(Method::PUT, ["pools", "web"]).options(&options);
    let built = client().prepare(&request).unwrap().build().unwrap();
    assert_eq!(built.headers()["if-match"], "\"7\"");
    assert_eq!(built.headers()["idempotency-key"], "k");
    assert_eq!(built.url().query(), Some("dry_run=true&wait=applied&wait_timeout_ms=10000"));
}

#[test]
fn csrf_token_goes_with_changes_only_and_bearer_replaces_it() {
    let client = client();
    client.set_csrf_token(Some("c".to_owned()));
    let header = |client: &Client, method: Method, name: &str| {
        let request = client.prepare(&Request::api(method, ["pools"])).unwrap().build().unwrap();
        request.headers().get(name).cloned()
    };
    assert_eq!(header(&client, Method::POST, "x-csrf-token").unwrap(), "c");
    assert_eq!(header(&client, Method::GET, "x-csrf-token"), None);
    client.set_bearer(Some("t".to_owned()));
    assert_eq!(header(&client, Method::POST, "x-csrf-token"), None);
    assert_eq!(header(&client, Method::POST, "authorization").unwrap(), "Bearer t");
}

#[test]
fn answer_headers_are_understood() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("x-ballast-index", "12"),
        ("etag", "\"9\""),
        ("x-ballast-not-applied", "b=unreachable, c=timeout"),
        ("set-cookie", "__Host-ballast-session=abc; HttpOnly; Secure"),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    let answer = Answer::new(201, &headers, b"{}".to_vec());
    assert_eq!((answer.index, answer.revision), (12, Some(9)));
    assert_eq!(answer.not_applied, ["b=unreachable", "c=timeout"]);
    assert_eq!(answer.session.as_deref(), Some("abc"));
    assert!(answer.written_as(()).created);
}

#[test]
fn refusals_without_a_problem_are_told_apart() {
    let error = refusal(502, &HeaderMap::new(), b"<html>", || "GET x".to_owned());
    assert!(matches!(error, ClientError::Decode { .. }));
    let mut headers = HeaderMap::new();
    headers.insert("content-type", problem::CONTENT_TYPE.parse().unwrap());
    let problem = Problem::new(404, "not_found", "Nothing there", "there is no pools/x");
    let body = serde_json::to_vec(&problem).unwrap();
    let error = refusal(404, &headers, &body, || "GET x".to_owned());
    assert_eq!(error.code(), Some("not_found"));
}

#[test]
fn addresses_that_are_none_are_refused() {
    for url in ["", "10.0.0.1:8443", "ftp://x", "https://"] {
        assert!(Client::builder(url).trust(crate::Trust::Insecure).build().is_err(), "{url}");
    }
}
