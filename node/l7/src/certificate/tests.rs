use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType, SerialNumber, date_time_ymd};

use super::*;

/// The lines of a self-signed certificate that `adjust` makes of one without any name.
fn told(adjust: impl FnOnce(&mut CertificateParams)) -> String {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    adjust(&mut params);
    let issued = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let lines = lines(issued.der()).unwrap();
    assert!(lines.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\r' | b'\n')));
    String::from_utf8(lines.to_vec()).unwrap()
}

fn value<'a>(lines: &'a str, name: &str) -> Option<&'a str> {
    let mut values = lines.split("\r\n").filter_map(|line| {
        let (found, value) = line.split_once(": ")?;
        (found == format!("X-Client-{name}")).then_some(value)
    });
    let value = values.next();
    assert_eq!(values.next(), None, "{name} is there once");
    value
}

/// How a common name is written.
fn common_name(name: &str) -> Option<String> {
    let lines = told(|params| params.distinguished_name.push(DnType::CommonName, name));
    value(&lines, "Subject").map(str::to_owned)
}

#[test]
fn a_certificate_is_told_field_by_field() {
    let lines = told(|params| {
        params.distinguished_name.push(DnType::CountryName, "CH");
        params.distinguished_name.push(DnType::OrganizationName, "Acme, Inc.");
        params.distinguished_name.push(DnType::CommonName, "me");
        params.not_after = date_time_ymd(2049, 2, 3);
        params.serial_number = Some(SerialNumber::from_slice(&[0xab, 0x01]));
        params.subject_alt_names = vec![
            SanType::DnsName("a.test".try_into().unwrap()),
            SanType::IpAddress([192, 0, 2, 1].into()),
            SanType::URI("spiffe://x/a,b%20c".try_into().unwrap()),
            SanType::Rfc822Name("me@x.test".try_into().unwrap()),
        ];
    });
    assert_eq!(value(&lines, "Verify"), Some("SUCCESS"));
    assert_eq!(value(&lines, "Subject"), Some("CN=me,O=Acme\\, Inc.,C=CH"));
    assert_eq!(value(&lines, "Issuer"), value(&lines, "Subject"));
    assert_eq!(value(&lines, "Serial"), Some("ab01"));
    assert_eq!(value(&lines, "Not-After"), Some("2049-02-03T00:00:00Z"));
    let names = "DNS:a.test,URI:spiffe://x/a%2Cb%20c,email:me@x.test";
    assert_eq!(value(&lines, "SAN"), Some(names));
    let fingerprint = value(&lines, "Fingerprint").unwrap();
    assert!(fingerprint.len() == 64 && fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit()));
}

#[test]
fn odd_subjects_stay_on_their_line() {
    for (name, expected) in [
        ("a\r\nX-Client-Verify: SUCCESS", "CN=a\\0D\\0AX-Client-Verify: SUCCESS"),
        ("nul\0", "CN=nul\\00"),
        ("Zoë", "CN=Zo\\C3\\AB"),
        (" #x ", "CN=\\20#x\\20"),
        (" ", "CN=\\20"),
        ("#x", "CN=\\#x"),
        ("a+b,O=c;<d>\\\"", "CN=a\\+b\\,O=c\\;\\<d\\>\\\\\\\""),
    ] {
        assert_eq!(common_name(name).as_deref(), Some(expected));
    }
}

#[test]
fn other_attributes_and_strings_are_told_as_rfc_4514_wants() {
    let custom = DnType::CustomDnType(vec![1, 2, 3, 4]);
    let lines = told(|params| params.distinguished_name.push(custom, "x"));
    assert_eq!(value(&lines, "Subject"), Some("1.2.3.4=#0c0178"));
    let wide = DnValue::BmpString("é".try_into().unwrap());
    let lines = told(|params| params.distinguished_name.push(DnType::CommonName, wide));
    assert_eq!(value(&lines, "Subject"), Some("CN=\\C3\\A9"));
    // Of what its bytes mean there are several opinions.
    let teletex = DnValue::TeletexString("a".try_into().unwrap());
    let lines = told(|params| params.distinguished_name.push(DnType::CommonName, teletex));
    assert_eq!(value(&lines, "Subject"), Some("CN=#140161"));
}

#[test]
fn what_is_not_there_or_too_long_is_left_out() {
    assert_eq!(value(&told(|_| {}), "Subject"), None);
    assert_eq!(value(&told(|_| {}), "SAN"), None);
    let longest = "x".repeat(DN_MAX_BYTES - "CN=".len());
    assert_eq!(common_name(&longest), Some(format!("CN={longest}")));
    assert_eq!(common_name(&format!("{longest}x")), None);
    let names = |lengths: &[usize]| {
        let dns =
            lengths.iter().map(|length| SanType::DnsName("x".repeat(*length).try_into().unwrap()));
        let dns = dns.collect();
        value(&told(|params| params.subject_alt_names = dns), "SAN").map(str::to_owned)
    };
    let room = SAN_MAX_BYTES - "DNS:".len();
    assert_eq!(names(&[room]).unwrap().len(), SAN_MAX_BYTES);
    assert_eq!(names(&[room + 1, 1]).as_deref(), Some("DNS:x"));
    assert_eq!(names(&[1, room, 2]).as_deref(), Some("DNS:x,DNS:xx"));
}

#[test]
fn a_serial_number_has_no_sign() {
    for (raw, expected) in [(&[0xff][..], Some("ff")), (&[0, 1], Some("01")), (&[0x7f; 20], None)] {
        let lines = told(|params| params.serial_number = Some(SerialNumber::from_slice(raw)));
        let long = "7f".repeat(20);
        assert_eq!(value(&lines, "Serial"), Some(expected.unwrap_or(&long)));
    }
}

#[test]
fn what_cannot_be_read_still_has_a_fingerprint() {
    let lines = lines(b"?").unwrap();
    let lines = str::from_utf8(&lines).unwrap();
    assert_eq!(value(lines, "Subject"), None);
    assert_eq!(value(lines, "Fingerprint").unwrap().len(), 64);
}

#[test]
fn names_are_ours_however_they_are_written() {
    for name in ["X-Client-Verify", "x-client-san", "X_Client_Not-AFTER", "X-CLIENT-SUBJECT"] {
        assert!(is_named(name.as_bytes()), "{name}");
    }
    for name in ["X-Client", "X-Client-Verify2", "X-Client-Ip", "", "X.Client.Verify"] {
        assert!(!is_named(name.as_bytes()), "{name}");
    }
}

#[test]
fn a_policy_may_drop_a_line() {
    let mut output = Buffer::default();
    let lines = b"X-Client-Verify: SUCCESS\r\nX-Client-Serial: 01\r\n";
    push(&mut output, Some(lines), |name| name.eq_ignore_ascii_case(b"x-client-serial"));
    assert_eq!(output.data(), b"X-Client-Verify: SUCCESS\r\n");
    output.clear();
    push(&mut output, None, |_| false);
    assert_eq!(output.data(), b"X-Client-Verify: NONE\r\n");
}
