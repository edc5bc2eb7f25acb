//! Probes of members that speak TLS.

use std::sync::Arc;

use ballast_model::PoolTls;
use ballast_tls::SystemRoots;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, version};
use tokio_rustls::TlsAcceptor;

use super::*;

/// Issues the certificates of members.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        Self::named("authority")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A member's settings, with a certificate for `name`.
    pub(super) fn server(&self, name: &str, alpn: &[&[u8]]) -> ServerConfig {
        self.server_with(name, alpn, |_| {})
    }

    fn server_with(
        &self,
        name: &str,
        alpn: &[&[u8]],
        change: impl FnOnce(&mut CertificateParams),
    ) -> ServerConfig {
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap();
        let (certificate, key) = self.issued(name, change);
        let mut config =
            builder.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config
    }

    fn issued(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (rustls::pki_types::CertificateDer<'static>, PrivateKeyDer<'static>) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        (certificate.der().clone(), key)
    }

    /// A pool that trusts this authority.
    pub(super) fn link(&self, change: impl FnOnce(&mut PoolTls)) -> Link {
        let mut settings = PoolTls {
            ca_pem: Some(self.0.pem()),
            server_name: Some("member.test".to_owned()),
            ..PoolTls::default()
        };
        change(&mut settings);
        let tls = MemberTls::new(&settings, None, &mut SystemRoots::default()).unwrap();
        Link { security: Security::Tls(Arc::new(tls)), ..Link::default() }
    }
}

/// Probes, by `link`, a member that answers each connection's first bytes with 200.
async fn probed_by(link: &Link, server: ServerConfig) -> Probe {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let answer = async {
        let (stream, _) = listener.accept().await.unwrap();
        // Either side may refuse the other; the probe tells.
        let Ok(mut stream) = acceptor.accept(stream).await else { return };
        let mut request = [0; 4_096];
        let _cut_off = stream.read(&mut request).await;
        let _cut_off =
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nall well").await;
        while stream.read(&mut request).await.is_ok_and(|count| count > 0) {}
    };
    let monitor = http_monitor(5_000, Some("all well"));
    let (outcome, ()) = tokio::join!(probe(address, link, &monitor), answer);
    let Outcome::Found(probe) = outcome else { panic!("not tried") };
    probe
}

#[tokio::test]
async fn member_with_a_good_certificate_passes_by_either_version() {
    let authority = Authority::new();
    for version in [&version::TLS12, &version::TLS13] {
        let mut server = authority.server("member.test", &[b"http/1.1"]);
        let builder = ServerConfig::builder_with_provider(Arc::clone(server.crypto_provider()));
        let mut only = builder
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&server.cert_resolver));
        only.alpn_protocols = std::mem::take(&mut server.alpn_protocols);
        let probe = probed_by(&authority.link(|_| {}), only).await;
        assert!(probe.passed, "{}", probe.facts);
        assert!(probe.facts.ends_with("with the expected text"), "{}", probe.facts);
    }
}

