//! Probes by gRPC, TLS, UDP and of agents, against servers in this process.

use std::sync::Arc;

use ::http::{HeaderMap, Response};
use ballast_model::{AgentProbe, TlsProbe, UdpProbe};
use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio_rustls::TlsAcceptor;

use super::secure::Authority;
use super::*;

fn monitor(kind: MonitorKind, timeout_ms: u64) -> MonitorSpec {
    MonitorSpec { timeout_ms, ..MonitorSpec::new(kind) }
}

async fn found(address: SocketAddr, link: &Link, monitor: &MonitorSpec) -> Probe {
    let Outcome::Found(probe) = probe(address, link, monitor).await else { panic!("not tried") };
    probe
}

/// Serves one gRPC call: these data, and these trailers (in the head where there are no data).
async fn serve_grpc<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    data: Option<Vec<u8>>,
    status: &'static str,
) -> Option<(String, Vec<u8>)> {
    let mut connection = h2::server::handshake(stream).await.ok()?;
    let (request, mut respond) = connection.accept().await?.ok()?;
    let path = request.uri().path().to_owned();
    let mut body = request.into_body();
    let answer = async {
        let mut asked = Vec::new();
        while let Some(Ok(bytes)) = body.data().await {
            asked.extend_from_slice(&bytes);
        }
        let head = Response::builder().header("content-type", "application/grpc+proto");
        let Some(data) = data else {
            let head = head.header("grpc-status", status).body(()).unwrap();
            respond.send_response(head, true).ok()?;
            return Some(asked);
        };
        let mut send = respond.send_response(head.body(()).unwrap(), false).ok()?;
        send.send_data(Bytes::from(data), false).ok()?;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", status.parse().unwrap());
        send.send_trailers(trailers).ok()?;
        Some(asked)
    };
    tokio::pin!(answer);
    let asked = tokio::select! {
        biased;
        asked = &mut answer => asked?,
        _ = std::future::poll_fn(|context| connection.poll_closed(context)) => return None,
    };
    let _ended = std::future::poll_fn(|context| connection.poll_closed(context)).await;
    Some((path, asked))
}

async fn grpc_probed(data: Option<Vec<u8>>, status: &'static str) -> (Probe, (String, Vec<u8>)) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut spec = monitor(MonitorKind::Grpc, 5_000);
    spec.grpc = Some(GrpcProbe { service: "shop".to_owned(), host: None });
    let answer = async {
        let (stream, _) = listener.accept().await.unwrap();
        serve_grpc(stream, data, status).await.unwrap()
    };
    let link = Link::default();
    tokio::join!(found(address, &link, &spec), answer)
}

#[tokio::test]
async fn grpc_member_that_serves_passes_and_was_asked_after_the_service() {
    let (probe, (path, asked)) = grpc_probed(Some(vec![0, 0, 0, 0, 2, 8, 1]), "0").await;
    assert!(probe.passed, "{}", probe.facts);
    assert!(probe.facts.starts_with("gRPC health of \"shop\" SERVING after "), "{}", probe.facts);
    assert_eq!(path, "/grpc.health.v1.Health/Check");
    assert_eq!(asked, b"\0\0\0\0\x06\x0a\x04shop");
}

#[tokio::test]
async fn grpc_members_that_do_not_serve_are_told_apart() {
    for (data, status, facts) in [
        (Some(vec![0, 0, 0, 0, 2, 8, 2]), "0", "NOT_SERVING"),
        (None, "5", "NOT_FOUND"),
        (None, "12", "UNIMPLEMENTED"),
        (Some(vec![0; 100_000]), "0", "exceeds 4096 bytes"),
        (Some(b"\x01\0\0\0\x02\x08\x01".to_vec()), "0", "can't be read"),
    ] {
        let (probe, _) = grpc_probed(data, status).await;
        assert!(!probe.passed);
        assert!(probe.facts.contains(facts), "{facts}: {}", probe.facts);
    }
}

