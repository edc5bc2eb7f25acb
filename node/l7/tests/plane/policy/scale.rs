//! Ten thousand rules.

use std::fmt::Write;
use std::time::Instant;

use super::*;

fn host_rules(count: usize) -> String {
    let mut rules = String::from("[");
    for i in 0..count {
        let _infallible = write!(
            rules,
            r#"{}{{"name": "h{i}", "when": {{"host": ["h{i}.example.com"]}}, "action": {{"pool": "blue"}}}}"#,
            if i > 0 { "," } else { "" }
        );
    }
    rules + "]"
}

async fn last_host(site: &Site, count: usize, request_count: usize) -> Duration {
    let mut client = site.connect().await;
    let request = format!("GET / HTTP/1.1\r\nHost: h{}.example.com\r\n\r\n", count - 1);
    let start = Instant::now();
    for _ in 0..request_count {
        let answer = client.ask(&request).await.text();
        assert!(answer.starts_with("blue "), "{answer}");
    }
    start.elapsed()
}

#[tokio::test]
async fn ten_thousand_host_rules_are_found_and_a_stranger_gets_the_default() {
    let (site, _origins) = site(&host_rules(10_000)).await;
    let mut client = site.connect().await;
    for i in [0, 1, 4_999, 9_999] {
        let request = format!("GET / HTTP/1.1\r\nHost: h{i}.example.com\r\n\r\n");
        assert!(client.ask(&request).await.text().starts_with("blue "), "h{i}");
    }
    assert!(client.get("/").await.text().starts_with("origin "));
}

/// Prints what a request costs with 10 and with 10,000 rules: `cargo test --release -- --ignored`.
#[tokio::test]
#[ignore = "a measure, not a check"]
async fn measure_host_rules() {
    let few = site(&host_rules(10)).await;
    let many = site(&host_rules(10_000)).await;
    for _ in 0..5 {
        let (few_us, many_us) = (
            last_host(&few.0, 10, 5_000).await.as_micros() / 5_000,
            last_host(&many.0, 10_000, 5_000).await.as_micros() / 5_000,
        );
        println!("10 rules: {few_us} us a request, 10,000 rules: {many_us} us");
    }
}
