use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

fn options() -> InitOptions {
    InitOptions {
        cluster_name: "edge".to_owned(),
        node_name: "a".to_owned(),
        role: NodeRole::Traffic,
        cluster_address: "127.0.0.1:7443".to_owned(),
        api_addresses: vec!["127.0.0.1:8443".to_owned()],
        admin_password: None,
    }
}

#[test]
fn identity_is_read_back_as_it_was_made() {
    let directory = TempDir::new().unwrap();
    let report = init(directory.path(), &options()).unwrap();
    let identity = load(directory.path()).unwrap();
    assert_eq!((identity.node_id(), identity.node_name()), (1, "a"));
    assert_eq!(identity.cluster_uid(), report.cluster_uid);
    assert_eq!(identity.ca_fingerprint_sha256(), report.ca_fingerprint_sha256);
    assert_eq!(identity.authority().unwrap().fingerprint(), report.ca_fingerprint_sha256);
}

#[test]
fn secrets_are_for_the_owner_alone() {
    let directory = TempDir::new().unwrap();
    init(directory.path(), &options()).unwrap();
    let identity = directory.path().join("identity");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&identity), 0o700);
    for file in std::fs::read_dir(&identity).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn identity_is_never_written_over() {
    let directory = TempDir::new().unwrap();
    init(directory.path(), &options()).unwrap();
    let again = init(directory.path(), &options());
    assert!(matches!(again, Err(IdentityError::Exists { .. })));
}

#[test]
fn half_made_identity_does_not_count() {
    let directory = TempDir::new().unwrap();
    std::fs::create_dir(directory.path().join("identity.unfinished")).unwrap();
    assert!(matches!(load(directory.path()), Err(IdentityError::Missing { .. })));
    init(directory.path(), &options()).unwrap();
    load(directory.path()).unwrap();
}

#[test]
fn setup_code_is_known_however_it_is_typed() {
    let directory = TempDir::new().unwrap();
    let code = init(directory.path(), &options()).unwrap().setup_code.unwrap();
    assert_eq!(code.len(), CODE_CHARS + 2);
    let bootstrap = load(directory.path()).unwrap().read_bootstrap().unwrap().unwrap();
    let CommandBody::Bootstrap { setup_code_hash: Some(stored), .. } = bootstrap.body else {
        panic!("no code in the first command");
    };
    for typed in [code.clone(), code.to_lowercase(), code.replace('-', " "), code.replace('0', "o")]
    {
        assert_eq!(setup_code_hash(&typed), stored, "{typed}");
    }
    assert_ne!(setup_code_hash("0000-0000-0000"), stored);
}

#[test]
fn password_makes_an_administrator_instead_of_a_code() {
    let directory = TempDir::new().unwrap();
    let password = Some("correct horse".to_owned());
    let report = init(directory.path(), &InitOptions { admin_password: password, ..options() });
    assert!(report.unwrap().setup_code.is_none());
    let bootstrap = load(directory.path()).unwrap().read_bootstrap().unwrap().unwrap();
    let mut state = ballast_model::State::default();
    state.apply(1, &bootstrap);
    let admin = state.config.users.get("admin").unwrap();
    assert_eq!((admin.spec.role, &admin.spec.password), (Role::Admin, &None));
    assert!(admin.spec.password_hash.as_ref().unwrap().starts_with("$argon2id$"));
}

#[test]
fn bad_options_leave_nothing_behind() {
    let directory = TempDir::new().unwrap();
    let bad = [
        InitOptions { node_name: "no spaces".to_owned(), ..options() },
        InitOptions { cluster_name: String::new(), ..options() },
        InitOptions { cluster_address: String::new(), ..options() },
        InitOptions { admin_password: Some("short".to_owned()), ..options() },
    ];
    for options in bad {
        assert!(matches!(init(directory.path(), &options), Err(IdentityError::Invalid(_))));
        assert!(matches!(load(directory.path()), Err(IdentityError::Missing { .. })));
    }
}

#[test]
fn api_certificate_is_kept_until_its_names_change() {
    let directory = TempDir::new().unwrap();
    init(directory.path(), &options()).unwrap();
    let identity = load(directory.path()).unwrap();
    let names = ["lb.example.com".to_owned(), "192.0.2.1".to_owned(), "::1".to_owned()];
    let made = identity.api_certificate(&names).unwrap();
    assert_eq!(identity.api_certificate(&names).unwrap().chain_pem, made.chain_pem);
    assert_ne!(identity.api_certificate(&names[..1]).unwrap().chain_pem, made.chain_pem);
    assert!(identity.api_certificate(&["näh".to_owned()]).is_err());
}

#[test]
fn certificate_names_the_node_and_its_cluster() {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;
    let authority = Authority::generate("edge").unwrap();
    let key = authority::generate_key().unwrap();
    let request = authority::signing_request(&key).unwrap();
    let chain = authority.certify_node(&request, 42, "abc").unwrap();
    let leaf = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
    assert_eq!(authority::node_id_of(&leaf, "abc"), Some(42));
    assert_eq!(authority::node_id_of(&leaf, "other"), None);
    let ca = CertificateDer::from_pem_slice(authority.ca_pem().as_bytes()).unwrap();
    assert_eq!(authority::node_id_of(&ca, "abc"), None);
}
