//! What of a record is nobody's business: values of query parameters and header fields whose names say
//! that they are secret.
//!
//! Invariant: a value is shown or replaced as a whole; names, order and number stay.

use std::borrow::Cow;

use crate::access_log::HeaderValues;

/// What stands in the place of a secret.
const MASK: &[u8] = b"***";
/// A name with one of these in it is a secret's, whatever its case.
const SECRET_PARTS: &[&str] = &[
    "access_key",
    "access-key",
    "api_key",
    "api-key",
    "apikey",
    "authorization",
    "cookie",
    "credential",
    "jwt",
    "passw",
    "pwd",
    "secret",
    "session",
    "signature",
    "token",
];
/// As is one that is one of these.
const SECRET_NAMES: &[&str] = &["auth", "code", "key", "pass", "pin", "sid", "sig"];

/// The target of a request, with what its query keeps secret replaced.
pub(super) fn query(uri: &[u8]) -> Cow<'_, [u8]> {
    let Some(at) = uri.iter().position(|byte| *byte == b'?') else { return Cow::Borrowed(uri) };
    let (path, query) = uri.split_at(at + 1);
    let mut masked = path.to_vec();
    for pair in query.split_inclusive(|byte| matches!(byte, b'&' | b';')) {
        let end = pair.iter().position(|byte| *byte == b'=');
        match end.filter(|end| is_secret(&pair[..*end])) {
            Some(end) => {
                masked.extend_from_slice(&pair[..=end]);
                masked.extend_from_slice(MASK);
                masked.extend(pair.last().filter(|last| matches!(last, b'&' | b';')));
            }
            None => masked.extend_from_slice(pair),
        }
    }
    Cow::Owned(masked)
}

/// Values of header fields, for [`HeaderValues`], with those that are secret replaced.
pub(super) fn headers(headers: HeaderValues<'_>) -> Vec<u8> {
    let mut values = Vec::with_capacity(headers.values.len());
    for (name, value) in headers.iter() {
        let value = value.map(|value| if is_secret(name.as_bytes()) { MASK } else { value });
        HeaderValues::keep(&mut values, value);
    }
    values
}

fn is_secret(name: &[u8]) -> bool {
    // Whoever writes a name in escapes may mean any.
    if name.contains(&b'%') {
        return true;
    }
    let name = name.to_ascii_lowercase();
    let has = |part: &&str| name.windows(part.len()).any(|window| window == part.as_bytes());
    SECRET_PARTS.iter().any(has) || SECRET_NAMES.iter().any(|known| name == known.as_bytes())
}

#[cfg(test)]
mod tests;
