use proptest::prelude::*;

use super::*;

#[test]
fn token_says_what_it_was_made_with() {
    let fingerprint = sha256_hex(b"authority");
    let token = Token::generate(&fingerprint).unwrap();
    let read = Token::parse(&token.to_text()).unwrap();
    assert!(read == token);
    assert_eq!(read.ca_fingerprint_sha256(), fingerprint);
    assert_eq!(read.secret_hash(), sha256_hex(read.secret().as_bytes()));
}

#[test]
fn token_of_another_version_or_length_is_refused() {
    let token = Token::generate(&sha256_hex(b"authority")).unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(token.to_text()).unwrap();
    assert!(Token::parse(&URL_SAFE_NO_PAD.encode(&bytes[1..])).is_none());
    bytes[0] += 1;
    assert!(Token::parse(&URL_SAFE_NO_PAD.encode(&bytes)).is_none());
}

#[test]
fn fingerprint_that_is_none_makes_no_token() {
    assert!(Token::generate("abc").is_none());
    assert!(Token::generate(&"zz".repeat(32)).is_none());
    assert!(Token::generate(&"é".repeat(32)).is_none());
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text: String) {
        let _ = Token::parse(&text);
    }
}
