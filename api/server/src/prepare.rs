//! Turns what callers send into what may be stored: seals private keys, hashes passwords, makes
//! tokens' secrets, and refuses what only the server may set.
//!
//! What is not valid is left as it is, for the rehearsal to report together with everything else.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ballast_model::spec::user::PASSWORD_MAX_BYTES;
use ballast_model::{
    AnyDraft, CertificateSpec, Config, Draft, FieldErrors, ResourceRef, Spec, TokenSpec, UserSpec,
};
use ballast_raft_store::ClusterKey;
use ballast_tls::ocsp::{self, StapleError, Subject};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::app::{App, sha256_hex};
use crate::auth::{TOKEN_PREFIX, TOKEN_SHOWN_CHARS};
use crate::failure::Answer;

/// Most certificates in a chain.
const CHAIN_MAX_COUNT: usize = 16;

/// Prepares `draft` for storage; notes faults that the model can't see. Returns the secret of a new
/// token, to be shown once.
pub(crate) async fn prepare(
    app: &App,
    config: &Config,
    draft: &mut AnyDraft,
    errors: &mut FieldErrors,
) -> Answer<Option<String>> {
    if let Some(field) = draft.server_only_field() {
        let resource = ResourceRef { kind: draft.kind(), name: draft.name().to_owned() };
        errors.of(resource, |errors| {
            errors.within("spec", |errors| {
                errors.push(field, "server_only_field", "is set by the server only; leave it out");
            });
        });
        return Ok(None);
    }
    match draft {
        AnyDraft::Certificate(draft) => {
            let previous = config.certificates.get(&draft.name).map(|r| &r.spec);
            let resource = resource_of(draft);
            errors.of(resource, |errors| {
                errors.within("spec", |errors| {
                    certificate(app.store.keys(), previous, &mut draft.spec, errors);
                });
            });
            Ok(None)
        }
        AnyDraft::Token(draft) => {
            let is_new = config.tokens.get(&draft.name).is_none();
            Ok(is_new.then(|| new_token(&mut draft.spec)))
        }
        AnyDraft::User(draft) => {
            let previous = config.users.get(&draft.name).map(|r| &r.spec);
            user(app, previous, &mut draft.spec).await?;
            Ok(None)
        }
        AnyDraft::Pool(draft) => {
            let resource = resource_of(draft);
            if let Some(pem) = draft.spec.tls.as_ref().and_then(|tls| tls.ca_pem.as_deref()) {
                errors.of(resource, |errors| {
                    errors.within("spec", |errors| {
                        errors.within("tls", |errors| authorities("ca_pem", pem, errors));
                    });
                });
            }
            Ok(None)
        }
        AnyDraft::JwtProvider(draft) => {
            let resource = resource_of(draft);
            if let Some(pem) = &draft.spec.ca_pem {
                errors.of(resource, |errors| {
                    errors.within("spec", |errors| authorities("ca_pem", pem, errors));
                });
            }
            Ok(None)
        }
        AnyDraft::Monitor(_)
        | AnyDraft::Node(_)
        | AnyDraft::Policy(_)
        | AnyDraft::Region(_)
        | AnyDraft::TrafficGroup(_) => Ok(None),
        AnyDraft::VirtualServer(draft) => {
            let resource = resource_of(draft);
            let auth = draft.spec.tls.as_ref().and_then(|tls| tls.client_auth.as_ref());
            if let Some(auth) = auth {
                errors.of(resource, |errors| {
                    errors.within("spec", |errors| {
                        errors.within("tls", |errors| {
                            errors.within("client_auth", |errors| {
                                authorities("ca_pem", &auth.ca_pem, errors);
                                if let Some(pem) = &auth.crl_pem {
                                    revocations("crl_pem", pem, &auth.ca_pem, errors);
                                }
                            });
                        });
                    });
                });
            }
            Ok(None)
        }
    }
}

fn resource_of<S: Spec>(draft: &Draft<S>) -> ResourceRef {
    ResourceRef { kind: S::KIND, name: draft.name.clone() }
}

fn new_token(spec: &mut TokenSpec) -> String {
    let random: [u8; 32] = rand::random();
    let secret = format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    spec.secret_hash = Some(sha256_hex(secret.as_bytes()));
    spec.prefix = Some(secret.chars().take(TOKEN_SHOWN_CHARS).collect());
    secret
}

async fn user(app: &App, previous: Option<&UserSpec>, spec: &mut UserSpec) -> Answer<()> {
    let Some(password) = spec.password.clone() else { return Ok(()) };
    if password.len() > PASSWORD_MAX_BYTES || !is_acceptable(spec) {
        return Ok(());
    }
    let present = previous.and_then(|previous| previous.password_hash.as_deref());
    let is_unchanged = match present {
        // The same password again is no change: a new salt would make it one.
        Some(hash) => app.passwords.verify(&password, Some(hash)).await?,
        None => false,
    };
    spec.password_hash = match present.filter(|_| is_unchanged) {
        Some(hash) => Some(hash.to_owned()),
        None => Some(app.passwords.hash(&password).await?),
    };
    spec.password = None;
    Ok(())
}

fn is_acceptable(spec: &impl Spec) -> bool {
    let mut errors = FieldErrors::default();
    spec.validate(&mut errors);
    errors.is_empty()
}

