use std::time::Instant;

use ballast_model::CertificateSpec;
use rcgen::{KeyPair, PKCS_RSA_SHA256};

use super::*;
use crate::tls::certificate::tests::{certificate, spec, unseal};

const ALL: &[SignatureScheme] =
    &[SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256];

#[test]
fn names_are_found_exactly_then_by_wildcard_then_by_default() {
    let (first, second, wild) = (
        certificate(&["a.test"]),
        certificate(&["b.Test", "c.x.test"]),
        certificate(&["*.x.test"]),
    );
    let all = [Arc::clone(&first), Arc::clone(&second), Arc::clone(&wild)];
    let table = SniTable::new(&all, UnknownName::Default);
    let is = |name: &str, expected: &Arc<Certificate>| {
        assert!(Arc::ptr_eq(table.find(name).unwrap().of(ALL), expected), "{name}");
    };
    is("a.test", &first);
    is("b.test", &second);
    is("c.x.test", &second);
    is("d.x.test", &wild);
    is("e.d.x.test", &first);
    is("x.test", &first);
    is("unknown", &first);
    let strict = SniTable::new(&all, UnknownName::Refuse);
    for name in ["e.d.x.test", "x.test", "unknown", "", "."] {
        assert!(strict.find(name).is_none(), "{name}");
    }
    assert!(strict.find("d.x.test").is_some());
}

#[test]
fn of_several_for_a_name_the_first_counts_whose_key_the_client_can_use() {
    let (ecdsa, again) = (certificate(&["a.test"]), certificate(&["a.test"]));
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let issued = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
    let rsa = CertificateSpec {
        chain_pem: issued.self_signed(&key).unwrap().pem(),
        private_key_pem: Some(key.serialize_pem()),
        ..CertificateSpec::default()
    };
    let rsa = Arc::new(Certificate::read(&rsa, &unseal()).unwrap());
    let all = [Arc::clone(&ecdsa), again, Arc::clone(&rsa)];
    let table = SniTable::new(&all, UnknownName::Refuse);
    let choice = table.find("a.test").unwrap();
    assert!(Arc::ptr_eq(choice.of(ALL), &ecdsa));
    assert!(Arc::ptr_eq(choice.of(&[SignatureScheme::RSA_PSS_SHA256]), &rsa));
    assert!(
        Arc::ptr_eq(choice.of(&[SignatureScheme::ED25519]), &ecdsa),
        "it is told what there is"
    );
    let nameless = table.default.as_ref().unwrap();
    assert!(Arc::ptr_eq(nameless.of(&[SignatureScheme::RSA_PSS_SHA256]), &rsa));
}

/// A certificate for that many names, half of them wildcards.
fn many(count: usize) -> Vec<Arc<Certificate>> {
    // One key and one signature for all: making 10,000 of them would take minutes.
    let one = spec(&["a.test"]);
    let named = |i: usize| {
        let mut certificate = Certificate::read(&one, &unseal()).unwrap();
        certificate.rename(match i % 2 {
            0 => format!("site-{i}.test"),
            _ => format!("*.site-{i}.test"),
        });
        Arc::new(certificate)
    };
    (0..count).map(named).collect()
}

#[test]
fn ten_thousand_certificates_are_looked_up_as_fast_as_ten_and_without_an_allocation() {
    let (few, many) = (many(10), many(10_000));
    let best_of = |certificates: &[Arc<Certificate>]| {
        let table = SniTable::new(certificates, UnknownName::Refuse);
        let names: Vec<_> = (0..1_000)
            .map(|i| {
                let at = i * 7_919 % certificates.len();
                let star = if at % 2 == 1 { "www." } else { "" };
                format!("{star}site-{at}.test")
            })
            .collect();
        let mut best_us = u128::MAX;
        for _ in 0..20 {
            let begin = Instant::now();
            for name in &names {
                assert!(table.find(name).is_some(), "{name}");
                assert!(table.find("nowhere.at.all").is_none());
            }
            best_us = best_us.min(begin.elapsed().as_micros());
        }
        // A thread's first look at what may be replaced allocates its place among those who look.
        drop(certificates[0].key());
        let allocations = allocation_counter::measure(|| {
            for name in &names {
                std::hint::black_box(table.find(name).map(|choice| choice.of(ALL).key()));
            }
        });
        assert_eq!(allocations.count_total, 0);
        best_us
    };
    let (few_us, many_us) = (best_of(&few), best_of(&many));
    // The larger table lies in slower memory; a search through it would take hundreds of times as long.
    assert!(many_us <= few_us * 4 + 200, "{few_us} µs with 10, {many_us} µs with 10,000");
}
