use super::*;

pub(crate) fn unseal() -> Unseal {
    Arc::new(|sealed| Ok(sealed.ciphertext.clone().into_bytes()))
}

/// A self-signed certificate whose key is "sealed" by being put where ciphertext belongs.
pub(crate) fn spec(names: &[&str]) -> CertificateSpec {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let issued = rcgen::generate_simple_self_signed(names).unwrap();
    CertificateSpec {
        chain_pem: issued.cert.pem(),
        private_key_sealed: Some(Sealed {
            key_id: 1,
            nonce: String::new(),
            ciphertext: issued.signing_key.serialize_pem(),
        }),
        ..CertificateSpec::default()
    }
}

pub(crate) fn certificate(names: &[&str]) -> Arc<Certificate> {
    Arc::new(Certificate::read(&spec(names), &unseal()).unwrap())
}

#[test]
fn a_revision_is_read_once() {
    let mut store = CertificateStore::new(unseal());
    let mut resource = Resource {
        name: "c".to_owned(),
        labels: Default::default(),
        description: String::new(),
        spec: spec(&["a.test"]),
        uid: "uid".to_owned(),
        revision: 1,
        created_at_ms: 0,
        updated_at_ms: 0,
    };
    let first = store.certificate(&resource).unwrap();
    assert!(Arc::ptr_eq(&first, &store.certificate(&resource).unwrap()));
    resource.revision = 2;
    assert!(!Arc::ptr_eq(&first, &store.certificate(&resource).unwrap()));
    store.retain(|_| false);
    assert!(store.read.is_empty());
}

#[test]
fn what_cannot_be_used_is_said_plainly() {
    let refused = |spec: &CertificateSpec, unseal: &Unseal| {
        Certificate::read(spec, unseal).map(|_| ()).unwrap_err().to_string()
    };
    let good = spec(&["a.test"]);
    let sealed: Unseal = Arc::new(|_| Err("the key is another cluster's".to_owned()));
    assert_eq!(
        refused(&good, &sealed),
        "the private key can't be read: the key is another cluster's"
    );
    let other = CertificateSpec {
        private_key_sealed: spec(&["a.test"]).private_key_sealed,
        ..good.clone()
    };
    assert!(refused(&other, &unseal()).starts_with("the private key does not fit: "));
    let no_chain = CertificateSpec { chain_pem: "hello".to_owned(), ..good };
    assert_eq!(refused(&no_chain, &unseal()), "the chain can't be read: it holds no certificate");
}

#[test]
fn states_change_at_their_limits() {
    let mut with_days = spec(&["a.test"]);
    with_days.expiry_warning_days = 10;
    let certificate = Certificate::read(&with_days, &unseal()).unwrap();
    let (begin, end) = (certificate.facts.not_before_s, certificate.facts.not_after_s);
    use CertificateState::{Expired, Expiring, NotYetValid, Valid};
    for (now_s, expected) in [
        (begin - 1, NotYetValid),
        (begin, Valid),
        (end - 10 * DAY_S, Valid),
        (end - 10 * DAY_S + 1, Expiring),
        (end, Expiring),
        (end + 1, Expired),
    ] {
        assert_eq!(certificate.status(now_s).state, expected, "{}", now_s - end);
    }
    let problems = |now_s| certificate.status(now_s).problems;
    assert_eq!(problems(begin), [""; 0]);
    assert_eq!(problems(end - 9 * DAY_S), ["expires in 9 days"]);
    assert_eq!(problems(end - DAY_S), ["expires in 1 day"]);
    assert_eq!(problems(end - 7_200), ["expires in 2 h"]);
    assert_eq!(problems(end + 2 * DAY_S), ["expired 2 days ago"]);
}

#[test]
fn a_certificate_that_wants_a_staple_and_can_have_none_says_why() {
    let mut wanting = spec(&["a.test"]);
    wanting.ocsp_fetch = true;
    let certificate = Certificate::read(&wanting, &unseal()).unwrap();
    let request = certificate.staple_request().unwrap();
    assert!(request.unwrap_err().contains("names no responder"));
    let mut given = spec(&["a.test"]);
    given.ocsp_response = Some("AAAA".to_owned());
    let certificate = Certificate::read(&given, &unseal()).unwrap();
    let problems = certificate.status(certificate.facts.not_before_s).problems;
    assert!(problems[0].starts_with("OCSP: the chain lacks who issued"), "{problems:?}");
    assert!(certificate.key().ocsp.is_none(), "and it is used without");
}
