//! Against answers of OpenSSL's responder.

use std::path::Path;
use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P384_SHA384, SerialNumber,
};
use tempfile::TempDir;

use super::*;

const DAY_S: i64 = 24 * 3_600;

/// An authority with a responder of OpenSSL's.
struct Authority {
    dir: TempDir,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), certificate.pem()).unwrap();
        std::fs::write(dir.path().join("ca.key"), key.serialize_pem()).unwrap();
        Self { dir, der: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    fn issue(&self, serial: u8) -> CertificateDer<'static> {
        self.issue_as(serial, "leaf", |_| {})
    }

    /// Issues one and keeps it and its key under that name.
    fn issue_as(
        &self,
        serial: u8,
        name: &str,
        adjust: impl FnOnce(&mut CertificateParams),
    ) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from_slice(&[serial]));
        adjust(&mut params);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        certificate.der().clone()
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.dir.path().join(file)
    }

    /// What the responder, whose certificate has that name, answers, where `index` is its list of
    /// states and serial numbers.
    fn answer(&self, request: &[u8], index: &[(char, u8)], by: &str) -> Vec<u8> {
        let lines: String = index.iter().map(|(state, serial)| line(*state, *serial)).collect();
        std::fs::write(self.path("index"), lines).unwrap();
        std::fs::write(self.path("request"), request).unwrap();
        openssl(self.dir.path(), by);
        std::fs::read(self.path("answer")).unwrap()
    }
}

/// A line of the text database of `openssl ca`.
fn line(state: char, serial: u8) -> String {
    let revoked = if state == 'R' { "240101000000Z" } else { "" };
    format!("{state}\t400101000000Z\t{revoked}\t{serial:02X}\tunknown\t/CN=leaf\n")
}

fn openssl(dir: &Path, by: &str) {
    let arguments = format!(
        "ocsp -index index -CA ca.pem -rsigner {by}.pem -rkey {by}.key -reqin request -respout answer \
         -ndays 1"
    );
    let done = Command::new("openssl").current_dir(dir).args(arguments.split(' ')).output();
    let done = done.expect("openssl");
    assert!(done.status.success(), "{done:?}");
}

fn now_s() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_secs().try_into().unwrap()
}

#[test]
fn an_answer_of_the_issuer_is_good_until_its_time_is_over() {
    let ca = Authority::new("ca");
    let chain = [ca.issue(0x81), ca.der.clone()];
    let subject = Subject::of_chain(&chain).unwrap();
    let answer = ca.answer(&subject.request(), &[('V', 0x81)], "ca");
    let now_s = now_s();
    let staple = subject.staple(&answer, now_s).unwrap();
    assert_eq!(staple.der, answer);
    assert!((now_s - 60..=now_s + 60).contains(&staple.this_update_s));
    assert!((now_s + DAY_S - 60..=now_s + DAY_S + 60).contains(&staple.next_update_s));
    let at = |now_s| subject.staple(&answer, now_s).map(|_| ());
    assert_eq!(at(staple.next_update_s - 1), Ok(()));
    assert_eq!(at(staple.next_update_s), Err(StapleError::Expired));
    assert_eq!(at(staple.this_update_s - SKEW_S), Ok(()));
    assert_eq!(at(staple.this_update_s - SKEW_S - 1), Err(StapleError::Early));
}

#[test]
fn what_is_not_good_is_never_stapled() {
    let ca = Authority::new("ca");
    let chain = [ca.issue(5), ca.der.clone()];
    let subject = Subject::of_chain(&chain).unwrap();
    let with = |index: &[(char, u8)]| {
        let answer = ca.answer(&subject.request(), index, "ca");
        subject.staple(&answer, now_s()).map(|_| ())
    };
    assert_eq!(with(&[('R', 5)]), Err(StapleError::Revoked));
    assert_eq!(with(&[('V', 6)]), Err(StapleError::Unknown));
    assert_eq!(with(&[('V', 5)]), Ok(()));
}

#[test]
fn an_answer_about_another_certificate_or_of_another_authority_is_refused() {
    let (ca, other) = (Authority::new("ca"), Authority::new("ca"));
    let chain = [ca.issue(5), ca.der.clone()];
    let sibling = [ca.issue(6), ca.der.clone()];
    let subject = Subject::of_chain(&chain).unwrap();
    let answer = ca.answer(&Subject::of_chain(&sibling).unwrap().request(), &[('V', 6)], "ca");
    assert_eq!(subject.staple(&answer, now_s()), Err(StapleError::OtherCertificate));
    // The same name and serial number, another key.
    let forged = [other.issue(5), other.der.clone()];
    let request = Subject::of_chain(&forged).unwrap().request();
    let answer = other.answer(&request, &[('V', 5)], "ca");
    assert_eq!(subject.staple(&answer, now_s()), Err(StapleError::Signature));
}

#[test]
fn a_responder_needs_the_issuers_word_for_it() {
    let ca = Authority::new("ca");
    let chain = [ca.issue(5), ca.der.clone()];
    let subject = Subject::of_chain(&chain).unwrap();
    ca.issue_as(7, "responder", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
    });
    ca.issue_as(8, "stranger", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let by = |name: &str| {
        let answer = ca.answer(&subject.request(), &[('V', 5)], name);
        subject.staple(&answer, now_s()).map(|_| ())
    };
    assert_eq!(by("responder"), Ok(()));
    assert_eq!(by("stranger"), Err(StapleError::Signature));
}

#[test]
fn a_bit_turned_anywhere_makes_no_good_answer_and_no_panic() {
    let ca = Authority::new("ca");
    let chain = [ca.issue(5), ca.der.clone()];
    let subject = Subject::of_chain(&chain).unwrap();
    let good = ca.answer(&subject.request(), &[('V', 5)], "ca");
    let signed = basic_response(&good).unwrap().signed;
    let begin = good.windows(signed.len()).position(|window| window == signed).unwrap();
    for at in 0..good.len() {
        let mut turned = good.clone();
        turned[at] ^= 1;
        let read = subject.staple(&turned, now_s());
        let is_signed = (begin..begin + signed.len()).contains(&at);
        assert!(!is_signed || read.is_err(), "byte {at}");
        assert!(subject.staple(&good[..at], now_s()).is_err(), "cut at {at}");
    }
}

#[test]
fn refusals_and_texts_are_told_apart() {
    let ca = Authority::new("ca");
    let chain = [ca.issue(5), ca.der.clone()];
    let subject = Subject::of_chain(&chain).unwrap();
    let later = subject.staple(&[0x30, 0x03, 0x0a, 0x01, 0x03], now_s());
    assert_eq!(later, Err(StapleError::Refused("to try later")));
    assert_eq!(subject.staple(b"<html>", now_s()), Err(StapleError::Malformed));
    assert!(matches!(Subject::of_chain(&chain[..1]), Err(StapleError::NoIssuer)));
    let pem = "-----BEGIN OCSP RESPONSE-----\nAQID\nBA==\n-----END OCSP RESPONSE-----\n";
    assert_eq!(from_text(pem), Ok(vec![1, 2, 3, 4]));
    assert_eq!(from_text(" AQIDBA== "), Ok(vec![1, 2, 3, 4]));
    assert_eq!(from_text("?"), Err(StapleError::Text));
    assert_eq!(from_text(""), Err(StapleError::Text));
    let long = vec![0x30; RESPONSE_MAX_BYTES + 1];
    assert_eq!(subject.staple(&long, now_s()), Err(StapleError::Malformed));
}
