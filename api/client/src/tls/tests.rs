use super::*;

#[test]
fn fingerprints_are_taken_as_people_paste_them() {
    let plain = "ab".repeat(32);
    let colons = vec!["AB"; 32].join(":");
    for text in [plain.clone(), colons.clone(), format!(" sha256:{colons}\n")] {
        assert_eq!(normalized(&text).unwrap(), plain);
    }
}

#[test]
fn what_is_no_fingerprint_is_refused() {
    for text in ["", "abc", &"zz".repeat(32), &"ab".repeat(33)] {
        assert!(normalized(text).is_err(), "{text}");
    }
}

#[test]
fn a_file_without_certificate_is_refused() {
    assert!(client_config(&Trust::CaPem("no PEM".to_owned())).is_err());
}
