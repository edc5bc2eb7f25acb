use super::*;

fn pointers(tls: &ServerTls) -> Vec<String> {
    let mut errors = FieldErrors::default();
    tls.validate(&mut errors);
    errors.into_vec().into_iter().map(|fault| fault.pointer).collect()
}

#[test]
fn an_empty_object_asks_clients_for_nothing() {
    let tls: ServerTls = serde_json::from_str("{}").unwrap();
    assert_eq!(tls, ServerTls::default());
    assert_eq!(pointers(&tls), [""; 0]);
}

#[test]
fn authorities_lists_and_versions_are_checked() {
    let auth = ClientAuth {
        mode: ClientAuthMode::Required,
        ca_pem: "nothing".to_owned(),
        crl_pem: Some("nothing".to_owned()),
        identity_headers: true,
    };
    let tls = ServerTls {
        min_version: TlsVersion::Tls13,
        max_version: TlsVersion::Tls12,
        client_auth: Some(auth),
        ..ServerTls::default()
    };
    assert_eq!(pointers(&tls), ["/min_version", "/client_auth/ca_pem", "/client_auth/crl_pem"]);
}

#[test]
fn members_are_told_who_clients_are_unless_it_is_said_otherwise() {
    let read = |more: &str| {
        let text = format!(r#"{{"client_auth": {{"mode": "optional", "ca_pem": ""{more}}}}}"#);
        let tls: ServerTls = serde_json::from_str(&text).unwrap();
        tls.client_auth.unwrap().identity_headers
    };
    assert!(read(""));
    assert!(!read(r#", "identity_headers": false"#));
}
