//! Cipher suites and groups: what a virtual server lists is what its clients get.

use std::sync::Arc;

use ballast_model::{CipherSuite, KeyExchangeGroup, PoolTls, ServerTls, TlsVersion};
use ballast_telemetry::FailureReason;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::ServerName;
use rustls::{ALL_VERSIONS, ClientConfig, NamedGroup, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::client_auth::site;
use crate::harness::*;
use crate::pki::*;

/// The suite and group that a client gets that knows all suites and those groups.
async fn agreed(
    site: &Site,
    ca: &Ca,
    groups: &[&'static dyn SupportedKxGroup],
) -> Option<(String, NamedGroup)> {
    let provider = CryptoProvider { kx_groups: groups.to_vec(), ..aws_lc_rs::default_provider() };
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(ca.roots())
        .with_no_client_auth();
    let stream = TcpStream::connect(site.address).await.unwrap();
    let connect = TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from("a.test").unwrap(), stream);
    let mut io = Io::new(soon(connect).await.ok()?);
    assert_eq!(io.get("/").await.status(), 200);
    let (_, tls) = io.stream.get_ref();
    let suite = tls.negotiated_cipher_suite()?.suite();
    Some((format!("{suite:?}"), tls.negotiated_key_exchange_group()?.name()))
}

#[tokio::test]
async fn the_first_suite_that_the_client_knows_is_taken() {
    use CipherSuite::*;
    let ca = Ca::new("sites");
    let origin = Origin::echo().await;
    let groups = [kx_group::X25519, kx_group::X25519MLKEM768];
    // Keys of the test authority are of ECDSA.
    for (suites, max_version, expected) in [
        (
            vec![Tls13Chacha20Poly1305Sha256, Tls13Aes256GcmSha384],
            TlsVersion::Tls13,
            "TLS13_CHACHA20_POLY1305_SHA256",
        ),
        (vec![Tls13Aes128GcmSha256], TlsVersion::Tls13, "TLS13_AES_128_GCM_SHA256"),
        (
            vec![
                EcdheRsaAes256GcmSha384,
                EcdheEcdsaChacha20Poly1305Sha256,
                EcdheEcdsaAes128GcmSha256,
            ],
            TlsVersion::Tls12,
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        ),
    ] {
        let min_version = max_version;
        let tls =
            ServerTls { min_version, max_version, cipher_suites: suites, ..ServerTls::default() };
        let site = site(&origin, &ca, tls).await;
        assert_eq!(site.plane.applied().borrow().errors, [""; 0]);
        let (suite, _) = agreed(&site, &ca, &groups).await.expect(expected);
        assert_eq!(suite, expected);
    }
}

#[tokio::test]
async fn groups_are_those_of_the_list_and_the_client_may_choose() {
    use KeyExchangeGroup::*;
    let ca = Ca::new("sites");
    let origin = Origin::echo().await;
    let site_with = async |groups: &[KeyExchangeGroup]| {
        let min_version = TlsVersion::Tls13;
        let key_exchange_groups = groups.to_vec();
        site(&origin, &ca, ServerTls { min_version, key_exchange_groups, ..ServerTls::default() })
            .await
    };
    let hybrid_first = [kx_group::X25519MLKEM768, kx_group::X25519];
    for (allowed, expected) in [
        (&[X25519MlKem768][..], Some(NamedGroup::X25519MLKEM768)),
        (&[X25519, X25519MlKem768], Some(NamedGroup::X25519MLKEM768)),
        (&[X25519], Some(NamedGroup::X25519)),
        (&[], Some(NamedGroup::X25519MLKEM768)),
        (&[Secp384r1, Secp256r1MlKem768], None),
    ] {
        let site = site_with(allowed).await;
        let group = agreed(&site, &ca, &hybrid_first).await.map(|(_, group)| group);
        assert_eq!(group, expected, "{allowed:?}");
    }
}

#[tokio::test]
async fn suites_that_no_certificate_can_serve_are_told() {
    use CipherSuite::*;
    let ca = Ca::new("sites");
    let origin = Origin::echo().await;
    let cipher_suites = vec![Tls13Aes128GcmSha256, EcdheRsaAes128GcmSha256];
    let site = site(&origin, &ca, ServerTls { cipher_suites, ..ServerTls::default() }).await;
    let errors = site.plane.applied().borrow().errors.clone();
    assert!(errors[0].contains("no suite of TLS 1.2 for a key of ECDSA"), "{errors:?}");
    assert!(agreed(&site, &ca, &[kx_group::X25519]).await.is_some(), "TLS 1.3 is served");
}

/// Says which suite and group it has agreed on with us.
async fn telling(ca: &Ca, groups: &[&'static dyn SupportedKxGroup]) -> TlsOrigin {
    let provider = CryptoProvider { kx_groups: groups.to_vec(), ..aws_lc_rs::default_provider() };
    let leaf = ca.issue(&["127.0.0.1"]);
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(ALL_VERSIONS)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der()], leaf.key())
        .unwrap();
    TlsOrigin::start(config, |_, mut io| async move {
        while io.message().await.is_some() {
            let tls = io.stream.get_ref().1;
            let suite = tls.negotiated_cipher_suite().unwrap().suite();
            let group = tls.negotiated_key_exchange_group().unwrap().name();
            let text = format!("{suite:?} {group:?}");
            io.send(ok(&text)).await;
        }
    })
    .await
}

