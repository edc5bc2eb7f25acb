//! OCSP (RFC 6960): asking whether a certificate was revoked, and looking at the answer before it is
//! stapled to handshakes.
//!
//! Invariant: a [`Staple`] is for one certificate, says that it is good, was signed by who issued it
//! or by whom that one has appointed, and was in time when it was read.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::aws_lc_rs as provider;
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;

use self::der::{Der, encode};

mod der;

/// Largest answer that is read, in bytes.
pub const RESPONSE_MAX_BYTES: usize = 64 * 1024;
/// How far the responder's clock may be ahead of ours, in s.
const SKEW_S: i64 = 300;
/// How long an answer is used that does not say when the next comes, in s.
const UNTOLD_LIFETIME_S: i64 = 12 * 3_600;
/// Most certificates in an answer that are looked at.
const RESPONDER_MAX_COUNT: usize = 4;
/// Most statuses in an answer that are looked at.
const SINGLE_MAX_COUNT: usize = 64;

const OID_SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
const OID_SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
/// id-pkix-ocsp-basic (RFC 6960 §4.2.1).
const OID_BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];

/// An answer that may be stapled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staple {
    /// As it came.
    pub der: Vec<u8>,
    /// Since when it is what is known, in s since the Unix epoch.
    pub this_update_s: i64,
    /// Until when it may be stapled, in s since the Unix epoch.
    pub next_update_s: i64,
}

/// Why an answer is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StapleError {
    /// It is no OCSP response.
    #[error("it is no OCSP response")]
    Malformed,
    /// The text is no base64.
    #[error("it is neither PEM nor base64")]
    Text,
    /// The chain holds one certificate only.
    #[error("the chain lacks who issued the certificate, without whom nobody can be asked")]
    NoIssuer,
    /// A certificate of the chain can't be read.
    #[error("the chain can't be read")]
    Chain,
    /// The responder would not answer.
    #[error("the responder says {0}")]
    Refused(&'static str),
    /// It is about others.
    #[error("it is about another certificate")]
    OtherCertificate,
    /// It was revoked.
    #[error("the certificate was revoked")]
    Revoked,
    /// The responder does not know it.
    #[error("the responder does not know the certificate")]
    Unknown,
    /// The signature is not good.
    #[error("it was not signed by who issued the certificate, nor by whom they appointed")]
    Signature,
    /// It begins to be good later.
    #[error("it is from the future: some clock is wrong")]
    Early,
    /// It is not good any more.
    #[error("its time is over")]
    Expired,
}

/// A certificate and who issued it, about whom one is asked.
#[derive(Debug)]
pub struct Subject<'a> {
    leaf: X509Certificate<'a>,
    issuer: X509Certificate<'a>,
}

