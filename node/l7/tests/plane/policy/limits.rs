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
        r#"[{"name": "r", "rate_limits": [{"key": [{"header": "X-Key"}], "requests": 20, "interval_s": 1, "burst": 1}]}]"#,
    )
    .await;
    let mut client = site.connect().await;
    let of = |key: &str| get("/", &format!("X-Key: {key}\r\n"));
    assert_eq!(client.ask(&of("a")).await.status(), 200);
    assert_eq!(client.ask(&of("b")).await.status(), 200);
    assert_eq!(client.ask(&get("/", "")).await.status(), 200, "none is a key as well");
    let mut ticks = tokio::time::interval(Duration::from_millis(60));
    ticks.tick().await;
    ticks.tick().await;
    assert_eq!(client.ask(&of("a")).await.status(), 200, "one in 50 ms");
}
