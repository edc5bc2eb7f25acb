//! Ordinary requests.

use ballast_model::{Algorithm, Persistence};
use ballast_telemetry::FailureReason;

use crate::harness::*;

#[tokio::test]
async fn connections_are_kept_on_both_sides() {
    let origin = Origin::echo().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    for n in 0..5 {
        let response = client.get(&format!("/{n}")).await;
        assert_eq!(response.status(), 200);
        assert!(response.text().starts_with(&format!("GET /{n} HTTP/1.1\r\nHost: site\r\n")));
        assert!(response.text().contains("X-Forwarded-For: 127.0.0.1\r\n"));
    }
    assert_eq!(origin.connections(), 1);
    assert_eq!(site.totals().connections_total, 1);
    site.served(5).await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::echo().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    let requests: String = (0..20)
        .map(|n| format!("POST /{n} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n{n:03}"))
        .collect();
    client.send(requests).await;
    for n in 0..20 {
        let response = client.message().await.unwrap();
        assert!(response.text().starts_with(&format!("POST /{n} ")));
        assert!(response.text().ends_with(&format!("{n:03}")));
    }
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte_and_after_empty_lines() {
    let origin = Origin::echo().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    for byte in b"\r\n\r\nGET /slow HTTP/1.1\r\nHost: a\r\n\r\n" {
        client.send([*byte]).await;
    }
    assert!(client.message().await.unwrap().text().starts_with("GET /slow"));
}

#[tokio::test]
async fn a_head_larger_than_one_buffer_gets_through() {
    let origin = Origin::echo().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    let cookie = "c".repeat(40_000);
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: x={cookie}\r\n\r\n");
    assert!(client.ask(&request).await.text().contains(&cookie));
}

#[tokio::test]
async fn old_clients_get_what_they_understand() {
    let origin = Origin::answering(|_| {
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n".into()
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
    let answer = String::from_utf8(client.rest().await).unwrap();
    assert!(answer.contains("Connection: close\r\n") && !answer.contains("chunked"));
    assert!(answer.ends_with("\r\n\r\nabc"), "{answer}");
}

#[tokio::test]
async fn an_old_client_can_keep_its_connection_where_the_length_is_known() {
    let origin = Origin::echo().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    for _ in 0..2 {
        let response = client.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
        assert_eq!(response.field("connection"), Some("keep-alive"));
    }
}

#[tokio::test]
async fn a_client_that_asks_for_the_end_gets_it() {
    let origin = Origin::echo().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    let response = client.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(response.field("connection"), Some("close"));
    assert!(client.rest().await.is_empty());
}

#[tokio::test]
async fn responses_without_a_body_leave_the_connection_in_step() {
    let origin = Origin::answering(|request| match request.head.split(' ').nth(1) {
        Some("/204") => "HTTP/1.1 204 No Content\r\n\r\n".into(),
        Some("/304") => "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n".into(),
        Some("/head") => "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n".into(),
        _ => ok("end"),
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    client.send("GET /204 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 204"));
    client.send("GET /304 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(client.head().await.unwrap().contains("Content-Length: 99"));
    client.send("HEAD /head HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(client.head().await.unwrap().contains("Content-Length: 99"));
    assert_eq!(client.get("/").await.text(), "end");
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn hints_are_passed_on_before_the_response() {
    let origin = Origin::answering(|_| {
        format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{}", ok("done"))
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 103 Early Hints\r\nLink: </a>"));
    assert_eq!(client.message().await.unwrap().text(), "done");
    let mut old = site.connect().await;
    assert_eq!(old.ask("GET / HTTP/1.0\r\n\r\n").await.status(), 200);
}

#[tokio::test]
async fn interim_responses_are_limited_at_the_limit_and_not_below() {
    for (count, status) in [(16, 200), (17, 502)] {
        let origin = Origin::answering(move |_| {
            format!("{}{}", "HTTP/1.1 102 Processing\r\n\r\n".repeat(count), ok("done"))
        })
        .await;
        let site = Site::start(&[origin.address]).await;
        let mut client = site.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let head = loop {
            let head = client.head().await.unwrap();
            if !head.starts_with("HTTP/1.1 102 ") {
                break head;
            }
        };
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{count}: {head}");
        let failed_count = u64::from(status != 200);
        site.failures(failed_count).await;
        assert_eq!(site.totals().failures_for(FailureReason::UpstreamProtocol), failed_count);
    }
}

/// RFC 9110 §7.6.2.
#[tokio::test]
async fn a_request_goes_no_further_than_it_may() {
    let origin = Origin::echo().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    let mut ask = async |method: &str, fields: &str| {
        client.ask(&format!("{method} /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await
    };
    for (fields, passed) in [
        ("Max-Forwards: 1\r\n", "0"),
        ("MAX-FORWARDS: 10\r\nX-A: b\r\n", "9"),
        ("Max-Forwards: 7\r\nMax-Forwards: 3\r\n", "2"),
    ] {
        for method in ["OPTIONS", "TRACE"] {
            let text = ask(method, fields).await.text();
            let lines: Vec<_> =
                text.lines().filter(|line| line.to_lowercase().contains("max-forwards")).collect();
            assert_eq!(lines, [format!("Max-Forwards: {passed}")], "{method} {fields}");
        }
    }
    let text = ask("GET", "Max-Forwards: 0\r\n").await.text();
    assert!(text.contains("\r\nMax-Forwards: 0\r\n"), "it is for OPTIONS and TRACE: {text}");
    let here = ask("OPTIONS", "Max-Forwards: 0\r\n").await;
    assert_eq!((here.status(), here.text()), (200, String::new()));
    assert_eq!(site.totals().failures_total(), 0);
    assert_eq!(ask("TRACE", "Max-Forwards: 0\r\nCookie: secret\r\n").await.status(), 501);
    site.failed(FailureReason::MethodNotAllowed, 1).await;
    assert_eq!(ask("OPTIONS", "").await.status(), 200, "the connection stays");
}

#[tokio::test]
async fn a_cookie_leads_back_to_the_member() {
    let origins = [Origin::answering(|_| ok("0")).await, Origin::answering(|_| ok("1")).await];
    let members: Vec<_> = origins.iter().map(|origin| origin.address).collect();
    let site = Site::start_with(&members, |server, pool| {
        server.persistence = Persistence::Cookie { name: "BACK".to_owned(), ttl_s: 0 };
        pool.algorithm = Algorithm::RoundRobin;
    })
    .await;
    let mut client = site.connect().await;
    let first = client.get("/").await;
    let cookie = first.field("set-cookie").expect("a cookie");
    assert!(cookie.starts_with("BACK=") && cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"));
    let pair = cookie.split(';').next().unwrap();
    for _ in 0..6 {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: x=y; {pair}\r\n\r\n");
        let again = client.ask(&request).await;
        assert_eq!(again.text(), first.text());
        assert_eq!(again.field("set-cookie"), None);
    }
    let forged = client.ask("GET / HTTP/1.1\r\nHost: a\r\nCookie: BACK=0000\r\n\r\n").await;
    assert!(forged.field("set-cookie").is_some());
}

/// RFC 9110 §6.6.1: who passes a response on that has no date adds one.
#[tokio::test]
async fn an_answer_without_a_date_gets_one_and_another_keeps_its_own() {
    let origin = Origin::answering(|request| match request.head.split(' ').nth(1) {
        Some("/dated") => "HTTP/1.1 200 OK\r\ndate: then\r\nContent-Length: 0\r\n\r\n".into(),
        Some("/hints") => format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{}", ok("")),
        _ => ok(""),
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    let dated = client.get("/dated").await;
    assert_eq!(dated.head.to_lowercase().matches("\r\ndate:").count(), 1);
    assert_eq!(dated.field("date"), Some("then"));
    for _ in 0..2 {
        let date = client.get("/").await.field("date").expect("a date").to_owned();
        let date = httpdate::parse_http_date(&date).expect("a date of HTTP");
        assert!(date.elapsed().unwrap_or_default() < std::time::Duration::from_secs(5));
    }
    let mut http2 = crate::http2_client::Client::connect(&site).await;
    assert_eq!(http2.get("/dated").await.field("date"), Some("then"));
    assert!(http2.get("/").await.field("date").is_some_and(|date| date.ends_with(" GMT")));
    client.send("GET /hints HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(!client.head().await.unwrap().contains("Date"), "it is not the answer yet");
    assert!(client.message().await.unwrap().field("date").is_some());
}

#[tokio::test]
async fn a_status_beyond_599_passes_and_counts_as_one_of_servers() {
    let origin =
        Origin::answering(|_| "HTTP/1.1 999 No\r\nContent-Length: 2\r\n\r\nno".into()).await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    for _ in 0..2 {
        let answer = client.get("/").await;
        assert_eq!((answer.status(), answer.text().as_str()), (999, "no"));
    }
    site.served(2).await;
    let totals = site.totals();
    assert_eq!((totals.responses[4], totals.unanswered_total, totals.failures_total()), (2, 0, 0));
}
