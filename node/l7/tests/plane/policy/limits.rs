//! Rate limits.

use super::*;

#[tokio::test]
async fn what_comes_too_often_is_answered_429_at_the_limit_and_not_before() {
    let (site, _origins) =
        site(r#"[{"name": "r", "rate_limits": [{"requests": 3, "interval_s": 3600}]}]"#).await;
    // Over several connections, and so over both workers.
    for _ in 0..3 {
        assert_eq!(site.connect().await.get("/").await.status(), 200);
    }
    let mut client = site.connect().await;
    let answer = client.get("/").await;
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.text(), "429 Too Many Requests: rate_limited\n");
    let retry_after_s: u64 = answer.field("retry-after").unwrap().parse().unwrap();
    assert!((1_190..=1_200).contains(&retry_after_s), "{retry_after_s}: one in 20 minutes");
    assert_eq!(client.get("/").await.status(), 429, "the connection is kept");
    site.failed(FailureReason::RateLimited, 2).await;
}

#[tokio::test]
async fn limits_go_by_their_key_and_come_back_with_time() {
    let (site, _origins) = site(
        r#"[{"name": "r", "rate_limits": [{"key": [{"header": "X-Key"}], "requests": 1, "interval_s": 2, "burst": 1}]}]"#,
    )
    .await;
    let mut client = site.connect().await;
    let of = |key: &str| get("/", &format!("X-Key: {key}\r\n"));
    for request in [of("a"), of("b"), get("/", "")] {
        // None is a key as well.
        assert_eq!(client.ask(&request).await.status(), 200, "{request}");
        assert_eq!(client.ask(&request).await.status(), 429, "{request}");
    }
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    soon(async {
        while client.ask(&of("a")).await.status() != 200 {
            ticks.tick().await;
        }
    })
    .await;
    assert_eq!(client.ask(&of("a")).await.status(), 429, "one has come back");
}

#[tokio::test]
async fn each_kind_of_key_tells_clients_apart_over_http_1_and_2() {
    let cookie = |value: &str| get("/", &format!("Cookie: uid={value}\r\n"));
    let header = |value: &str| get("/", &format!("X-Key: {value}\r\n"));
    let path = |value: &str| get(&format!("/{value}?q"), "");
    for (key, [one, other]) in [
        (r#"{"cookie": "uid"}"#, [cookie("a"), cookie("b")]),
        (r#"{"header": "X-Key"}"#, [header("a"), header("b")]),
        (r#""path""#, [path("a"), path("b")]),
    ] {
        let rules = format!(
            r#"[{{"name": "r", "rate_limits": [{{"key": [{key}], "requests": 2, "interval_s": 3600}}]}}]"#
        );
        let (site, _origins) = site(&rules).await;
        let [mut http1, mut http2] = Speaker::each(&site).await;
        assert_eq!(http1.ask(&one).await.status(), 200, "{key}");
        assert_eq!(http2.ask(&one).await.status(), 200, "{key}");
        // It is one limit for both.
        assert_eq!(http1.ask(&one).await.status(), 429, "{key}");
        assert_eq!(http2.ask(&one).await.status(), 429, "{key}");
        assert_eq!(http2.ask(&other).await.status(), 200, "{key}");
    }
}
