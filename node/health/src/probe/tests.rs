use std::future::Future;

use ballast_model::StatusRange;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

mod http2;
mod kinds;
mod secure;

fn http_monitor(timeout_ms: u64, expect_body: Option<&str>) -> MonitorSpec {
    let http = HttpProbe {
        expect_status: vec![
            StatusRange { first: 200, last: 299 },
            StatusRange { first: 304, last: 304 },
        ],
        expect_body: expect_body.map(str::to_owned),
        ..HttpProbe::default()
    };
    MonitorSpec { http: Some(http), timeout_ms, ..MonitorSpec::new(MonitorKind::Http) }
}

/// Probes a member that answers its one connection with `serve`.
async fn probed<F: Future<Output = ()> + Send + 'static>(
    monitor: &MonitorSpec,
    serve: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> (Probe, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream).await;
    });
    let Outcome::Found(probe) = probe(address, &Link::default(), monitor).await else {
        panic!("not tried")
    };
    server.abort();
    (probe, address)
}

async fn answered(monitor: &MonitorSpec, response: impl AsRef<[u8]> + Send + 'static) -> Probe {
    let (probe, _) = probed(monitor, |mut stream| async move {
        let mut request = [0; 4_096];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        // The probe may have seen enough before all is sent.
        let _cut_off = stream.write_all(response.as_ref()).await;
        let _cut_off = stream.shutdown().await;
        while stream.read(&mut request).await.is_ok_and(|count| count > 0) {}
    })
    .await;
    probe
}

#[tokio::test]
async fn tcp_probe_needs_a_connection_only() {
    let monitor = MonitorSpec::new(MonitorKind::Tcp);
    let (probe, _) = probed(&monitor, |stream| async move { drop(stream) }).await;
    assert!(probe.passed && probe.facts.starts_with("connected after "), "{}", probe.facts);
}

#[tokio::test]
async fn refusal_names_who_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let monitor = MonitorSpec::new(MonitorKind::Tcp);
    let Outcome::Found(probe) = probe(address, &Link::default(), &monitor).await else {
        panic!("not tried")
    };
    assert!(!probe.passed);
    assert_eq!(probe.facts, format!("connection refused by {address}"));
}

#[tokio::test]
async fn good_status_is_good() {
    let probe = answered(&http_monitor(5_000, None), "HTTP/1.1 204 No Content\r\n\r\n").await;
    assert!(probe.passed && probe.facts.starts_with("HTTP 204 after "), "{}", probe.facts);
}

#[tokio::test]
async fn bad_status_is_told_with_what_was_expected() {
    let probe = answered(&http_monitor(5_000, None), "HTTP/1.1 503 Busy\r\n\r\n").await;
    assert!(!probe.passed);
    assert!(probe.facts.starts_with("HTTP 503 after "), "{}", probe.facts);
    assert!(probe.facts.ends_with(" ms; expected 200-299, 304"), "{}", probe.facts);
}

#[tokio::test]
async fn interim_responses_are_passed_over() {
    let text = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    assert!(answered(&http_monitor(5_000, None), text).await.passed);
    let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(100);
    assert!(!answered(&http_monitor(5_000, None), endless).await.passed);
}

#[tokio::test]
async fn body_is_searched_however_it_is_framed() {
    let monitor = http_monitor(5_000, Some("all is well"));
    for good in [
        "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nall is well!",
        "HTTP/1.1 200 OK\r\n\r\nyes, all is well",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nall is\r\n5\r\n well\r\n0\r\n\r\n",
    ] {
        let probe = answered(&monitor, good).await;
        assert!(probe.passed, "{}", probe.facts);
    }
    for bad in [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad, all is well",
        "HTTP/1.1 200 OK\r\n\r\nnothing is well",
    ] {
        let probe = answered(&monitor, bad).await;
        assert!(probe.facts.contains("body lacks \"all is well\""), "{}", probe.facts);
    }
}

#[tokio::test]
async fn text_beyond_64_kib_does_not_count() {
    for (padding, passes) in [(BODY_MAX_BYTES - 2, true), (BODY_MAX_BYTES - 1, false)] {
        let body = format!("HTTP/1.1 200 OK\r\n\r\n{}ok", "x".repeat(padding));
        let probe = answered(&http_monitor(5_000, Some("ok")), body).await;
        assert_eq!(probe.passed, passes, "{}", probe.facts);
    }
}

#[tokio::test]
async fn endless_header_is_a_fault() {
    let text = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(2 * HEAD_MAX_BYTES));
    let probe = answered(&http_monitor(5_000, None), text).await;
    assert!(probe.facts.contains("header exceeds"), "{}", probe.facts);
}

#[tokio::test]
async fn other_protocols_are_told_apart_from_silence() {
    let monitor = http_monitor(5_000, None);
    let other = answered(&monitor, "SSH-2.0-OpenSSH_9.2\r\n").await;
    assert!(other.facts.contains("does not speak HTTP/1.1"), "{}", other.facts);
    let nothing = answered(&monitor, "").await;
    assert!(nothing.facts.ends_with("closed the connection without a response"));
    let half = answered(&monitor, "HTTP/1.1 200 OK\r\n").await;
    assert!(half.facts.ends_with("closed the connection in the middle of the header"));
    let monitor = http_monitor(5_000, Some("ok"));
    let short = answered(&monitor, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").await;
    assert!(short.facts.ends_with("before the response was complete"), "{}", short.facts);
}

#[tokio::test]
async fn silence_ends_at_the_timeout() {
    let (probe, address) = probed(&http_monitor(50, None), |stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    assert!(!probe.passed);
    assert_eq!(probe.facts, format!("no complete response from {address} within 50 ms"));
    assert!(probe.took_us >= 50_000);
}

#[tokio::test]
async fn reset_is_told() {
    let (probe, _) = probed(&http_monitor(5_000, None), |mut stream| async move {
        let mut first = [0; 1];
        // Closing with unread bytes resets the connection.
        stream.read_exact(&mut first).await.unwrap();
    })
    .await;
    assert!(probe.facts.starts_with("connection reset by "), "{}", probe.facts);
}

#[test]
fn want_of_descriptors_is_not_the_members_fault() {
    assert!(is_own_fault(&io::Error::from_raw_os_error(24)));
    assert!(!is_own_fault(&io::ErrorKind::ConnectionRefused.into()));
}

#[tokio::test]
async fn member_that_wants_a_header_first_gets_one_that_names_nobody() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    for version in [ProxyProtocolVersion::V1, ProxyProtocolVersion::V2] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut header = vec![0; version.local_header().len()];
            stream.read_exact(&mut header).await.unwrap();
            assert_eq!(header, version.local_header());
            let mut request = [0; 4];
            stream.read_exact(&mut request).await.unwrap();
            assert_eq!(&request, b"GET ");
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            stream
        };
        let monitor = MonitorSpec::new(MonitorKind::Http);
        let link = Link { proxy_protocol: Some(version), ..Link::default() };
        let (outcome, _stream) = tokio::join!(probe(address, &link, &monitor), answer);
        let Outcome::Found(probe) = outcome else { panic!("not tried") };
        assert!(probe.passed, "{}", probe.facts);
    }
}