fn certificate(
    keys: &ClusterKey,
    previous: Option<&CertificateSpec>,
    spec: &mut CertificateSpec,
    errors: &mut FieldErrors,
) {
    let sealed = previous.and_then(|previous| previous.private_key_sealed.as_ref());
    let present = sealed.and_then(|sealed| keys.open(sealed).ok());
    let Some(chain) = read_chain(&spec.chain_pem, errors) else { return };
    if let Err(error) = ballast_tls::leaf::check_order(&chain) {
        errors.push("chain_pem", "invalid_chain", error.to_string());
    }
    check_staple(&chain, spec, errors);
    spec.fingerprint_sha256 = chain.first().map(|leaf| sha256_hex(leaf));
    let given = spec.private_key_pem.as_ref().map(|pem| pem.clone().into_bytes());
    let Some(key) = given.as_ref().or(present.as_ref()) else { return };
    if !check_key(chain, key, errors) {
        return;
    }
    if let Some(given) = given {
        // The same key again is no change: a new nonce would make it one.
        let is_unchanged = present.as_deref() == Some(&given[..]);
        spec.private_key_sealed = match sealed.filter(|_| is_unchanged) {
            Some(sealed) => Some(sealed.clone()),
            None => Some(keys.seal(&given)),
        };
        spec.private_key_pem = None;
    }
}

/// Checks that what is stapled to the certificate is about it, or that there is somebody to ask.
fn check_staple(chain: &[CertificateDer<'_>], spec: &CertificateSpec, errors: &mut FieldErrors) {
    if let Some(text) = &spec.ocsp_response {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_s = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let read =
            ocsp::from_text(text).and_then(|der| Subject::of_chain(chain)?.staple(&der, now_s));
        match read {
            // The same declaration may be made again later: the status tells of it.
            Ok(_) | Err(StapleError::Expired) => {}
            Err(error) => {
                errors.push(
                    "ocsp_response",
                    "invalid_ocsp_response",
                    format!("can't be used: {error}"),
                );
            }
        }
    }
    if spec.ocsp_fetch {
        let has_responder =
            ballast_tls::leaf::facts(chain).is_ok_and(|facts| facts.responder_url.is_some());
        errors.require(has_responder, "ocsp_fetch", "not_allowed", || {
            "needs a certificate that names a responder of OCSP with http".to_owned()
        });
        if let Err(error) = Subject::of_chain(chain) {
            errors.push("ocsp_fetch", "not_allowed", error.to_string());
        }
    }
}

/// The chain, unless it is at fault. A text without any certificate is the model's to report.
fn read_chain(pem: &str, errors: &mut FieldErrors) -> Option<Vec<CertificateDer<'static>>> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(pem.as_bytes()).take(CHAIN_MAX_COUNT + 1).collect();
    match chain {
        Ok(chain) if chain.is_empty() => None,
        Ok(chain) if chain.len() > CHAIN_MAX_COUNT => {
            let message = format!("holds more than {CHAIN_MAX_COUNT} certificates");
            errors.push("chain_pem", "invalid_certificate", message);
            None
        }
        Ok(chain) => Some(chain),
        Err(error) => {
            errors.push("chain_pem", "invalid_pem", format!("is not PEM: {error}"));
            None
        }
    }
}

/// Checks certificates of authorities. A text without any is the model's to report.
fn authorities(field: &str, pem: &str, errors: &mut FieldErrors) {
    let mut roots = RootCertStore::empty();
    for (number, der) in (1..).zip(CertificateDer::pem_slice_iter(pem.as_bytes())) {
        let der = match der {
            Ok(der) => der,
            Err(error) => return errors.push(field, "invalid_pem", format!("is not PEM: {error}")),
        };
        if let Err(error) = roots.add(der) {
            let message = format!("its certificate {number} can't be used: {error}");
            return errors.push(field, "invalid_certificate", message);
        }
    }
}

/// Notes why lists of revoked certificates can't be used.
fn revocations(field: &str, pem: &str, authorities_pem: &str, errors: &mut FieldErrors) {
    let mut roots = RootCertStore::empty();
    for der in CertificateDer::pem_slice_iter(authorities_pem.as_bytes()).flatten() {
        // What can't be used is said where it stands.
        let _is_noted = roots.add(der);
    }
    if roots.is_empty() {
        return;
    }
    for (number, der) in (1..).zip(CertificateRevocationListDer::pem_slice_iter(pem.as_bytes())) {
        let der = match der {
            Ok(der) => der,
            Err(error) => return errors.push(field, "invalid_pem", format!("is not PEM: {error}")),
        };
        // Whose they are does not matter for reading them.
        let verifier = WebPkiClientVerifier::builder_with_provider(
            Arc::new(roots.clone()),
            Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
        );
        if let Err(error) = verifier.with_crls([der]).build() {
            let message = format!("its list {number} can't be used: {error}");
            return errors.push(field, "invalid_certificate", message);
        }
    }
}

fn check_key(chain: Vec<CertificateDer<'static>>, pem: &[u8], errors: &mut FieldErrors) -> bool {
    let key = match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => key,
        Err(error) => {
            let message = format!("is no private key in PEM (PKCS #8, PKCS #1 or SEC 1): {error}");
            errors.push("private_key_pem", "invalid_pem", message);
            return false;
        }
    };
    let key = match rustls::crypto::aws_lc_rs::sign::any_supported_type(&key) {
        Ok(key) => key,
        Err(error) => {
            let message = format!("is of a kind that can't be used: {error}");
            errors.push("private_key_pem", "unsupported_key", message);
            return false;
        }
    };
    match CertifiedKey::new(chain, key).keys_match() {
        Ok(()) => true,
        Err(rustls::Error::InconsistentKeys(_)) => {
            let message = "does not belong to the first certificate of chain_pem";
            errors.push("private_key_pem", "key_mismatch", message);
            false
        }
        Err(error) => {
            let message = format!("its first certificate can't be used: {error}");
            errors.push("chain_pem", "invalid_certificate", message);
            false
        }
    }
}
