use rcgen::{BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair};

use super::*;

struct Ca {
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![format!("{name}.Test")]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority(name: &str, by: Option<&Ca>) -> Ca {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let der = match by {
        Some(by) => params.signed_by(&key, &by.issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    Ca { der: der.der().clone(), issuer: Issuer::new(params, key) }
}

fn leaf(by: &Ca, extensions: Vec<CustomExtension>) -> CertificateDer<'static> {
    let mut params = params("leaf");
    params.custom_extensions = extensions;
    params.signed_by(&KeyPair::generate().unwrap(), &by.issuer).unwrap().der().clone()
}

/// `AuthorityInfoAccess` with one location: the last number of the method is 1 for OCSP, 2 for the
/// issuer's certificate.
fn access(method: u8, url: &str) -> CustomExtension {
    let mut description = vec![0x06, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, method, 0x86, url.len() as u8];
    description.extend(url.as_bytes());
    let mut content = vec![0x30, description.len() as u8 + 2, 0x30, description.len() as u8];
    content.extend(description);
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], content)
}

#[test]
fn a_leaf_says_its_names_its_responder_and_that_it_must_be_stapled() {
    let root = authority("root", None);
    let plain = facts(&[leaf(&root, Vec::new()), root.der.clone()]).unwrap();
    assert_eq!(plain.names, ["leaf.test"]);
    assert!(plain.not_before_s < plain.not_after_s);
    assert_eq!((plain.responder_url, plain.must_staple, plain.is_incomplete), (None, false, false));
    let must_staple = vec![0x30, 0x03, 0x02, 0x01, 0x05];
    let must_staple = CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], must_staple);
    let asked = leaf(&root, vec![access(1, "http://ocsp.test/x"), must_staple]);
    let told = facts(&[asked]).unwrap();
    assert_eq!(told.responder_url.as_deref(), Some("http://ocsp.test/x"));
    assert!(told.must_staple);
}

#[test]
fn a_chain_without_the_authority_that_has_to_be_fetched_is_incomplete() {
    let root = authority("root", None);
    let alone = leaf(&root, vec![access(2, "http://ca.test/ca.der")]);
    assert!(facts(std::slice::from_ref(&alone)).unwrap().is_incomplete);
    assert!(!facts(&[alone, root.der]).unwrap().is_incomplete);
}

#[test]
fn who_issued_comes_behind_what_was_issued() {
    let root = authority("root", None);
    let (one, other) = (authority("one", Some(&root)), authority("other", None));
    let leaf = leaf(&one, Vec::new());
    let good = [leaf.clone(), one.der.clone(), root.der.clone()];
    assert_eq!(check_order(&good), Ok(()));
    assert_eq!(check_order(&good[..1]), Ok(()));
    let wrong = |chain: &[&CertificateDer<'static>]| {
        let chain: Vec<_> = chain.iter().map(|der| (*der).clone()).collect();
        match check_order(&chain) {
            Err(ChainError::Order { number, .. }) => number,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(wrong(&[&leaf, &root.der, &one.der]), 2);
    assert_eq!(wrong(&[&one.der, &leaf]), 2);
    assert_eq!(wrong(&[&leaf, &one.der, &other.der]), 3);
}
