//! TLS to members: who is trusted, what is said when it fails, and what becomes of connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ballast_model::{PoolTls, TlsVersion};
use ballast_telemetry::FailureReason as R;
use rustls::ALL_VERSIONS;
use rustls::version::{TLS12, TLS13};
use tokio::io::AsyncWriteExt;

use crate::harness::*;
use crate::pki::*;

fn trusting(ca: &Ca) -> PoolTls {
    PoolTls { ca_pem: Some(ca.pem.clone()), ..PoolTls::default() }
}

/// A site whose one member is that origin, secured so.
async fn site(origin: &TlsOrigin, tls: PoolTls) -> Site {
    Site::start_with(&[origin.origin.address], |_, pool| pool.tls = Some(tls)).await
}

/// What the status says of the last error of the member.
fn last_error(site: &Site) -> String {
    let pools = site.plane.pools();
    let status = pools.borrow().get("origin").unwrap().statuses(0).next().unwrap();
    status.last_error.map(|error| error.text).unwrap_or_default()
}

/// The request fails so, with that in the text of the last error.
async fn fails(origin: &TlsOrigin, tls: PoolTls, reason: R, text: &str) {
    let site = site(origin, tls).await;
    let response = site.connect().await.get("/").await;
    assert_eq!((response.status(), response.text()), (502, format!("502 Bad Gateway: {reason}\n")));
    site.failed(reason, 1).await;
    let error = last_error(&site);
    let start = format!("TLS with {}: ", origin.origin.address);
    assert!(error.starts_with(&start) && error.contains(text), "{error}");
}

