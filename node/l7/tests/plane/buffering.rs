//! Requests that are taken whole before a member is chosen, and responses that wait here for clients who
//! read slowly.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ballast_l7::{BufferingTotals, HttpHandlers};
use ballast_model::{MemberSpec, PoolSpec, Protocol, RetryCause, RetryPolicy, VirtualServerSpec};
use ballast_telemetry::{AccessLog, FailureReason};
use bytes::Bytes;
use http::{HeaderValue, Method};

use crate::harness::*;
use crate::http2_client::{self, Client};

const KIB: usize = 1024;

/// A site whose messages are held, and what is counted of that.
struct Held {
    site: Site,
    totals: Arc<BufferingTotals>,
}

async fn held(origins: &[&Origin], adjust: impl FnOnce(&mut Site)) -> Held {
    held_within(64 * 1024 * KIB, origins, adjust).await
}

/// The same with so much memory on each worker.
async fn held_within(
    worker_bytes: usize,
    origins: &[&Origin],
    adjust: impl FnOnce(&mut Site),
) -> Held {
    let handlers = HttpHandlers::new(AccessLog::off()).with_buffering(worker_bytes);
    let totals = handlers.buffering_totals();
    let members = origins.iter().map(|origin| MemberSpec::new(origin.address)).collect();
    let pool = PoolSpec { members, ..PoolSpec::default() };
    let address = vacant();
    let server = VirtualServerSpec::new(Protocol::Http, address, "origin");
    let mut site = Site::with_handlers(address, server, pool, handlers);
    site.server.http.buffering.request_max_bytes = Some(1024 * KIB as u32);
    adjust(&mut site);
    site.apply().await;
    Held { site, totals }
}

impl Held {
    /// Waits until nothing is held any more.
    async fn holds_nothing(&self) {
        until(|| self.totals.held_bytes() == 0).await;
    }

    fn in_flight(&self) -> u64 {
        let pools = self.site.plane.pools();
        let pools = pools.borrow();
        pools["origin"].members().iter().map(|member| member.state.in_flight()).sum()
    }
}

fn content(count: usize) -> Vec<u8> {
    (0..count).map(|at| b'a' + (at * 7 % 26) as u8).collect()
}

/// Answers each request with the length of its body and whether it is [`content`].
async fn checks() -> Origin {
    Origin::answering(|request| {
        let is_right = request.body == content(request.body.len());
        ok(&format!("{} {is_right}", request.body.len()))
    })
    .await
}

