//! What is told of requests besides the access log: the live tail, spans, and the counters of pools.

use ballast_l7::HttpHandlers;
use ballast_model::tail::TailFilter;
use ballast_model::{MemberSpec, PoolSpec, Protocol, RetryCause, RetryPolicy, VirtualServerSpec};
use ballast_telemetry::otlp::SpanSink;
use ballast_telemetry::{AccessLog, RetryKind, Tail};

use crate::harness::*;

/// A site with such handlers, whose first member is not there.
async fn site(origin: &Origin, http: HttpHandlers) -> Site {
    let address = vacant();
    let members = vec![MemberSpec::new(vacant()), MemberSpec::new(origin.address)];
    let retry = RetryPolicy { causes: vec![RetryCause::ConnectFailure], ..RetryPolicy::default() };
    let pool =
        PoolSpec { members, retry: Some(retry), member_metrics: true, ..PoolSpec::default() };
    let mut server = VirtualServerSpec::new(Protocol::Http, address, "origin");
    server.http.tracing.enabled = true;
    let mut site = Site::with_handlers(address, server, pool, http);
    site.apply().await;
    site
}

#[tokio::test]
async fn the_live_tail_shows_a_request_without_its_secrets() {
    let origin = Origin::answering(|_| ok("hello")).await;
    let tail = Tail::default();
    let site = site(&origin, HttpHandlers::new(AccessLog::off()).with_tail(tail.clone())).await;
    let mut client = site.connect().await;
    client.get("/before").await;
    let wanted = TailFilter { path_prefix: Some("/shown".to_owned()), ..TailFilter::default() };
    let mut reader = tail.watch(wanted).unwrap();
    client.get("/other").await;
    client.get("/shown?token=abc").await;
    let record = soon(reader.next()).await.unwrap();
    for part in ["\"uri\":\"/shown?token=***\"", "\"status\":200", "\"pool\":\"origin\""] {
        assert!(record.contains(part), "{part} in {record}");
    }
    assert_eq!(reader.take_left_out(), 0);
}

#[tokio::test]
async fn a_recorded_request_is_a_span_for_itself_and_one_for_each_attempt() {
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0";
    let origin = Origin::answering(|_| ok("hello")).await;
    let (sink, mut queue, _) = SpanSink::new();
    let site = site(&origin, HttpHandlers::new(AccessLog::off()).with_spans(sink)).await;
    let mut client = site.connect().await;
    let mut attempt_counts = Vec::new();
    for _ in 0..6 {
        let asked = format!("GET /a?b=c HTTP/1.1\r\nHost: a\r\ntraceparent: {PARENT}1\r\n\r\n");
        assert_eq!(client.ask(&asked).await.status(), 200);
        let batch = soon(queue.recv()).await.unwrap();
        let trace_id = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes();
        let holds = |part: &[u8]| batch.bytes.windows(part.len()).filter(|w| *w == part).count();
        assert_eq!(holds(&trace_id) as u64, batch.span_count);
        assert_eq!((holds(b"url.path"), holds(b"b=c")), (1, 0));
        assert_eq!(holds(b"connect_failure") > 0, batch.span_count == 3);
        attempt_counts.push(batch.span_count - 1);
    }
    // In turn: some began at the member that is not there.
    assert!(attempt_counts.contains(&2), "{attempt_counts:?}");
    assert!(attempt_counts.iter().all(|count| (1..=2).contains(count)), "{attempt_counts:?}");
    let not_recorded = format!("GET / HTTP/1.1\r\nHost: a\r\ntraceparent: {PARENT}0\r\n\r\n");
    client.ask(&not_recorded).await;
    assert!(queue.try_recv().is_err());
}

#[tokio::test]
async fn pools_and_members_count_what_they_were_asked_and_what_was_asked_again() {
    let origin = Origin::answering(|_| ok("hello")).await;
    let site = site(&origin, HttpHandlers::new(AccessLog::off())).await;
    let mut client = site.connect().await;
    for _ in 0..6 {
        assert_eq!(client.get("/").await.status(), 200);
    }
    // Closed by us once everything is counted.
    drop(client);
    site.plane.shutdown().await;
    let counters = &site.counters.pools()["origin"];
    let totals = counters.totals();
    assert_eq!(totals.responses, [0, 6, 0, 0, 0]);
    assert_eq!(totals.failures.iter().sum::<u64>(), 0);
    assert!(totals.retries[RetryKind::ConnectFailure as usize] > 0);
    assert_eq!(totals.retries[RetryKind::Status as usize], 0);
    assert_eq!(totals.connect.count(), 1, "the connection is kept");
    let served: Vec<_> =
        counters.members().iter().map(|member| member.totals().responses[1]).collect();
    assert_eq!(served.iter().sum::<u64>(), 6);
    assert!(served.contains(&0), "{served:?}");
}
