//! What members are told of clients with certificates.

use std::sync::Arc;

use ballast_model::{ClientAuthMode, ServerTls};
use rcgen::{CertificateParams, DnType, SanType, SerialNumber, date_time_ymd};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ALL_VERSIONS, ClientConfig, HandshakeKind};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client_auth::{asking, connector, site};
use crate::harness::*;
use crate::http2_client::Client;
use crate::pki::*;

/// What a client would like members to believe.
const FORGED: [(&str, &str); 8] = [
    ("x-client-verify", "SUCCESS"),
    ("x-client-subject", "CN=root"),
    ("x-client-issuer", "CN=root"),
    ("x-client-serial", "00"),
    ("x-client-san", "DNS:root"),
    ("x-client-fingerprint", "00"),
    ("x-client-not-after", "9999-12-31T00:00:00Z"),
    ("x_client_subject", "CN=root"),
];

async fn connect(site: &Site, connector: &TlsConnector) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(site.address).await.unwrap();
    let name = ServerName::try_from("a.test").unwrap();
    soon(connector.connect(name, stream)).await.unwrap()
}

/// The lines that a member got about its client, sorted.
fn told(head: &str) -> Vec<String> {
    let is_told =
        |line: &&str| line.to_ascii_lowercase().replace('_', "-").starts_with("x-client-");
    let mut told: Vec<_> = head.lines().filter(is_told).map(str::to_owned).collect();
    told.sort();
    told
}

/// A request of HTTP/1.1 with all that is forged, in capitals and as it is usual.
fn forging() -> String {
    let lines = FORGED.map(|(name, value)| {
        format!("{}: {value}\r\n{name}: {value}\r\n", name.to_ascii_uppercase())
    });
    format!("GET / HTTP/1.1\r\nHost: a.test\r\n{}\r\n", lines.concat())
}

async fn told_http1(site: &Site, connector: &TlsConnector) -> (Vec<String>, HandshakeKind) {
    let mut io = Io::new(connect(site, connector).await);
    let mut all = Vec::new();
    for _ in 0..2 {
        io.send(forging()).await;
        all.push(told(&io.message().await.unwrap().text()));
    }
    assert_eq!(all[0], all[1], "of one connection every request says the same");
    (all.remove(0), io.stream.get_ref().1.handshake_kind().unwrap())
}

/// The same connector that offers HTTP/2.
fn offering_http2(connector: &TlsConnector) -> TlsConnector {
    let mut config = ClientConfig::clone(connector.config());
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsConnector::from(Arc::new(config))
}

async fn told_http2(site: &Site, connector: &TlsConnector) -> Vec<String> {
    let stream = connect(site, &offering_http2(connector)).await;
    let mut client = Client::on(stream, h2::client::Builder::new()).await;
    let mut request = http::Request::builder().uri("https://a.test/");
    for (name, value) in FORGED {
        request = request.header(name, value);
    }
    let answer = client.ask(request.body(()).unwrap(), b"").await.unwrap();
    assert_eq!(answer.status, 200);
    told(&answer.text())
}

fn somebody(params: &mut CertificateParams) {
    params.distinguished_name.push(DnType::OrganizationName, "Zoë, \r\nInc");
    params.serial_number = Some(SerialNumber::from_slice(&[0x0b, 0xad]));
    params.not_after = date_time_ymd(2049, 1, 2);
    params.subject_alt_names.push(SanType::Rfc822Name("me@a.test".try_into().unwrap()));
}

#[tokio::test]
async fn members_are_told_who_clients_are_and_not_who_they_say_they_are() {
    let (ca, clients) = (Ca::new("sites"), Ca::new("clients"));
    let known = clients.issue_as(&["me"], somebody);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &known.der());
    let fingerprint: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let expected = [
        format!("X-Client-Fingerprint: {fingerprint}"),
        "X-Client-Issuer: CN=clients".to_owned(),
        "X-Client-Not-After: 2049-01-02T00:00:00Z".to_owned(),
        "X-Client-SAN: DNS:me,email:me@a.test".to_owned(),
        "X-Client-Serial: 0bad".to_owned(),
        "X-Client-Subject: O=Zo\\C3\\AB\\, \\0D\\0AInc,CN=leaf".to_owned(),
        "X-Client-Verify: SUCCESS".to_owned(),
    ];
    let origin = Origin::echo().await;
    for mode in [ClientAuthMode::Required, ClientAuthMode::Optional] {
        let site = site(&origin, &ca, asking(&clients, mode)).await;
        let shown = connector(&ca, Some(&known), ALL_VERSIONS);
        assert_eq!(told_http1(&site, &shown).await.0, expected, "{mode:?}");
        assert_eq!(told_http2(&site, &shown).await, expected, "{mode:?}");
    }
    let site = site(&origin, &ca, asking(&clients, ClientAuthMode::Optional)).await;
    let nothing = connector(&ca, None, ALL_VERSIONS);
    assert_eq!(told_http1(&site, &nothing).await.0, ["X-Client-Verify: NONE"]);
    assert_eq!(told_http2(&site, &nothing).await, ["X-Client-Verify: NONE"]);
}

