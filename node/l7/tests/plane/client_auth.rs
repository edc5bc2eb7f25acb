//! TLS with clients as a virtual server's settings say: certificates of clients, versions, names.

use std::sync::Arc;
use std::time::Duration;

use ballast_model::{
    ClientAuth, ClientAuthMode, Protocol, Sealed, ServerTls, TicketKey, TlsVersion, UnknownName,
};
use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ALL_VERSIONS, ClientConfig, HandshakeKind, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::harness::*;
use crate::pki::*;

/// An HTTPS site for `a.test` with those settings.
pub(crate) async fn site(origin: &Origin, ca: &Ca, tls: ServerTls) -> Site {
    let mut site = Site::start(&[origin.address]).await;
    site.ticket_keys = vec![TicketKey {
        id: format!("{:032x}", 7),
        secret_sealed: Sealed { key_id: 1, nonce: String::new(), ciphertext: "s".repeat(32) },
        created_at_ms: 0,
    }];
    site.edit(&[ca.issue(&["a.test"]).put("c")]);
    site.server.protocol = Protocol::Https;
    site.server.certificates = vec!["c".to_owned()];
    site.server.tls = Some(tls);
    site.apply().await;
    site
}

pub(crate) fn asking(clients: &Ca, mode: ClientAuthMode) -> ServerTls {
    let auth =
        ClientAuth { mode, ca_pem: clients.pem.clone(), crl_pem: None, identity_headers: true };
    ServerTls { client_auth: Some(auth), ..ServerTls::default() }
}

pub(crate) fn connector(
    ca: &Ca,
    shown: Option<&Leaf>,
    versions: &[&'static SupportedProtocolVersion],
) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(ca.roots());
    let config = match shown {
        None => builder.with_no_client_auth(),
        Some(leaf) => builder.with_client_auth_cert(vec![leaf.der()], leaf.key()).unwrap(),
    };
    TlsConnector::from(Arc::new(config))
}

/// A list of the authority's that revokes the certificate of that serial number.
fn revoking(clients: &Ca, serial: u8) -> String {
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from_slice(&[serial]),
        revocation_time: date_time_ymd(2024, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2024, 1, 1),
        next_update: date_time_ymd(4000, 1, 1),
        crl_number: SerialNumber::from_slice(&[1]),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(clients.issuer()).unwrap().pem().unwrap()
}

#[tokio::test]
async fn a_certificate_that_was_revoked_is_refused() {
    let (ca, clients) = (Ca::new("sites"), Ca::new("clients"));
    let of_serial = |serial| {
        clients.issue_as(&["me"], |params| {
            params.serial_number = Some(SerialNumber::from_slice(&[serial]));
        })
    };
    let (good, revoked) = (of_serial(7), of_serial(8));
    let origin = Origin::echo().await;
    for versions in [&[&TLS12], &[&TLS13]] {
        for mode in [ClientAuthMode::Required, ClientAuthMode::Optional] {
            let mut site = site(&origin, &ca, asking(&clients, mode)).await;
            let (good, revoked) =
                (connector(&ca, Some(&good), versions), connector(&ca, Some(&revoked), versions));
            assert!(ask(&site, &revoked, "a.test").await.is_some(), "not revoked yet");
            let mut tls = asking(&clients, mode);
            if let Some(auth) = &mut tls.client_auth {
                auth.crl_pem = Some(revoking(&clients, 8));
            }
            site.server.tls = Some(tls);
            site.apply().await;
            // Its ticket does not help it either.
            assert_eq!(ask(&site, &revoked, "a.test").await, None, "{mode:?}");
            assert!(ask(&site, &good, "a.test").await.is_some(), "{mode:?}");
        }
    }
}

/// Asks once; how the handshake went, or none where it failed.
async fn ask(site: &Site, connector: &TlsConnector, name: &str) -> Option<HandshakeKind> {
    let stream = TcpStream::connect(site.address).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut io = Io::new(soon(connector.connect(name, stream)).await.ok()?);
    // By TLS 1.3 a client learns only now that its certificate was refused.
    io.try_send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.ok()?;
    let response = io.message().await?;
    assert_eq!(response.status(), 200);
    io.stream.get_ref().1.handshake_kind()
}

#[tokio::test]
async fn clients_must_show_a_certificate_where_it_is_required() {
    let (ca, clients) = (Ca::new("sites"), Ca::new("clients"));
    let (known, stranger) = (clients.issue(&["me"]), ca.issue(&["me"]));
    let expired = clients.issue_expired(&["me"]);
    let origin = Origin::echo().await;
    for versions in [&[&TLS12], &[&TLS13]] {
        let served = async |mode, shown: Option<&Leaf>| {
            let site = site(&origin, &ca, asking(&clients, mode)).await;
            ask(&site, &connector(&ca, shown, versions), "a.test").await.is_some()
        };
        use ClientAuthMode::{Optional, Required};
        for (mode, shown, is_served) in [
            (Required, Some(&known), true),
            (Required, None, false),
            (Required, Some(&stranger), false),
            (Required, Some(&expired), false),
            (Optional, Some(&known), true),
            (Optional, None, true),
            (Optional, Some(&stranger), false),
        ] {
            assert_eq!(served(mode, shown).await, is_served, "{mode:?}");
        }
    }
}

