//! HTTPS: certificates by name, replaced while connections live.

use std::sync::Arc;

use ballast_model::{AnyDraft, CertificateSpec, Draft, Edit, Protocol, Sealed, TicketKey};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::*;

struct Issued {
    pem: String,
    key_pem: String,
    der: Vec<u8>,
}

/// A self-signed certificate for those names.
fn issue(names: &[&str]) -> Issued {
    let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let issued = rcgen::generate_simple_self_signed(names).unwrap();
    Issued {
        pem: issued.cert.pem(),
        key_pem: issued.signing_key.serialize_pem(),
        der: issued.cert.der().to_vec(),
    }
}

fn put(name: &str, issued: &Issued) -> Edit {
    let spec = CertificateSpec {
        chain_pem: issued.pem.clone(),
        private_key_pem: Some(issued.key_pem.clone()),
        ..CertificateSpec::default()
    };
    Edit::put(AnyDraft::Certificate(Draft::new(name, spec)), format!("{name}-uid"))
}

/// An HTTPS site with those certificates.
async fn site(origin: &Origin, certificates: &[(&str, &Issued)]) -> Site {
    site_with_keys(origin, certificates, &[]).await
}

/// An HTTPS site with those certificates and keys of session tickets.
async fn site_with_keys(
    origin: &Origin,
    certificates: &[(&str, &Issued)],
    ticket_keys: &[TicketKey],
) -> Site {
    let mut site = Site::start(&[origin.address]).await;
    site.ticket_keys = ticket_keys.to_vec();
    let edits: Vec<_> = certificates.iter().map(|(name, issued)| put(name, issued)).collect();
    site.edit(&edits);
    site.server.protocol = Protocol::Https;
    site.server.certificates = certificates.iter().map(|(name, _)| (*name).to_owned()).collect();
    site.apply().await;
    site
}