fn chunked(body: &[u8], piece: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for part in body.chunks(piece) {
        out.extend(format!("{:x}\r\n", part.len()).bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

#[tokio::test]
async fn no_member_has_a_request_whose_body_still_comes() {
    let origin = checks().await;
    let held = held(&[&origin], |_| {}).await;
    let body = content(600 * KIB);
    let fields = ["Content-Length: 614400", "Transfer-Encoding: chunked"];
    for (field, sent) in fields.iter().zip([body.clone(), chunked(&body, 5_000)]) {
        let before = origin.connections();
        let mut client = held.site.connect().await;
        client
            .send(format!("PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{field}\r\n\r\n"))
            .await;
        let (first, last) = sent.split_at(sent.len() - 10);
        client.send(first).await;
        until(|| held.totals.held_bytes() >= 500 * KIB as u64).await;
        assert_eq!((held.in_flight(), origin.connections()), (0, before), "{field}");
        client.send(last).await;
        assert_eq!(client.message().await.expect("an answer").text(), "614400 true", "{field}");
        held.holds_nothing().await;
    }
    assert_eq!((held.totals.whole_requests(), held.totals.large_requests()), (2, 0));
}

#[tokio::test]
async fn a_body_over_http_2_is_held_too() {
    let origin = checks().await;
    let held = held(&[&origin], |_| {}).await;
    let mut client = Client::connect(&held.site).await;
    let body = content(700 * KIB);
    let (response, mut send) = client.begin(http2_client::request(Method::PUT, "/"), false).await;
    let first = Bytes::copy_from_slice(&body[..690 * KIB]);
    soon(http2_client::send_all(&mut send, first, false)).await.unwrap();
    until(|| held.totals.held_bytes() >= 600 * KIB as u64).await;
    assert_eq!((held.in_flight(), origin.connections()), (0, 0));
    let last = Bytes::copy_from_slice(&body[690 * KIB..]);
    soon(http2_client::send_all(&mut send, last, true)).await.unwrap();
    let answer = http2_client::read(response).await.unwrap();
    assert_eq!(answer.text(), format!("{} true", 700 * KIB));
    held.holds_nothing().await;
}

#[tokio::test]
async fn a_body_of_the_largest_size_is_held_and_one_byte_more_is_passed_on() {
    for (length, is_whole) in [(64 * KIB, true), (64 * KIB + 1, false)] {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&seen);
        let origin = Origin::start(move |_, mut io| {
            let seen = Arc::clone(&into);
            async move {
                while let Some(head) = io.head().await {
                    seen.lock().unwrap().push(Instant::now());
                    let body = io.body(&head).await;
                    io.send(ok(&(body == content(body.len())).to_string())).await;
                }
            }
        })
        .await;
        let held = held(&[&origin], |site| {
            site.server.http.buffering.request_max_bytes = Some(64 * KIB as u32);
        })
        .await;
        let sent = chunked(&content(length), 1_000);
        let mut client = held.site.connect().await;
        client.send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        client.send(&sent[..sent.len() - 5]).await;
        if is_whole {
            until(|| held.totals.held_bytes() > 0).await;
            // What would be passed on would have been by then: the other case shows it.
            assert_eq!((held.in_flight(), origin.connections()), (0, 0));
        } else {
            until(|| held.totals.large_requests() == 1 && origin.connections() == 1).await;
            until(|| !seen.lock().unwrap().is_empty()).await;
        }
        client.send(&sent[sent.len() - 5..]).await;
        assert_eq!(client.message().await.unwrap().text(), "true", "{length}");
        assert_eq!(held.totals.whole_requests(), u64::from(is_whole));
        held.holds_nothing().await;
    }
}

#[tokio::test]
async fn a_body_that_says_that_it_is_too_large_to_be_held_is_passed_on_from_the_start() {
    let origin = Origin::start(|_, mut io| async move {
        let head = io.head().await.unwrap();
        // Before any of its content is here.
        io.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        let body = io.body(&head).await;
        io.send(ok(&body.len().to_string())).await;
    })
    .await;
    let held = held(&[&origin], |site| {
        site.server.http.buffering.request_max_bytes = Some(2 * KIB as u32);
    })
    .await;
    let mut client = held.site.connect().await;
    client
        .send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2049\r\n\r\n")
        .await;
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 100 "));
    client.send(content(2_049)).await;
    assert_eq!(client.message().await.unwrap().text(), "2049");
    assert_eq!(held.totals.whole_requests(), 0);
}

#[tokio::test]
async fn a_client_that_waits_for_leave_is_given_it_and_the_member_is_not_asked() {
    let origin = Origin::echo().await;
    let held = held(&[&origin], |_| {}).await;
    let mut client = held.site.connect().await;
    client
        .send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        .await;
    assert_eq!(client.head().await.unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(origin.connections(), 0);
    client.send("body").await;
    let answer = client.message().await.unwrap();
    assert!(answer.text().ends_with("\r\n\r\nbody"), "{}", answer.text());
    assert!(!answer.text().to_lowercase().contains("expect"), "{}", answer.text());
}

/// Reads every request whole, then hangs up without an answer.
async fn hangs_up() -> Origin {
    Origin::start(|_, mut io| async move {
        let _request = io.message().await;
    })
    .await
}

#[tokio::test]
async fn what_is_held_is_sent_again_to_another_member() {
    let policy = RetryPolicy {
        causes: vec![RetryCause::ResetBeforeResponse],
        max_attempts: 2,
        non_idempotent: true,
        ..RetryPolicy::default()
    };
    let body = content(300 * KIB);
    for (is_held, expected) in [(true, 200), (false, 502)] {
        let (bad, good) = (hangs_up().await, checks().await);
        let held = held(&[&bad, &good], |site| {
            site.pool.retry = Some(policy.clone());
            if !is_held {
                site.server.http.buffering.request_max_bytes = None;
            }
        })
        .await;
        let mut statuses = BTreeSet::new();
        for field in ["Content-Length: 307200", "Transfer-Encoding: chunked"] {
            let sent = if field.starts_with('C') { body.clone() } else { chunked(&body, 9_000) };
            for _ in 0..4 {
                let mut client = held.site.connect().await;
                client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n")).await;
                client.send(&sent).await;
                let answer = client.message().await.expect("an answer");
                if answer.status() == 200 {
                    assert_eq!(answer.text(), "307200 true");
                }
                statuses.insert(answer.status());
            }
        }
        // Turn by turn: some meet the bad one first.
        assert_eq!(statuses.last(), Some(&expected), "held: {is_held}");
        assert!(bad.connections() >= 2);
        held.holds_nothing().await;
    }
}

#[tokio::test]
async fn calls_of_grpc_and_websockets_are_never_held() {
    let origin = Origin::start(|_, mut io| async move {
        io.head().await.unwrap();
        io.send("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n")
            .await;
        io.rest().await;
    })
    .await;
    let held = held(&[&origin], |_| {}).await;
    let mut client = Client::connect(&held.site).await;
    let mut call = http2_client::request(Method::POST, "/a.B/C");
    call.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    // Its body never ends.
    let (response, _send) = client.begin(call, false).await;
    assert_eq!(soon(response).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_body_that_stops_is_given_up_before_any_member_hears_of_it() {
    let origin = checks().await;
    let held = held(&[&origin], |site| site.server.http.body_idle_timeout_ms = 300).await;
    let mut client = held.site.connect().await;
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nsome").await;
    assert_eq!(client.message().await.unwrap().status(), 408);
    held.site.failed(FailureReason::BodyTimeout, 1).await;

    let mut gone = held.site.connect().await;
    gone.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nsome").await;
    drop(gone);
    held.site.failures(2).await;
    assert_eq!(held.site.totals().failures_for(FailureReason::ClientClosed), 1);

    let mut broken = held.site.connect().await;
    broken
        .send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcde\r\n")
        .await;
    assert_eq!(broken.message().await.unwrap().status(), 400);
    assert_eq!(origin.connections(), 0);
    held.holds_nothing().await;
}

#[tokio::test]
async fn a_body_that_may_not_be_so_large_is_refused_before_any_member_hears_of_it() {
    for (length, status) in [(30 * KIB, 200), (30 * KIB + 1, 413)] {
        let origin = checks().await;
        let held = held(&[&origin], |site| {
            site.server.http.body_max_bytes = Some(30 * KIB as u64);
        })
        .await;
        let mut client = held.site.connect().await;
        client.send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        client.send(chunked(&content(length), 4_000)).await;
        assert_eq!(client.message().await.unwrap().status(), status, "{length}");
        assert_eq!(origin.connections(), usize::from(status == 200));
    }
}

/// Answers with so much content.
async fn gives(count: usize, framing: &'static str) -> Origin {
    Origin::start(move |_, mut io| async move {
        while io.message().await.is_some() {
            let (field, body) = match framing {
                "chunked" => {
                    ("Transfer-Encoding: chunked".to_owned(), chunked(&content(count), 7_777))
                }
                "close" => ("Connection: close".to_owned(), content(count)),
                _ => (format!("Content-Length: {count}"), content(count)),
            };
            if io.try_send(format!("HTTP/1.1 200 OK\r\n{field}\r\n\r\n")).await.is_err()
                || io.try_send(body).await.is_err()
                || framing == "close"
            {
                return;
            }
        }
    })
    .await
}

/// More than the sockets on the way to a client that reads nothing hold.
const MUCH: usize = 12 * 1024 * KIB;

fn holds_responses(site: &mut Site) {
    site.server.http.buffering.response_max_bytes = Some(16 * 1024 * KIB as u32);
    site.server.http.buffering.connection_max_bytes = 16 * 1024 * KIB as u32;
}

#[tokio::test]
async fn a_member_is_free_before_a_slow_client_has_its_response() {
    for framing in ["length", "chunked", "close"] {
        let origin = gives(MUCH, framing).await;
        let held = held(&[&origin], holds_responses).await;
        let mut client = held.site.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        until(|| held.totals.early_releases() == 1).await;
        assert_eq!(held.in_flight(), 0, "{framing}");
        assert!(held.totals.held_bytes() > 0, "{framing}");
        assert_eq!(held.site.totals().requests_total(), 0, "its client has not got it yet");
        let answer = client.message().await.expect("a response");
        assert!(answer.body == content(MUCH), "{framing}");
        // The connection goes on.
        held.site.served(1).await;
        held.holds_nothing().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(client.message().await.expect("another").body == content(MUCH), "{framing}");
        assert_eq!(held.site.totals().failures_total(), 0, "{framing}");
    }
}

#[tokio::test]
async fn without_it_a_member_waits_for_a_slow_client() {
    let origin = gives(MUCH, "length").await;
    let held = held(&[&origin], |_| {}).await;
    let mut client = held.site.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    until(|| held.in_flight() == 1).await;
    let begin = Instant::now();
    until(|| begin.elapsed() >= Duration::from_millis(500)).await;
    assert_eq!(held.in_flight(), 1);
    assert!(client.message().await.expect("a response").body == content(MUCH));
    assert_eq!(held.totals.early_releases(), 0);
}

#[tokio::test]
async fn streams_of_http_2_release_their_members_too() {
    let count = 2 * 1024 * KIB;
    let origin = gives(count, "length").await;
    let held = held(&[&origin], holds_responses).await;
    let mut client = Client::connect(&held.site).await;
    let mut responses = Vec::new();
    for _ in 0..3 {
        let (response, _) = client.begin(http2_client::get("/"), true).await;
        // Its window is not opened until it is read.
        responses.push(soon(response).await.unwrap().into_body());
    }
    until(|| held.totals.early_releases() == 3 && held.in_flight() == 0).await;
    let reads = responses.iter_mut().map(http2_client::read_body);
    for body in futures_util::future::join_all(reads).await {
        assert!(body.unwrap() == content(count));
    }
    held.holds_nothing().await;
    assert_eq!(held.site.totals().failures_total(), 0);
}

#[tokio::test]
async fn a_response_larger_than_may_be_held_comes_whole() {
    for framing in ["length", "chunked", "close"] {
        let origin = gives(MUCH, framing).await;
        let held = held(&[&origin], |site| {
            site.server.http.buffering.response_max_bytes = Some(100 * KIB as u32);
        })
        .await;
        let mut client = held.site.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        until(|| held.totals.held_bytes() == 5 * 20 * KIB as u64).await;
        assert_eq!(held.in_flight(), 1, "the member waits for the rest");
        assert!(client.message().await.expect("a response").body == content(MUCH), "{framing}");
        held.holds_nothing().await;
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_what_is_held_is_given_up() {
    let origin = gives(MUCH, "length").await;
    let held = held(&[&origin], |site| {
        holds_responses(site);
        site.server.http.body_idle_timeout_ms = 500;
    })
    .await;
    let mut client = held.site.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    held.site.failed(FailureReason::ClientWriteTimeout, 1).await;
    assert_eq!(held.totals.early_releases(), 1);
    held.holds_nothing().await;
    let mut gone = held.site.connect().await;
    gone.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    until(|| held.totals.early_releases() == 2).await;
    drop(gone);
    held.site.failures(2).await;
    assert_eq!(held.site.totals().failures_for(FailureReason::ClientClosed), 1);
    held.holds_nothing().await;
}

#[tokio::test]
async fn a_worker_that_holds_as_much_as_it_may_passes_messages_on() {
    let origin = checks().await;
    // Room for one to grow from 20 to 40 KiB on each of both workers, and for nothing else.
    let held = held_within(20 * KIB, &[&origin], |_| {}).await;
    let body = content(100 * KIB);
    let mut client = held.site.connect().await;
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 102400\r\n\r\n").await;
    client.send(&body[..body.len() - 1]).await;
    until(|| held.totals.refused() == 1).await;
    until(|| held.in_flight() == 1).await;
    assert!(held.totals.held_bytes() <= 20 * KIB as u64);
    client.send(&body[body.len() - 1..]).await;
    assert_eq!(client.message().await.unwrap().text(), "102400 true");
    held.holds_nothing().await;
    assert_eq!((held.totals.whole_requests(), held.totals.refused()), (0, 1));
}

#[tokio::test]
async fn all_streams_of_a_connection_share_what_it_may_hold() {
    let count = 2 * 1024 * KIB;
    let origin = gives(count, "length").await;
    let held = held(&[&origin], |site| {
        site.server.http.buffering.request_max_bytes = None;
        site.server.http.buffering.response_max_bytes = Some(1024 * KIB as u32);
        site.server.http.buffering.connection_max_bytes = 1024 * KIB as u32;
    })
    .await;
    let mut client = Client::connect(&held.site).await;
    let mut responses = Vec::new();
    for _ in 0..4 {
        let (response, _) = client.begin(http2_client::get("/"), true).await;
        responses.push(soon(response).await.unwrap().into_body());
    }
    let bound = 1024 * KIB as u64;
    until(|| held.totals.refused() >= 1 && held.totals.held_bytes() > bound - 20 * KIB as u64)
        .await;
    assert!(held.totals.held_bytes() <= bound);
    // They share windows of the connection too: all are read at once.
    let reads = responses.iter_mut().map(http2_client::read_body);
    for body in futures_util::future::join_all(reads).await {
        assert!(body.unwrap() == content(count));
    }
    held.holds_nothing().await;
}