#[tokio::test]
async fn grpc_by_tls_needs_http_2_and_what_is_no_grpc_is_told() {
    let authority = Authority::new();
    let link = authority.link(|_| {});
    for (alpn, facts) in [(&[b"h2".as_slice()][..], "SERVING"), (&[], "does not offer HTTP/2")] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(authority.server("member.test", alpn)));
        let answer = async {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let _cut_off = serve_grpc(stream, Some(vec![0, 0, 0, 0, 2, 8, 1]), "0").await;
        };
        let spec = monitor(MonitorKind::Grpc, 5_000);
        let (probe, ()) = tokio::join!(found(address, &link, &spec), answer);
        assert!(probe.facts.contains(facts), "{}", probe.facts);
    }
    let (probe, _) = probed(&monitor(MonitorKind::Grpc, 5_000), |mut stream| async move {
        let _cut_off = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let mut rest = [0; 1_024];
        while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
    })
    .await;
    assert!(probe.facts.contains("does not speak HTTP/2"), "{}", probe.facts);
}

async fn tls_probed(link: &Link, name: &str, settings: TlsProbe) -> Probe {
    let authority_of_link = Authority::new();
    tls_probed_by(link, &authority_of_link, name, settings).await
}

async fn tls_probed_by(
    link: &Link,
    authority: &Authority,
    name: &str,
    settings: TlsProbe,
) -> Probe {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(authority.server(name, &[b"h2", b"http/1.1"])));
    let answer = async {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = acceptor.accept(stream).await else { return };
        let mut rest = [0; 64];
        while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
    };
    let spec = MonitorSpec { tls: Some(settings), ..monitor(MonitorKind::Tls, 5_000) };
    tokio::join!(found(address, link, &spec), answer).0
}

#[tokio::test]
async fn tls_probe_verifies_as_the_pool_does_and_tells_how_long_the_certificate_lasts() {
    let authority = Authority::new();
    let link = authority.link(|_| {});
    let probe = tls_probed_by(&link, &authority, "member.test", TlsProbe::default()).await;
    assert!(probe.passed, "{}", probe.facts);
    assert!(probe.facts.starts_with("TLS 1.3 after "), "{}", probe.facts);
    // What certificates of the tests last until.
    assert!(probe.facts.ends_with("; the certificate lasts until 4096-01-01"), "{}", probe.facts);
    let probe = tls_probed(&link, "member.test", TlsProbe::default()).await;
    assert!(!probe.passed && probe.facts.contains("invalid peer certificate"), "{}", probe.facts);
    let named = TlsProbe { server_name: Some("other.test".to_owned()), ..TlsProbe::default() };
    let probe = tls_probed_by(&link, &authority, "other.test", named.clone()).await;
    assert!(probe.passed, "{}", probe.facts);
    let probe = tls_probed_by(&link, &authority, "member.test", named).await;
    assert!(probe.facts.contains("not valid for name \"other.test\""), "{}", probe.facts);
}

#[tokio::test]
async fn tls_probe_of_a_pool_without_tls_takes_any_certificate_that_lasts() {
    let probe = tls_probed(&Link::default(), "member.test", TlsProbe::default()).await;
    assert!(probe.passed, "{}", probe.facts);
    let (plain, _) = probed(&monitor(MonitorKind::Tls, 5_000), |mut stream| async move {
        let _cut_off = stream.write_all(b"SSH-2.0-OpenSSH\r\n").await;
        let mut rest = [0; 1_024];
        while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
    })
    .await;
    assert!(!plain.passed && plain.facts.starts_with("TLS with "), "{}", plain.facts);
}

async fn udp_probed(settings: UdpProbe, answer: Option<&'static [u8]>) -> (Probe, Vec<u8>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let timeout_ms = if answer.is_some() { 5_000 } else { 50 };
    let spec = MonitorSpec { udp: Some(settings), ..monitor(MonitorKind::Udp, timeout_ms) };
    let served = async {
        let mut sent = vec![0; 2_048];
        let (count, from) = socket.recv_from(&mut sent).await.unwrap();
        if let Some(answer) = answer {
            socket.send_to(answer, from).await.unwrap();
        }
        sent[..count].to_vec()
    };
    let link = Link::default();
    tokio::join!(found(address, &link, &spec), served)
}

