//! Probes of members that speak HTTP/2.

use std::sync::Arc;

use ::http::{Response, Version};
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use super::secure::Authority;
use super::*;

fn plain() -> Link {
    Link { protocol: MemberProtocol::Http2, ..Link::default() }
}

/// Answers the one request, and tells its URI and method.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    status: u16,
    body: Bytes,
) -> Option<(String, String)> {
    let mut connection = h2::server::handshake(stream).await.ok()?;
    let (request, mut respond) = connection.accept().await?.ok()?;
    assert_eq!(request.version(), Version::HTTP_2);
    let response = Response::builder().status(status).body(()).unwrap();
    let mut stream = respond.send_response(response, body.is_empty()).ok()?;
    if !body.is_empty() {
        // The probe may have seen enough before all is sent.
        let _cut_off = stream.send_data(body, true);
    }
    while connection.accept().await.is_some() {}
    Some((request.method().to_string(), request.uri().to_string()))
}

async fn found(address: SocketAddr, link: &Link, monitor: &MonitorSpec) -> Probe {
    let Outcome::Found(probe) = probe(address, link, monitor).await else { panic!("not tried") };
    probe
}

/// Probes a member that speaks HTTP/2 without TLS.
async fn answered(
    monitor: &MonitorSpec,
    status: u16,
    body: impl Into<Bytes>,
) -> (Probe, Option<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let body = body.into();
    let answer = async {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream, status, body).await
    };
    let link = plain();
    tokio::join!(found(address, &link, monitor), answer)
}

#[tokio::test]
async fn status_and_body_are_judged_as_by_http_1() {
    let (probe, asked) = answered(&http_monitor(5_000, None), 204, "").await;
    assert!(probe.passed && probe.facts.starts_with("HTTP 204 after "), "{}", probe.facts);
    let (method, uri) = asked.unwrap();
    assert_eq!(method, "GET");
    assert!(uri.starts_with("http://127.0.0.1:") && uri.ends_with('/'), "{uri}");
    let (probe, _) = answered(&http_monitor(5_000, None), 503, "").await;
    assert!(probe.facts.ends_with(" ms; expected 200-299, 304"), "{}", probe.facts);
    let (probe, _) = answered(&http_monitor(5_000, Some("well")), 200, "all is well").await;
    assert!(probe.passed, "{}", probe.facts);
    let (probe, _) = answered(&http_monitor(5_000, Some("well")), 200, "all is lost").await;
    assert!(!probe.passed && probe.facts.contains("body lacks \"well\""), "{}", probe.facts);
}

#[tokio::test]
async fn text_beyond_64_kib_does_not_count() {
    for (padding, passes) in [(BODY_MAX_BYTES - 2, true), (BODY_MAX_BYTES - 1, false)] {
        let body = format!("{}ok", "x".repeat(padding));
        let (probe, _) = answered(&http_monitor(5_000, Some("ok")), 200, body).await;
        assert_eq!(probe.passed, passes, "{}", probe.facts);
    }
}

#[tokio::test]
async fn monitors_host_and_path_are_asked_for() {
    let mut monitor = http_monitor(5_000, None);
    let http = monitor.http.as_mut().unwrap();
    http.host = Some("app.test".to_owned());
    http.path = "/ready?x=1".to_owned();
    http.method = "HEAD".to_owned();
    let (probe, asked) = answered(&monitor, 200, "").await;
    assert!(probe.passed, "{}", probe.facts);
    let expected = ("HEAD".to_owned(), "http://app.test/ready?x=1".to_owned());
    assert_eq!(asked.unwrap(), expected);
}

#[tokio::test]
async fn with_tls_http_2_is_agreed_by_alpn() {
    let authority = Authority::new();
    let link = Link { protocol: MemberProtocol::Http2, ..authority.link(|_| {}) };
    for (alpn, passes) in [(&[b"h2".as_slice()][..], true), (&[], false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(authority.server("member.test", alpn)));
        let answer = async {
            let (stream, _) = listener.accept().await.unwrap();
            let stream = acceptor.accept(stream).await.ok()?;
            serve(stream, 200, Bytes::from_static(b"all is well")).await
        };
        let monitor = http_monitor(5_000, Some("well"));
        let (probe, asked) = tokio::join!(found(address, &link, &monitor), answer);
        assert_eq!(probe.passed, passes, "{}", probe.facts);
        if passes {
            assert!(asked.unwrap().1.starts_with("https://127.0.0.1:"));
        } else {
            let facts = format!("TLS with {address}: the member does not offer HTTP/2 (ALPN)");
            assert_eq!(probe.facts, facts);
        }
    }
}

#[tokio::test]
async fn members_that_speak_something_else_or_nothing_are_told() {
    for (timeout_ms, says, facts) in [
        (5_000, Some("HTTP/1.1 400 Bad Request\r\n\r\n"), "does not speak HTTP/2"),
        (5_000, None, "connection reset by "),
        (50, Some(""), "no complete response from "),
    ] {
        let (probe, _) = probed_by_http2(timeout_ms, says).await;
        assert!(!probe.passed);
        assert!(probe.facts.contains(facts), "{}", probe.facts);
    }
}

/// Probes a member that says that, or closes at once.
async fn probed_by_http2(
    timeout_ms: u64,
    says: Option<&'static str>,
) -> (Probe, Option<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(says?.as_bytes()).await.unwrap();
        Some(stream)
    };
    let monitor = http_monitor(timeout_ms, None);
    let link = plain();
    tokio::join!(found(address, &link, &monitor), answer)
}