#[tokio::test]
async fn certificates_that_requests_would_refuse_fail_the_probe_and_are_told_apart() {
    let authority = Authority::new();
    let link = authority.link(|_| {});
    let expired = authority.server_with("member.test", &[], |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    for (server, text) in [
        (Authority::named("another").server("member.test", &[]), "UnknownIssuer"),
        (authority.server("other.test", &[]), "not valid for name \"member.test\""),
        (expired, "expired"),
    ] {
        let probe = probed_by(&link, server).await;
        assert!(!probe.passed, "{text}: {}", probe.facts);
        assert!(probe.facts.starts_with("TLS with 127.0.0.1:"), "{}", probe.facts);
        assert!(probe.facts.contains(text), "{text}: {}", probe.facts);
    }
}

#[tokio::test]
async fn nothing_is_verified_where_the_pool_does_not() {
    let link = Authority::new().link(|settings| {
        settings.verify = false;
        settings.ca_pem = None;
    });
    let probe = probed_by(&link, Authority::new().server("other.test", &[])).await;
    assert!(probe.passed, "{}", probe.facts);
}

#[tokio::test]
async fn member_is_asked_for_its_address_where_no_name_is_set() {
    let authority = Authority::new();
    let link = authority.link(|settings| settings.server_name = None);
    let probe = probed_by(&link, authority.server("127.0.0.1", &[])).await;
    assert!(probe.passed, "{}", probe.facts);
    let probe = probed_by(&link, authority.server("127.0.0.2", &[])).await;
    assert!(probe.facts.contains("not valid for name \"127.0.0.1\""), "{}", probe.facts);
}

#[tokio::test]
async fn member_that_wants_a_certificate_gets_the_pools_and_refuses_without() {
    let authority = Authority::new();
    let server = || {
        let plain = authority.server("member.test", &[]);
        let provider = plain.crypto_provider();
        let mut roots = RootCertStore::empty();
        roots.add(authority.0.der().clone()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                .build()
                .unwrap();
        ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::clone(&plain.cert_resolver))
    };
    let probe = probed_by(&authority.link(|_| {}), server()).await;
    assert!(!probe.passed);
    assert!(probe.facts.contains("the member refused: alert CertificateRequired"), "{probe:?}");

    let (certificate, key) = authority.issued("balancer.test", |_| {});
    let key = aws_lc_rs::default_provider().key_provider.load_private_key(key).unwrap();
    let ours = Arc::new(rustls::sign::CertifiedKey::new(vec![certificate], key));
    let settings = PoolTls {
        ca_pem: Some(authority.0.pem()),
        server_name: Some("member.test".to_owned()),
        ..PoolTls::default()
    };
    let tls = MemberTls::new(&settings, Some(ours), &mut SystemRoots::default()).unwrap();
    let link = Link { security: Security::Tls(Arc::new(tls)), ..Link::default() };
    let probe = probed_by(&link, server()).await;
    assert!(probe.passed, "{}", probe.facts);
}

#[tokio::test]
async fn settings_that_cannot_be_used_fail_without_a_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let security = Security::Unusable("no authority".into());
    let link = Link { security, ..Link::default() };
    let outcome = probe(address, &link, &http_monitor(5_000, None)).await;
    let Outcome::Found(found) = outcome else { panic!("not tried") };
    assert!(!found.passed);
    assert_eq!(found.facts, "the pool's TLS can't be used: no authority");
    let accepted = timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(accepted.is_err(), "nobody connected");

    let tcp = MonitorSpec::new(MonitorKind::Tcp);
    let Outcome::Found(found) = probe(address, &link, &tcp).await else { panic!("not tried") };
    assert!(found.passed, "a connection needs no TLS: {}", found.facts);
}

#[tokio::test]
async fn member_without_tls_and_silence_in_the_handshake_are_told() {
    let link = Authority::new().link(|_| {});
    for (timeout_ms, says, facts) in [
        (5_000, "HTTP/1.1 400 Bad Request\r\n\r\n", "TLS with "),
        (50, "", "no TLS handshake with "),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(says.as_bytes()).await.unwrap();
            stream
        };
        let monitor = http_monitor(timeout_ms, None);
        let (outcome, _stream) = tokio::join!(probe(address, &link, &monitor), answer);
        let Outcome::Found(found) = outcome else { panic!("not tried") };
        assert!(!found.passed);
        assert!(found.facts.starts_with(facts), "{}", found.facts);
    }
}

#[tokio::test]
async fn text_on_a_certificate_of_many_names_is_bounded() {
    let authority = Authority::new();
    let server = authority.server_with("other.test", &[], |params| {
        let names = (0..500).map(|number| format!("name-{number}.test"));
        params.subject_alt_names =
            names.map(|name| rcgen::SanType::DnsName(name.try_into().unwrap())).collect();
    });
    let probe = probed_by(&authority.link(|_| {}), server).await;
    assert!(probe.facts.contains("name-0.test"), "{}", probe.facts);
    assert!(probe.facts.len() <= TLS_TEXT_MAX_CHARS + 50, "{}", probe.facts);
}
