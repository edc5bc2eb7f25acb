//! HTTP/2 over TLS: chosen by ALPN (RFC 9113 §3.2).

use std::sync::Arc;

use ballast_model::Protocol;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::*;
use crate::http2_client::*;
use crate::pki::Ca;

/// A site with TLS, and the authority of its certificate.
async fn site(origin: &Origin) -> (Site, Ca) {
    let ca = Ca::new("test");
    let mut site = Site::start(&[origin.address]).await;
    site.edit(&[ca.issue(&["site"]).put("own")]);
    site.server.protocol = Protocol::Https;
    site.server.certificates = vec!["own".to_owned()];
    site.apply().await;
    (site, ca)
}

/// Connects and offers those protocols, the one liked best first.
async fn connect(site: &Site, ca: &Ca, protocols: &[&str]) -> TlsStream<TcpStream> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(ca.roots())
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(site.address).await.unwrap();
    let name = ServerName::try_from("site").unwrap();
    soon(TlsConnector::from(Arc::new(config)).connect(name, stream)).await.unwrap()
}

fn chosen(stream: &TlsStream<TcpStream>) -> Option<&[u8]> {
    stream.get_ref().1.alpn_protocol()
}

#[tokio::test]
async fn a_client_that_knows_http_2_gets_it() {
    let origin = Origin::echo().await;
    let (site, ca) = site(&origin).await;
    let stream = connect(&site, &ca, &["http/1.1", "h2"]).await;
    assert_eq!(chosen(&stream), Some(&b"h2"[..]));
    let mut client = Client::on(stream, h2::client::Builder::new()).await;
    for n in 0..3 {
        let text = client.get(&format!("/{n}")).await.text();
        assert!(text.starts_with(&format!("GET /{n} HTTP/1.1")), "{text}");
        assert!(text.contains("X-Forwarded-Proto: https\r\n"), "{text}");
    }
    // More than one record of TLS, both ways.
    let body = "z".repeat(300_000);
    let answer = client.ask(request(http::Method::POST, "/"), body.as_bytes()).await.unwrap();
    assert!(answer.text().ends_with(&body));
    site.served(4).await;
    assert_eq!(site.totals().http2_requests_total, 4);
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn others_get_http_1() {
    let origin = Origin::echo().await;
    let (mut site, ca) = site(&origin).await;
    for protocols in [&["http/1.1"][..], &[]] {
        let stream = connect(&site, &ca, protocols).await;
        assert_eq!(chosen(&stream), protocols.first().map(|name| name.as_bytes()));
        assert_eq!(Io::new(stream).get("/").await.status(), 200);
    }
    // Where it is off nobody is offered it; connections that have it keep it.
    let before = connect(&site, &ca, &["h2"]).await;
    let mut before = Client::on(before, h2::client::Builder::new()).await;
    site.server.http.http2 = false;
    site.apply().await;
    let stream = connect(&site, &ca, &["h2", "http/1.1"]).await;
    assert_eq!(chosen(&stream), Some(&b"http/1.1"[..]));
    assert_eq!(Io::new(stream).get("/").await.status(), 200);
    assert_eq!(before.get("/").await.status, 200);
}