#[tokio::test]
async fn a_member_that_shows_what_is_wanted_is_spoken_to() {
    let ca = Ca::new("members");
    let by_address = ca.issue(&["127.0.0.1"]);
    let by_name = ca.issue(&["a.test"]);
    for (leaf, name) in [(by_address, None), (by_name, Some("a.test".to_owned()))] {
        for versions in [ALL_VERSIONS, &[&TLS12], &[&TLS13]] {
            let origin = TlsOrigin::echo(leaf.server(versions, None)).await;
            let tls = PoolTls { server_name: name.clone(), ..trusting(&ca) };
            let site = site(&origin, tls).await;
            let mut client = site.connect().await;
            for _ in 0..3 {
                let response = client.get("/").await;
                assert_eq!(response.status(), 200);
                assert!(response.text().starts_with("GET / HTTP/1.1\r\n"));
            }
            assert_eq!(origin.origin.connections(), 1, "the connection is kept");
        }
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_told_so() {
    let ca = Ca::new("members");
    let origin = TlsOrigin::echo(ca.issue(&["b.test"]).server(ALL_VERSIONS, None)).await;
    let named = PoolTls { server_name: Some("a.test".to_owned()), ..trusting(&ca) };
    fails(&origin, named, R::UpstreamTlsName, "b.test").await;
    fails(&origin, trusting(&ca), R::UpstreamTlsName, "127.0.0.1").await;
}

#[tokio::test]
async fn an_authority_that_is_not_trusted_is_told_so() {
    let (ca, other) = (Ca::new("members"), Ca::new("other"));
    let origin = TlsOrigin::echo(ca.issue(&["127.0.0.1"]).server(ALL_VERSIONS, None)).await;
    fails(&origin, trusting(&other), R::UpstreamTlsUnknownCa, "UnknownIssuer").await;
    // The system's authorities did not issue it either.
    fails(&origin, PoolTls::default(), R::UpstreamTlsUnknownCa, "UnknownIssuer").await;
}

#[tokio::test]
async fn an_expired_certificate_is_told_so() {
    let ca = Ca::new("members");
    let leaf = ca.issue_expired(&["127.0.0.1"]);
    let origin = TlsOrigin::echo(leaf.server(ALL_VERSIONS, None)).await;
    fails(&origin, trusting(&ca), R::UpstreamTlsExpired, "expired").await;
}

#[tokio::test]
async fn versions_without_overlap_are_refused() {
    let ca = Ca::new("members");
    let origin = TlsOrigin::echo(ca.issue(&["127.0.0.1"]).server(&[&TLS12], None)).await;
    let newest = PoolTls { min_version: TlsVersion::Tls13, ..trusting(&ca) };
    fails(&origin, newest, R::UpstreamTlsRefused, "ProtocolVersion").await;
    let origin = TlsOrigin::echo(ca.issue(&["127.0.0.1"]).server(&[&TLS13], None)).await;
    let oldest = PoolTls { max_version: TlsVersion::Tls12, ..trusting(&ca) };
    fails(&origin, oldest, R::UpstreamTlsRefused, "ProtocolVersion").await;
}

#[tokio::test]
async fn a_member_without_tls_is_told_so() {
    let ca = Ca::new("members");
    let origin = Origin::start(|_, mut io: Io| async move {
        io.exactly(1).await;
        io.send("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let tls = trusting(&ca);
    let site = Site::start_with(&[origin.address], |_, pool| pool.tls = Some(tls)).await;
    assert_eq!(site.connect().await.get("/").await.status(), 502);
    site.failed(R::UpstreamTlsHandshake, 1).await;
}

#[tokio::test]
async fn a_handshake_that_hangs_ends_with_the_connect_timeout() {
    let origin = Origin::start(|_, mut io: Io| async move {
        io.rest().await;
    })
    .await;
    let site = Site::start_with(&[origin.address], |_, pool| {
        pool.tls = Some(PoolTls { verify: false, ..PoolTls::default() });
        pool.connect_timeout_ms = 100;
    })
    .await;
    assert_eq!(site.connect().await.get("/").await.status(), 504);
    site.failed(R::ConnectTimeout, 1).await;
}

#[tokio::test]
async fn without_verification_any_certificate_does() {
    let leaf = Ca::new("nobody").issue_expired(&["other.test"]);
    for versions in [&[&TLS12], &[&TLS13]] {
        let origin = TlsOrigin::echo(leaf.server(versions, None)).await;
        let site = site(&origin, PoolTls { verify: false, ..PoolTls::default() }).await;
        assert_eq!(site.connect().await.get("/").await.status(), 200);
    }
}

/// By TLS 1.3 it says so only after the handshake.
#[tokio::test]
async fn another_member_takes_over_from_one_that_refuses_our_certificate() {
    let (ca, clients) = (Ca::new("members"), Ca::new("clients"));
    for versions in [&[&TLS12], &[&TLS13]] {
        let leaf = ca.issue(&["127.0.0.1"]);
        let strict = TlsOrigin::echo(leaf.server(versions, Some(&clients))).await;
        let lenient = TlsOrigin::echo(leaf.server(versions, None)).await;
        let members = [strict.origin.address, lenient.origin.address];
        let site = Site::start_with(&members, |_, pool| pool.tls = Some(trusting(&ca))).await;
        let mut client = site.connect().await;
        for _ in 0..4 {
            let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
            assert_eq!(client.ask(post).await.status(), 200);
        }
        assert!(strict.refused() > 0);
        assert_eq!(site.totals().failures_total(), 0);
    }
}

#[tokio::test]
async fn a_member_that_wants_a_certificate_gets_the_declared_one() {
    let (ca, clients) = (Ca::new("members"), Ca::new("clients"));
    let (us, strangers) = (clients.issue(&["us.test"]), ca.issue(&["us.test"]));
    for versions in [&[&TLS12], &[&TLS13]] {
        let leaf = ca.issue(&["127.0.0.1"]);
        let origin = TlsOrigin::echo(leaf.server(versions, Some(&clients))).await;
        fails(&origin, trusting(&ca), R::UpstreamTlsRefused, "refused: alert").await;
        let mut site = Site::start(&[origin.origin.address]).await;
        site.edit(&[strangers.put("us")]);
        let certificate = Some("us".to_owned());
        site.pool.tls = Some(PoolTls { client_certificate: certificate, ..trusting(&ca) });
        site.apply().await;
        assert_eq!(site.connect().await.get("/").await.status(), 502);
        site.failed(R::UpstreamTlsRefused, 1).await;
        // Edited alone, without a word about the pool.
        site.edit(&[us.put("us")]);
        site.wait_applied().await;
        assert_eq!(site.connect().await.get("/").await.status(), 200);
        assert_eq!(origin.refused(), 2);
    }
}

#[tokio::test]
async fn sessions_are_resumed() {
    let ca = Ca::new("members");
    for versions in [&[&TLS12], &[&TLS13]] {
        let config = ca.issue(&["127.0.0.1"]).server(versions, None);
        let origin = TlsOrigin::start(config, |_, mut io| async move {
            let _request = io.message().await;
            io.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
            let _ended = io.stream.shutdown().await;
            io.rest().await;
        })
        .await;
        let site = site(&origin, trusting(&ca)).await;
        let mut client = site.connect().await;
        for _ in 0..5 {
            assert_eq!(client.get("/").await.status(), 200);
        }
        assert_eq!((origin.origin.connections(), origin.resumed()), (5, 4));
    }
}

#[tokio::test]
async fn a_kept_connection_that_the_member_closed_is_not_used() {
    let ca = Ca::new("members");
    let config = ca.issue(&["127.0.0.1"]).server(ALL_VERSIONS, None);
    let ended = Arc::new(AtomicUsize::new(0));
    let ended_count = Arc::clone(&ended);
    let origin = TlsOrigin::start(config, move |number, mut io| {
        let ended = Arc::clone(&ended_count);
        async move {
            while let Some(_request) = io.message().await {
                io.send(ok("")).await;
                match number {
                    // It says that it ends.
                    0 => io.stream.shutdown().await.unwrap(),
                    // It sends what nobody asked for.
                    1 => io.send(ok("unasked")).await,
                    _ => continue,
                }
                io.rest().await;
                ended.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    let site = site(&origin, trusting(&ca)).await;
    let mut client = site.connect().await;
    for (connection_count, ended_count) in [(1, 1), (2, 2), (3, 2), (3, 2)] {
        let response = client.get("/").await;
        assert_eq!((response.status(), response.text()), (200, String::new()));
        assert_eq!(origin.origin.connections(), connection_count);
        // It is closed without being asked for a request.
        until(|| ended.load(Ordering::SeqCst) == ended_count).await;
    }
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn new_settings_concern_kept_connections_too() {
    let (ca, other) = (Ca::new("members"), Ca::new("other"));
    let origin = TlsOrigin::echo(ca.issue(&["127.0.0.1"]).server(ALL_VERSIONS, None)).await;
    let mut site = site(&origin, trusting(&ca)).await;
    let mut client = site.connect().await;
    assert_eq!(client.get("/").await.status(), 200);
    site.pool.idle_connection_max_count = 3;
    site.apply().await;
    assert_eq!(client.get("/").await.status(), 200);
    assert_eq!(origin.origin.connections(), 1, "the same security: the connection is kept");
    site.pool.tls = Some(trusting(&other));
    site.apply().await;
    assert_eq!(client.get("/").await.status(), 502, "what is not trusted any more is not used");
    site.failed(R::UpstreamTlsUnknownCa, 1).await;
    site.pool.tls = Some(trusting(&ca));
    site.apply().await;
    assert_eq!(client.get("/").await.status(), 200);
}

#[tokio::test]
async fn settings_that_cannot_be_used_never_mean_plain_text() {
    let origin = Origin::echo().await;
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
    let site = Site::start_with(&[origin.address], |_, pool| {
        pool.tls = Some(PoolTls { ca_pem: Some(pem), ..PoolTls::default() });
    })
    .await;
    assert_eq!(site.connect().await.get("/").await.status(), 503);
    site.failed(R::PoolTlsUnusable, 1).await;
    assert_eq!(origin.connections(), 0);
    let errors = site.plane.applied().borrow().errors.clone();
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].starts_with("pool origin: tls.ca_pem its certificate 1 can't be"),
        "{errors:?}"
    );
}

#[tokio::test]
async fn large_bodies_pass_both_ways() {
    let ca = Ca::new("members");
    let origin = TlsOrigin::echo(ca.issue(&["127.0.0.1"]).server(ALL_VERSIONS, None)).await;
    let site = site(&origin, trusting(&ca)).await;
    let body = "0123456789abcdef".repeat(64 * 1024);
    let length = body.len();
    let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}");
    let mut client = site.connect().await;
    for _ in 0..2 {
        let response = client.ask(&request).await;
        assert!(response.text().ends_with(&body));
    }
}

#[tokio::test]
async fn a_response_cut_off_without_a_farewell_is_told_apart_from_a_whole_one() {
    let ca = Ca::new("members");
    let config = ca.issue(&["127.0.0.1"]).server(ALL_VERSIONS, None);
    let origin = TlsOrigin::start(config, |number, mut io| async move {
        let _request = io.message().await;
        io.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf").await;
        if number == 0 {
            let _ended = io.stream.shutdown().await;
        }
    })
    .await;
    let site = site(&origin, trusting(&ca)).await;
    let whole = site.connect().await.get("/").await;
    assert_eq!((whole.status(), whole.text()), (200, "half".to_owned()));
    let mut client = site.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let cut = String::from_utf8(client.rest().await).unwrap();
    assert!(!cut.ends_with("0\r\n\r\n"), "{cut}");
    site.failed(R::UpstreamClosedEarly, 1).await;
}

#[tokio::test]
async fn a_websocket_passes_through() {
    let ca = Ca::new("members");
    let config = ca.issue(&["127.0.0.1"]).server(ALL_VERSIONS, None);
    let origin = TlsOrigin::start(config, |_, mut io| async move {
        io.head().await.unwrap();
        io.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
        .await;
        let asked = io.exactly(4).await;
        io.send(asked).await;
        let _ended = io.stream.shutdown().await;
        io.rest().await;
    })
    .await;
    let site = site(&origin, trusting(&ca)).await;
    let mut client = site.connect().await;
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 101 "));
    client.send("ping").await;
    assert_eq!(client.rest().await, b"ping");
}