impl<'a> Subject<'a> {
    /// The leaf of a chain.
    ///
    /// # Errors
    /// The issuer is not in it, or it can't be read.
    pub fn of_chain(chain: &'a [CertificateDer<'_>]) -> Result<Self, StapleError> {
        let read = |der: &'a CertificateDer<'_>| match x509_parser::parse_x509_certificate(der) {
            Ok((_, read)) => Ok(read),
            Err(_) => Err(StapleError::Chain),
        };
        let Some((leaf, rest)) = chain.split_first() else { return Err(StapleError::NoIssuer) };
        let leaf = read(leaf)?;
        for der in rest {
            let issuer = read(der)?;
            if issuer.subject().as_raw() == leaf.issuer().as_raw() {
                return Ok(Self { leaf, issuer });
            }
        }
        Err(StapleError::NoIssuer)
    }

    /// The request to send to the responder (RFC 6960 §4.1.1), with SHA-1 as every responder knows it
    /// (RFC 5019 §2.1.1): it only names the issuer.
    pub fn request(&self) -> Vec<u8> {
        let [name, key] = self.issuer_hashes(&digest::SHA1_FOR_LEGACY_USE_ONLY);
        let algorithm = encode(0x30, &[&encode(0x06, &[OID_SHA1]), &[0x05, 0x00]]);
        let id = encode(
            0x30,
            &[
                &algorithm,
                &encode(0x04, &[name.as_ref()]),
                &encode(0x04, &[key.as_ref()]),
                &encode(0x02, &[self.leaf.raw_serial()]),
            ],
        );
        // OCSPRequest { tbsRequest { requestList { Request { reqCert } } } }
        encode(0x30, &[&encode(0x30, &[&encode(0x30, &[&encode(0x30, &[&id])])])])
    }

    /// Looks at an answer. `now_s` is the time since the Unix epoch.
    ///
    /// # Errors
    /// Why it may not be stapled.
    pub fn staple(&self, response: &[u8], now_s: i64) -> Result<Staple, StapleError> {
        if response.len() > RESPONSE_MAX_BYTES {
            return Err(StapleError::Malformed);
        }
        let basic = basic_response(response)?;
        self.check_signature(&basic, now_s)?;
        let single = self.find(basic.responses)?;
        if single.this_update_s > now_s + SKEW_S {
            return Err(StapleError::Early);
        }
        let next_update_s =
            single.next_update_s.unwrap_or(single.this_update_s + UNTOLD_LIFETIME_S);
        if next_update_s <= now_s {
            return Err(StapleError::Expired);
        }
        single.status?;
        let this_update_s = single.this_update_s;
        Ok(Staple { der: response.to_vec(), this_update_s, next_update_s })
    }

    fn issuer_hashes(&self, algorithm: &'static digest::Algorithm) -> [digest::Digest; 2] {
        let name = digest::digest(algorithm, self.issuer.subject().as_raw());
        let key = &self.issuer.public_key().subject_public_key.data;
        [name, digest::digest(algorithm, key)]
    }

    /// What is said of the leaf.
    fn find(&self, responses: Der<'_>) -> Result<Single, StapleError> {
        let mut responses = responses;
        for _ in 0..SINGLE_MAX_COUNT {
            if responses.is_empty() {
                break;
            }
            let mut single = responses.read(0x30)?;
            let mut id = single.read(0x30)?;
            if self.is_named(&mut id)? {
                return Single::read(single);
            }
        }
        Err(StapleError::OtherCertificate)
    }

    /// Whether a `CertID` is that of the leaf.
    fn is_named(&self, id: &mut Der<'_>) -> Result<bool, StapleError> {
        let algorithm = match id.read(0x30)?.read(0x06)?.bytes() {
            OID_SHA1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            OID_SHA256 => &digest::SHA256,
            _ => return Ok(false),
        };
        let told = [id.read(0x04)?, id.read(0x04)?];
        let serial = id.read(0x02)?;
        let known = self.issuer_hashes(algorithm);
        let is_issuer = told.iter().zip(&known).all(|(told, known)| told.bytes() == known.as_ref());
        Ok(is_issuer && serial.bytes() == self.leaf.raw_serial())
    }

    /// RFC 6960 §4.2.2.2: by who issued the certificate, or by one that has their word for it.
    fn check_signature(&self, basic: &Basic<'_>, now_s: i64) -> Result<(), StapleError> {
        let is_signed = |by: &X509Certificate<'_>| {
            let key = by.public_key().raw;
            verifies(key, basic.algorithm, basic.signed, basic.signature)
        };
        if is_signed(&self.issuer) {
            return Ok(());
        }
        let Some(mut certificates) = basic.certificates else { return Err(StapleError::Signature) };
        for _ in 0..RESPONDER_MAX_COUNT {
            if certificates.is_empty() {
                break;
            }
            let whole = certificates.read_whole()?;
            let Ok((_, responder)) = x509_parser::parse_x509_certificate(whole) else { continue };
            if self.is_appointed(&responder, whole, now_s) && is_signed(&responder) {
                return Ok(());
            }
        }
        Err(StapleError::Signature)
    }

    fn is_appointed(&self, responder: &X509Certificate<'_>, whole: &[u8], now_s: i64) -> bool {
        let usage = responder.extended_key_usage().ok().flatten();
        let validity = responder.validity();
        let is_in_time =
            (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now_s);
        let is_meant = usage.is_some_and(|usage| usage.value.ocsp_signing);
        is_meant
            && is_in_time
            && responder.issuer().as_raw() == self.issuer.subject().as_raw()
            && was_issued_by(whole, &self.issuer).unwrap_or(false)
    }
}