fn connector(trusted: &[&Issued]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for issued in trusted {
        roots.add(issued.der.clone().into()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}

async fn connect(
    site: &Site,
    connector: &TlsConnector,
    name: &str,
) -> std::io::Result<Io<TlsStream<TcpStream>>> {
    let stream = TcpStream::connect(site.address).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    Ok(Io::new(soon(connector.connect(name, stream)).await?))
}

fn leaf(client: &Io<TlsStream<TcpStream>>) -> Vec<u8> {
    client.stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn the_certificate_is_chosen_by_name() {
    let origin = Origin::echo().await;
    let (first, wild) = (issue(&["one.test"]), issue(&["*.two.test"]));
    let site = site(&origin, &[("first", &first), ("wild", &wild)]).await;
    let connector = connector(&[&first, &wild]);
    for (name, issued) in [("one.test", &first), ("a.two.test", &wild)] {
        let mut client = connect(&site, &connector, name).await.unwrap();
        assert_eq!(leaf(&client), issued.der);
        assert_eq!(client.stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        for _ in 0..2 {
            let response = client.get("/").await;
            assert!(response.text().contains("X-Forwarded-Proto: https\r\n"));
        }
    }
    for name in ["two.test", "a.b.two.test", "other.test"] {
        assert!(
            connect(&site, &connector, name).await.is_err(),
            "{name} gets the first, and it does not fit"
        );
    }
}

#[tokio::test]
async fn a_new_certificate_is_used_at_once_and_old_connections_live_on() {
    let origin = Origin::echo().await;
    let (old, new) = (issue(&["a.test"]), issue(&["a.test"]));
    let mut site = site(&origin, &[("c", &old)]).await;
    let connector = connector(&[&old, &new]);
    let mut before = connect(&site, &connector, "a.test").await.unwrap();
    assert_eq!(before.get("/").await.status(), 200);
    site.edit(&[put("c", &new)]);
    site.wait_applied().await;
    // Another connector has no ticket of the old session.
    let fresh = self::connector(&[&new]);
    let after = connect(&site, &fresh, "a.test").await.unwrap();
    assert_eq!(leaf(&after), new.der);
    assert_eq!(before.get("/").await.status(), 200);
}

fn ticket_key(secret: char) -> TicketKey {
    TicketKey {
        id: format!("{:032x}", secret as u32),
        secret_sealed: Sealed {
            key_id: 1,
            nonce: String::new(),
            ciphertext: secret.to_string().repeat(32),
        },
        created_at_ms: 0,
    }
}

/// Connects, asks once and tells how the handshake went.
async fn handshake(site: &Site, connector: &TlsConnector) -> Option<HandshakeKind> {
    let mut client = connect(site, connector, "a.test").await.unwrap();
    // The ticket comes with or before the first answer.
    assert_eq!(client.get("/").await.status(), 200);
    client.stream.get_ref().1.handshake_kind()
}

#[tokio::test]
async fn sessions_are_resumed_by_ticket_at_any_node_of_the_cluster() {
    let origin = Origin::echo().await;
    let issued = issue(&["a.test"]);
    let keys = [ticket_key('b'), ticket_key('a')];
    let one = site_with_keys(&origin, &[("c", &issued)], &keys[1..]).await;
    let other = site_with_keys(&origin, &[("c", &issued)], &keys).await;
    let connector = connector(&[&issued]);
    assert_eq!(handshake(&one, &connector).await, Some(HandshakeKind::Full));
    assert_eq!(handshake(&one, &connector).await, Some(HandshakeKind::Resumed));
    assert_eq!(handshake(&other, &connector).await, Some(HandshakeKind::Resumed));
    let totals = (one.totals(), other.totals());
    assert_eq!((totals.0.tls_full_total, totals.0.tls_resumed_total), (1, 1));
    assert_eq!((totals.1.tls_full_total, totals.1.tls_resumed_total), (0, 1));
}

#[tokio::test]
async fn keys_of_tickets_are_replaced_without_touching_the_virtual_server() {
    let origin = Origin::echo().await;
    let issued = issue(&["a.test"]);
    let mut site = site(&origin, &[("c", &issued)]).await;
    let connector = connector(&[&issued]);
    assert_eq!(handshake(&site, &connector).await, Some(HandshakeKind::Full));
    assert_eq!(handshake(&site, &connector).await, Some(HandshakeKind::Full), "there is no key");
    site.ticket_keys = vec![ticket_key('a')];
    site.edit(&[]);
    site.wait_applied().await;
    assert_eq!(handshake(&site, &connector).await, Some(HandshakeKind::Full));
    assert_eq!(handshake(&site, &connector).await, Some(HandshakeKind::Resumed));
    site.ticket_keys = vec![ticket_key('b')];
    site.edit(&[]);
    site.wait_applied().await;
    assert_eq!(handshake(&site, &connector).await, Some(HandshakeKind::Full));
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_reported_and_the_last_good_one_stays() {
    let origin = Origin::echo().await;
    let (good, other) = (issue(&["a.test"]), issue(&["a.test"]));
    let mut site = site(&origin, &[("c", &good)]).await;
    let mismatch = Issued { key_pem: other.key_pem, pem: good.pem.clone(), der: good.der.clone() };
    site.edit(&[put("c", &mismatch)]);
    site.wait_applied().await;
    let applied = site.plane.applied();
    let errors = applied.borrow().errors.clone();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].starts_with("virtual server site: certificate \"c\": "), "{errors:?}");
    let connector = connector(&[&good]);
    assert!(connect(&site, &connector, "a.test").await.is_ok());
}

#[tokio::test]
async fn plain_http_on_a_tls_port_is_refused() {
    let origin = Origin::echo().await;
    let issued = issue(&["a.test"]);
    let site = site(&origin, &[("c", &issued)]).await;
    let mut client = site.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.rest().await;
    site.failed(ballast_telemetry::FailureReason::TlsHandshake, 1).await;
}

/// Who trusts the certificate of [`make_https`].
pub(crate) struct Trust(TlsConnector);

impl Trust {
    /// A handshake over what is connected already.
    pub(crate) async fn handshake(&self, stream: TcpStream) -> Io<TlsStream<TcpStream>> {
        let name = ServerName::try_from("site").unwrap();
        Io::new(soon(self.0.connect(name, stream)).await.expect("a handshake"))
    }
}

/// Has the site speak HTTPS with a certificate of its own.
pub(crate) async fn make_https(site: &mut Site) -> Trust {
    let own = issue(&["site"]);
    site.edit(&[put("own", &own)]);
    site.server.protocol = Protocol::Https;
    site.server.certificates = vec!["own".to_owned()];
    site.apply().await;
    Trust(connector(&[&own]))
}