#[tokio::test]
async fn udp_answer_is_matched_byte_by_byte() {
    let settings = |expect: &str| UdpProbe {
        send_hex: Some("00 ff".to_owned()),
        expect: Some(expect.to_owned()),
        ..UdpProbe::default()
    };
    let (probe, sent) = udp_probed(settings(r"^\x81\x00."), Some(b"\x81\x00\xff\n")).await;
    assert!(probe.passed, "{}", probe.facts);
    assert!(probe.facts.starts_with("UDP answer of 4 bytes after "), "{}", probe.facts);
    assert_eq!(sent, [0, 0xff]);
    let (probe, _) = udp_probed(settings("^PONG$"), Some(b"nope\x00")).await;
    assert!(!probe.passed);
    assert!(probe.facts.ends_with("does not match \"^PONG$\": \"nope\\x00\""), "{}", probe.facts);
}

#[tokio::test]
async fn udp_silence_is_good_only_where_no_answer_is_required() {
    let (probe, sent) = udp_probed(UdpProbe::default(), None).await;
    assert!(!probe.passed && sent.is_empty());
    assert!(probe.facts.starts_with("no answer from 127.0.0.1:"), "{}", probe.facts);
    let settings = UdpProbe { answer_required: false, ..UdpProbe::default() };
    let (probe, _) = udp_probed(settings, None).await;
    assert!(probe.passed && probe.facts.ends_with("which is taken as good"), "{}", probe.facts);
}

#[tokio::test]
async fn udp_port_that_nobody_has_is_told_at_once() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    let udp = UdpProbe { answer_required: false, ..UdpProbe::default() };
    let spec = MonitorSpec { udp: Some(udp), ..monitor(MonitorKind::Udp, 60_000) };
    let probe = found(address, &Link::default(), &spec).await;
    assert!(!probe.passed);
    assert!(probe.facts.contains("ICMP port unreachable"), "{}", probe.facts);
}

async fn agent_asked(
    send: Option<&str>,
    timeout_ms: u64,
    answer: &'static [u8],
    closes: bool,
) -> (Outcome, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let agent = AgentProbe { send: send.map(str::to_owned), required: false };
    let spec = MonitorSpec { agent: Some(agent), ..monitor(MonitorKind::Agent, timeout_ms) };
    let want = send.map_or(0, str::len);
    let served = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = vec![0; want];
        stream.read_exact(&mut asked).await.unwrap();
        let _cut_off = stream.write_all(answer).await;
        if !closes {
            let mut rest = [0; 64];
            while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
        }
        asked
    };
    let link = Link::default();
    tokio::join!(probe(address, &link, &spec), served)
}

#[tokio::test]
async fn agent_is_heard_with_or_without_a_line_break() {
    for (answer, closes) in [(&b"up 50% #busy\r\nignored"[..], false), (b"up 50% #busy", true)] {
        let (outcome, asked) = agent_asked(Some("web-1\n"), 5_000, answer, closes).await;
        let Outcome::Said { word, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!((word.up, word.weight_percent), (Some(true), Some(50)));
        assert_eq!(word.text.as_deref(), Some("busy"));
        assert_eq!(asked, b"web-1\n");
    }
}

#[tokio::test]
async fn agents_that_say_too_much_or_nothing_are_bounded() {
    static ENDLESS: [u8; 1_024] = [b'x'; 1_024];
    static LONGEST: [u8; 1_023] = [b' '; 1_023];
    for (timeout_ms, answer, closes, facts) in [
        (5_000, &ENDLESS[..], false, "line exceeds 1024 bytes"),
        (5_000, &LONGEST[..], true, "the agent says nothing"),
        (5_000, b"", true, "the agent says nothing"),
        (5_000, b"whatever\n", false, "none of which is understood"),
        (50, b"up", false, "no line of the agent at "),
    ] {
        let (outcome, _) = agent_asked(None, timeout_ms, answer, closes).await;
        let Outcome::Found(probe) = outcome else { panic!("{outcome:?}") };
        assert!(!probe.passed && probe.facts.contains(facts), "{facts}: {}", probe.facts);
    }
}
