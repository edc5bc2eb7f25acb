use super::*;

fn authority() -> String {
    rcgen::generate_simple_self_signed(["ca.test".to_owned()]).unwrap().cert.pem()
}

fn made(settings: &PoolTls) -> Result<MemberTls, String> {
    MemberTls::new(settings, None, &mut SystemRoots::default()).map_err(|error| error.to_string())
}

#[test]
fn the_name_is_the_declared_one_or_the_members_address() {
    let address: IpAddr = "192.0.2.1".parse().unwrap();
    let mut settings = PoolTls { ca_pem: Some(authority()), ..PoolTls::default() };
    let tls = made(&settings).unwrap();
    assert_eq!(tls.server_name(address), ServerName::IpAddress(address.into()));
    settings.server_name = Some("a.test".to_owned());
    let tls = made(&settings).unwrap();
    assert_eq!(tls.server_name(address), ServerName::try_from("a.test").unwrap());
}

#[test]
fn authorities_that_cannot_be_read_are_an_error_and_not_less_trust() {
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
    let settings = PoolTls { ca_pem: Some(pem), ..PoolTls::default() };
    let error = made(&settings).unwrap_err();
    assert!(error.starts_with("tls.ca_pem its certificate 1 can't be used: "), "{error}");
    let settings = PoolTls { ca_pem: Some(String::new()), ..PoolTls::default() };
    assert_eq!(made(&settings).unwrap_err(), "tls.ca_pem holds no certificate");
}

#[test]
fn every_user_has_sessions_of_its_own() {
    let settings = PoolTls { verify: false, ..PoolTls::default() };
    let tls = made(&settings).unwrap();
    let (one, other) = (tls.client_config(Alpn::Http1), tls.client_config(Alpn::Http2));
    assert_eq!(one.alpn_protocols, [b"http/1.1".to_vec()]);
    assert_eq!(other.alpn_protocols, [b"h2".to_vec()]);
    assert!(!Arc::ptr_eq(&one, &other));
}

#[test]
fn versions_are_those_between_the_bounds() {
    let counts = |min, max| versions(min, max).len();
    assert_eq!(counts(TlsVersion::Tls12, TlsVersion::Tls13), 2);
    assert_eq!(counts(TlsVersion::Tls12, TlsVersion::Tls12), 1);
    assert_eq!(counts(TlsVersion::Tls13, TlsVersion::Tls13), 1);
}