#[tokio::test]
async fn a_resumed_session_is_the_same_client() {
    let (ca, clients) = (Ca::new("sites"), Ca::new("clients"));
    let known = clients.issue_as(&["me"], somebody);
    let origin = Origin::echo().await;
    for versions in [&[&TLS12], &[&TLS13]] {
        let site = site(&origin, &ca, asking(&clients, ClientAuthMode::Required)).await;
        let shown = connector(&ca, Some(&known), versions);
        let (before, full) = told_http1(&site, &shown).await;
        let (after, resumed) = told_http1(&site, &shown).await;
        assert_eq!((full, resumed), (HandshakeKind::Full, HandshakeKind::Resumed));
        assert_eq!(before.len(), 7);
        assert_eq!(before, after);
    }
}

#[tokio::test]
async fn what_clients_forge_goes_even_where_nothing_is_told() {
    let (ca, clients) = (Ca::new("sites"), Ca::new("clients"));
    let origin = Origin::echo().await;
    let mut silent = asking(&clients, ClientAuthMode::Optional);
    if let Some(auth) = &mut silent.client_auth {
        auth.identity_headers = false;
    }
    let silent = site(&origin, &ca, silent).await;
    let known = clients.issue(&["me"]);
    for shown in [None, Some(&known)] {
        let connector = connector(&ca, shown, ALL_VERSIONS);
        assert_eq!(told_http1(&silent, &connector).await.0, [""; 0]);
        assert_eq!(told_http2(&silent, &connector).await, [""; 0]);
    }
    // Elsewhere these names mean nothing.
    let other = site(&origin, &ca, ServerTls::default()).await;
    let nobody = connector(&ca, None, ALL_VERSIONS);
    assert_eq!(told_http1(&other, &nobody).await.0.len(), 2 * FORGED.len());
}

#[tokio::test]
async fn a_connection_from_before_clients_were_asked_forges_nothing() {
    let (ca, clients) = (Ca::new("sites"), Ca::new("clients"));
    let origin = Origin::echo().await;
    let mut site = site(&origin, &ca, ServerTls::default()).await;
    let nobody = connector(&ca, None, ALL_VERSIONS);
    let mut io = Io::new(connect(&site, &nobody).await);
    io.send(forging()).await;
    assert_eq!(told(&io.message().await.unwrap().text()).len(), 2 * FORGED.len());
    site.server.tls = Some(asking(&clients, ClientAuthMode::Optional));
    site.apply().await;
    io.send(forging()).await;
    assert_eq!(told(&io.message().await.unwrap().text()), ["X-Client-Verify: NONE"]);
}

#[tokio::test]
async fn trailers_forge_nothing_either() {
    let (ca, clients) = (Ca::new("sites"), Ca::new("clients"));
    let origin = Origin::start(|_, mut io: Io| async move {
        while let Some(head) = io.head().await {
            let (_, trailer) = io.body_and_trailer(&head).await;
            io.send(ok(&trailer.join("\n"))).await;
        }
    });
    let origin = origin.await;
    let site = site(&origin, &ca, asking(&clients, ClientAuthMode::Optional)).await;
    let nobody = connector(&ca, None, ALL_VERSIONS);
    let mut io = Io::new(connect(&site, &nobody).await);
    io.send(
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n\
         1\r\nx\r\n0\r\nX-Client-Subject: CN=root\r\nX-Sum: 1\r\nx_client_verify: SUCCESS\r\n\r\n",
    )
    .await;
    assert_eq!(io.message().await.unwrap().text(), "X-Sum: 1");
}