/// Reads an answer from text: PEM of whatever label, or base64.
///
/// # Errors
/// It is neither.
pub fn from_text(text: &str) -> Result<Vec<u8>, StapleError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
    let base64: String = lines.flat_map(str::chars).filter(|c| !c.is_whitespace()).collect();
    let der = STANDARD.decode(base64).map_err(|_| StapleError::Text)?;
    if der.is_empty() { Err(StapleError::Text) } else { Ok(der) }
}

/// A `BasicOCSPResponse`, taken apart.
struct Basic<'a> {
    /// What the signature is over.
    signed: &'a [u8],
    responses: Der<'a>,
    /// The content of the `AlgorithmIdentifier`.
    algorithm: &'a [u8],
    signature: &'a [u8],
    certificates: Option<Der<'a>>,
}

fn basic_response(response: &[u8]) -> Result<Basic<'_>, StapleError> {
    let mut response = Der::new(response).read(0x30)?;
    match response.read(0x0a)?.bytes() {
        [0] => {}
        [1] => return Err(StapleError::Refused("that the request is malformed")),
        [2] => return Err(StapleError::Refused("that it has an internal error")),
        [3] => return Err(StapleError::Refused("to try later")),
        [6] => return Err(StapleError::Refused("that it answers others only")),
        _ => return Err(StapleError::Refused("no more than that it failed")),
    }
    let mut bytes = response.read(0xa0)?.read(0x30)?;
    if bytes.read(0x06)?.bytes() != OID_BASIC {
        return Err(StapleError::Malformed);
    }
    let mut basic = Der::new(bytes.read(0x04)?.bytes()).read(0x30)?;
    let signed = basic.read_whole()?;
    let algorithm = basic.read(0x30)?.bytes();
    // A bit string of whole bytes.
    let [0, signature @ ..] = basic.read(0x03)?.bytes() else { return Err(StapleError::Malformed) };
    let certificates = if basic.is_empty() { None } else { Some(basic.read(0xa0)?.read(0x30)?) };
    let mut data = Der::new(signed).read(0x30)?;
    data.skip_if(0xa0)?;
    // Who it is that answers: whose key it is says more.
    data.read_whole()?;
    data.read(0x18)?;
    Ok(Basic { signed, responses: data.read(0x30)?, algorithm, signature, certificates })
}

/// What is said of one certificate.
struct Single {
    status: Result<(), StapleError>,
    this_update_s: i64,
    next_update_s: Option<i64>,
}

impl Single {
    fn read(mut single: Der<'_>) -> Result<Self, StapleError> {
        let status = match single.tag()? {
            0x80 => Ok(()),
            0xa1 => Err(StapleError::Revoked),
            _ => Err(StapleError::Unknown),
        };
        single.read_whole()?;
        let this_update_s = single.read_time()?;
        let next_update_s = match single.skip_if(0xa0)? {
            Some(mut next) => Some(next.read_time()?),
            None => None,
        };
        Ok(Self { status, this_update_s, next_update_s })
    }
}

/// Whether the certificate in `whole` was signed with the key of `issuer`.
fn was_issued_by(whole: &[u8], issuer: &X509Certificate<'_>) -> Result<bool, StapleError> {
    let mut certificate = Der::new(whole).read(0x30)?;
    let signed = certificate.read_whole()?;
    let algorithm = certificate.read(0x30)?.bytes();
    let [0, signature @ ..] = certificate.read(0x03)?.bytes() else { return Ok(false) };
    Ok(verifies(issuer.public_key().raw, algorithm, signed, signature))
}

/// Whether the signature is good. `key` is a `SubjectPublicKeyInfo`, `algorithm` the content of an
/// `AlgorithmIdentifier`.
fn verifies(key: &[u8], algorithm: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    let read = || -> Result<(&[u8], &[u8]), StapleError> {
        let mut key = Der::new(key).read(0x30)?;
        let of = key.read(0x30)?.bytes();
        let [0, key @ ..] = key.read(0x03)?.bytes() else { return Err(StapleError::Malformed) };
        Ok((of, key))
    };
    let Ok((key_algorithm, key)) = read() else { return false };
    let known = provider::default_provider().signature_verification_algorithms.all;
    known.iter().any(|known| {
        *known.signature_alg_id() == *algorithm
            && *known.public_key_alg_id() == *key_algorithm
            && known.verify_signature(key, signed, signature).is_ok()
    })
}

#[cfg(test)]
mod tests;
