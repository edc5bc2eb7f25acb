//! `Cookie` fields (RFC 6265 §5.4) and what persistence reads from them.

use ballast_balance::key;
use ballast_balance::persistence::CookieCodec;

const NAME: &[u8] = b"SRV";

/// A `Cookie` field's value.
///
/// # Panics
/// A member is found that the field does not name.
pub fn cookies(data: &[u8]) {
    let value = key::cookie_value(data, NAME);
    if let Some(value) = value {
        let stands_there = data.windows(value.len().max(1)).any(|window| window == value);
        assert!(value.is_empty() || stands_there, "a value that did not come");
        assert!(!value.contains(&b';'));
    }
    let _ = key::query_value(data, NAME);
    let _ = key::path(data);
    let Some(member) = CookieCodec::find(data, NAME) else { return };
    let written = CookieCodec::encode(member);
    let digits = written.as_bytes();
    assert!(data.windows(digits.len()).any(|window| window == digits), "another member");
    assert_eq!(CookieCodec::parse(digits), Some(member));
}
