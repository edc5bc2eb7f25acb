use ballast_model::UnknownName;

use super::*;

fn unseal() -> Unseal {
    Arc::new(|sealed| Ok(sealed.ciphertext.clone().into_bytes()))
}

/// A self-signed certificate whose key is "sealed" by being put where ciphertext belongs.
fn spec(names: &[&str]) -> CertificateSpec {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let issued = rcgen::generate_simple_self_signed(names).unwrap();
    CertificateSpec {
        chain_pem: issued.cert.pem(),
        private_key_pem: None,
        private_key_sealed: Some(Sealed {
            key_id: 1,
            nonce: String::new(),
            ciphertext: issued.signing_key.serialize_pem(),
        }),
        fingerprint_sha256: None,
    }
}

fn certificate(names: &[&str]) -> Arc<Certificate> {
    Arc::new(Certificate::read(&spec(names), &unseal()).unwrap())
}

#[test]
fn names_are_found_exactly_then_by_wildcard_then_by_default() {
    let (first, second, wild) = (
        certificate(&["a.test"]),
        certificate(&["b.test", "c.x.test"]),
        certificate(&["*.x.test"]),
    );
    let table = SniTable::new(
        &[Arc::clone(&first), Arc::clone(&second), Arc::clone(&wild)],
        UnknownName::Default,
    );
    let is = |name: &str, expected: &Arc<Certificate>| {
        assert!(Arc::ptr_eq(table.find(name).unwrap(), &expected.key), "{name}");
    };
    is("a.test", &first);
    is("B.Test", &second);
    is("c.x.test", &second);
    is("d.x.test", &wild);
    is("e.d.x.test", &first);
    is("x.test", &first);
    is("unknown", &first);
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
