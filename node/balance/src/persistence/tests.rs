use proptest::prelude::*;

use super::*;

fn key() -> PersistenceKey {
    PersistenceKey::new(&[7; 32])
}

#[test]
fn identity_is_the_same_in_every_version() {
    let value = CookieCodec::encode(key().member_key("pool-uid", "web-1"));
    assert_eq!(value.as_str(), "93374a80181bc01e7d8ca5c81a6a5519");
}

#[test]
fn identity_depends_on_key_pool_and_member() {
    let mine = key().member_key("ab", "c");
    assert_ne!(mine, key().member_key("a", "bc"));
    assert_ne!(mine, key().member_key("ab", "d"));
    assert_ne!(mine, PersistenceKey::new(&[8; 32]).member_key("ab", "c"));
}

#[test]
fn cookie_is_found_among_others() {
    let key = key().member_key("p", "m");
    let value = CookieCodec::encode(key);
    let text = value.as_str();
    for header in [
        format!("BALLAST={text}"),
        format!("a=b; BALLAST={text}; c=d"),
        format!("BALLAST=nonsense; BALLAST={text}"),
        format!("XBALLAST=1;BALLAST=\"{text}\""),
    ] {
        assert_eq!(CookieCodec::find(header.as_bytes(), b"BALLAST"), Some(key), "{header}");
    }
    for header in [
        String::new(),
        format!("BALLAST2={text}"),
        format!("ballast={text}"),
        format!("BALLAST={text}0"),
        format!("BALLAST={}", text.to_uppercase()),
    ] {
        assert_eq!(CookieCodec::find(header.as_bytes(), b"BALLAST"), None, "{header}");
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read(pool in ".*", member in ".*") {
        let key = key().member_key(&pool, &member);
        prop_assert_eq!(CookieCodec::parse(CookieCodec::encode(key).as_bytes()), Some(key));
    }

    #[test]
    fn any_header_is_survived(header: Vec<u8>, name: Vec<u8>) {
        CookieCodec::find(&header, &name);
        CookieCodec::parse(&header);
    }

    #[test]
    fn only_32_lowercase_digits_are_a_value(value: [u8; 32]) {
        let well_formed = value.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b));
        prop_assert_eq!(CookieCodec::parse(&value).is_some(), well_formed);
    }
}