#[tokio::test]
async fn a_ticket_carries_nobody_past_an_authority_that_has_changed() {
    let (ca, clients, others) = (Ca::new("sites"), Ca::new("clients"), Ca::new("others"));
    let known = clients.issue(&["me"]);
    let origin = Origin::echo().await;
    for versions in [&[&TLS12], &[&TLS13]] {
        let required = |clients| asking(clients, ClientAuthMode::Required);
        let mut site = site(&origin, &ca, required(&clients)).await;
        let connector = connector(&ca, Some(&known), versions);
        assert_eq!(ask(&site, &connector, "a.test").await, Some(HandshakeKind::Full));
        assert_eq!(ask(&site, &connector, "a.test").await, Some(HandshakeKind::Resumed));
        site.server.connection_limit = Some(1_000);
        site.apply().await;
        let unconcerned = ask(&site, &connector, "a.test").await;
        assert_eq!(unconcerned, Some(HandshakeKind::Resumed), "another setting concerns nobody");
        site.server.tls = Some(required(&others));
        site.apply().await;
        assert_eq!(ask(&site, &connector, "a.test").await, None);
        site.server.tls = Some(required(&clients));
        site.apply().await;
        assert!(ask(&site, &connector, "a.test").await.is_some());
    }
}

#[tokio::test]
async fn versions_outside_the_bounds_are_refused() {
    let ca = Ca::new("sites");
    let origin = Origin::echo().await;
    let newest = ServerTls { min_version: TlsVersion::Tls13, ..ServerTls::default() };
    let oldest = ServerTls { max_version: TlsVersion::Tls12, ..ServerTls::default() };
    for (tls, good, bad) in [(newest, &TLS13, &TLS12), (oldest, &TLS12, &TLS13)] {
        let site = site(&origin, &ca, tls).await;
        assert!(ask(&site, &connector(&ca, None, &[good]), "a.test").await.is_some());
        assert!(ask(&site, &connector(&ca, None, &[bad]), "a.test").await.is_none());
    }
}

#[tokio::test]
async fn an_unknown_name_is_refused_where_that_is_wanted() {
    let ca = Ca::new("sites");
    let origin = Origin::echo().await;
    let refusing = ServerTls { unknown_name: UnknownName::Refuse, ..ServerTls::default() };
    let site = site(&origin, &ca, refusing).await;
    let connector = connector(&ca, None, ALL_VERSIONS);
    assert!(ask(&site, &connector, "a.test").await.is_some());
    let stream = TcpStream::connect(site.address).await.unwrap();
    let name = ServerName::try_from("b.test").unwrap();
    let error = soon(connector.connect(name, stream)).await.unwrap_err().to_string();
    assert!(error.contains("alert"), "it is told so, and not by a certificate: {error}");
}

#[tokio::test]
async fn settings_that_cannot_be_used_leave_what_was_there() {
    let (ca, clients) = (Ca::new("sites"), Ca::new("clients"));
    let origin = Origin::echo().await;
    let mut site = site(&origin, &ca, asking(&clients, ClientAuthMode::Required)).await;
    let mut broken = asking(&clients, ClientAuthMode::Optional);
    if let Some(auth) = &mut broken.client_auth {
        auth.ca_pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
    }
    site.server.tls = Some(broken);
    site.apply().await;
    let errors = site.plane.applied().borrow().errors.clone();
    assert!(errors[0].contains("tls.client_auth.ca_pem its certificate 1"), "{errors:?}");
    assert!(ask(&site, &connector(&ca, None, ALL_VERSIONS), "a.test").await.is_none());
}

#[tokio::test]
async fn a_session_is_not_resumed_once_its_certificate_has_expired() {
    let (ca, clients) = (Ca::new("sites"), Ca::new("clients"));
    let origin = Origin::echo().await;
    for versions in [&[&TLS12], &[&TLS13]] {
        let site = site(&origin, &ca, asking(&clients, ClientAuthMode::Required)).await;
        let end = UnixTime::now().as_secs() + 3;
        let passing = clients.issue_as(&["me"], |params| {
            params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(end);
        });
        let connector = connector(&ca, Some(&passing), versions);
        assert_eq!(ask(&site, &connector, "a.test").await, Some(HandshakeKind::Full));
        assert_eq!(ask(&site, &connector, "a.test").await, Some(HandshakeKind::Resumed));
        until(|| UnixTime::now().as_secs() > end).await;
        assert_eq!(ask(&site, &connector, "a.test").await, None);
    }
}
