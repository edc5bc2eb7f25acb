//! Authorities and certificates, and origins that speak TLS.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ballast_model::{AnyDraft, CertificateSpec, Draft, Edit};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::harness::*;

/// An authority.
pub(crate) struct Ca {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) pem: String,
    pub(crate) key_pem: String,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for those names and addresses.
    pub(crate) fn issue(&self, names: &[&str]) -> Leaf {
        self.issue_as(names, |_| {})
    }

    /// The same with what `adjust` makes of it.
    pub(crate) fn issue_as(
        &self,
        names: &[&str],
        adjust: impl FnOnce(&mut CertificateParams),
    ) -> Leaf {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, "leaf");
        adjust(&mut params);
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Leaf { pem, key_pem: key.serialize_pem() }
    }

    /// One that expired long ago.
    pub(crate) fn issue_expired(&self, names: &[&str]) -> Leaf {
        self.issue_as(names, |params| {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        })
    }

    pub(crate) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        roots
    }
}

impl Leaf {
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).unwrap()
    }

    /// Declares it under that name.
    pub(crate) fn put(&self, name: &str) -> Edit {
        let spec = CertificateSpec {
            chain_pem: self.pem.clone(),
            private_key_pem: Some(self.key_pem.clone()),
            ..CertificateSpec::default()
        };
        Edit::put(AnyDraft::Certificate(Draft::new(name, spec)), format!("{name}-uid"))
    }

    /// A server that shows it, and asks clients for a certificate of `clients`, if given.
    pub(crate) fn server(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        clients: Option<&Ca>,
    ) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let roots = Arc::new(ca.roots());
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        builder.with_single_cert(vec![self.der()], self.key()).unwrap()
    }
}

/// An origin that speaks TLS.
pub(crate) struct TlsOrigin {
    pub(crate) origin: Origin,
    resumed: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
}

pub(crate) type TlsIo = Io<TlsStream<TcpStream>>;

impl TlsOrigin {
    /// Calls `serve` with each connection whose handshake succeeded, and its number, from 0.
    pub(crate) async fn start<F, Fut>(config: ServerConfig, serve: F) -> Self
    where
        F: Fn(usize, TlsIo) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (resumed, refused): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
        let counts = (Arc::clone(&resumed), Arc::clone(&refused));
        let serve = Arc::new(serve);
        let origin = Origin::start(move |number, io: Io| {
            let (acceptor, serve) = (acceptor.clone(), Arc::clone(&serve));
            let (resumed, refused) = counts.clone();
            async move {
                let Ok(stream) = acceptor.accept(io.stream).await else {
                    refused.fetch_add(1, Ordering::SeqCst);
                    return;
                };
                if stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
                    resumed.fetch_add(1, Ordering::SeqCst);
                }
                serve(number, Io::new(stream)).await;
            }
        });
        Self { origin: origin.await, resumed, refused }
    }

    /// Answers every request with its own head and body.
    pub(crate) async fn echo(config: ServerConfig) -> Self {
        Self::start(config, |_, mut io| async move {
            while let Some(request) = io.message().await {
                let body = format!("{}{}", request.head, request.text());
                if io.try_send(ok(&body)).await.is_err() {
                    break;
                }
            }
        })
        .await
    }

    /// Handshakes that resumed a session.
    pub(crate) fn resumed(&self) -> usize {
        self.resumed.load(Ordering::SeqCst)
    }

    /// Handshakes that failed.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }
}