#[tokio::test]
async fn members_are_offered_what_their_pool_lists() {
    use CipherSuite::*;
    let ca = Ca::new("members");
    let all = [kx_group::X25519, kx_group::SECP384R1, kx_group::X25519MLKEM768];
    let origin = telling(&ca, &all).await;
    let trusting = PoolTls { ca_pem: Some(ca.pem.clone()), ..PoolTls::default() };
    let mut site = Site::start_with(&[origin.origin.address], |_, _| {}).await;
    for (cipher_suites, key_exchange_groups, max_version, expected) in [
        (
            vec![Tls13Chacha20Poly1305Sha256],
            vec![KeyExchangeGroup::Secp384r1, KeyExchangeGroup::X25519],
            TlsVersion::Tls13,
            "TLS13_CHACHA20_POLY1305_SHA256 secp384r1",
        ),
        (
            vec![Tls13Aes128GcmSha256, Tls13Aes256GcmSha384],
            vec![KeyExchangeGroup::X25519MlKem768],
            TlsVersion::Tls13,
            "TLS13_AES_128_GCM_SHA256 X25519MLKEM768",
        ),
        (
            vec![EcdheEcdsaAes128GcmSha256],
            vec![KeyExchangeGroup::X25519],
            TlsVersion::Tls12,
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 X25519",
        ),
    ] {
        let min_version = max_version;
        site.pool.tls = Some(PoolTls {
            cipher_suites,
            key_exchange_groups,
            min_version,
            max_version,
            ..trusting.clone()
        });
        site.apply().await;
        // Connections that were made otherwise are not used any more.
        assert_eq!(site.connect().await.get("/").await.text(), expected);
    }
}

#[tokio::test]
async fn a_member_that_knows_no_group_of_its_pool_is_told_apart() {
    let ca = Ca::new("members");
    let origin = telling(&ca, &[kx_group::X25519]).await;
    let site = Site::start_with(&[origin.origin.address], |_, pool| {
        pool.tls = Some(PoolTls {
            ca_pem: Some(ca.pem.clone()),
            key_exchange_groups: vec![KeyExchangeGroup::Secp384r1],
            ..PoolTls::default()
        });
    })
    .await;
    assert_eq!(site.connect().await.get("/").await.status(), 502);
    site.failed(FailureReason::UpstreamTlsRefused, 1).await;
}
