//! Trailer fields on their way through (RFC 9110 §6.5).
//!
//! Invariant: no field passes that says where a message ends, where it goes, who sends it, or how its
//! content is to be read: who looks at a message when its head is there must not be told otherwise
//! behind its body (§6.5.1).

use super::head::is_same_to_applications;
use crate::certificate;

/// Fields that no trailer section may hold, in lower case.
const FORBIDDEN: [&[u8]; 40] = [
    b"age",
    b"authentication-info",
    b"authorization",
    b"cache-control",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-location",
    b"content-range",
    b"content-type",
    b"cookie",
    b"date",
    b"expect",
    b"expires",
    b"forwarded",
    b"host",
    b"http2-settings",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"keep-alive",
    b"location",
    b"max-forwards",
    b"pragma",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"range",
    b"retry-after",
    b"set-cookie",
    b"strict-transport-security",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"vary",
    b"warning",
    b"www-authenticate",
];
/// What the names of fields begin with that tell a member of its client.
const FORWARDED_PREFIX: &[u8] = b"x-forwarded-";

/// The lines of `section` that may go on, each with its CRLF. `section` was checked by
/// [`ChunkedDecoder`](super::chunked::ChunkedDecoder).
pub fn passed_on(section: &[u8]) -> impl Iterator<Item = &[u8]> {
    section.split_inclusive(|byte| *byte == b'\n').filter(|line| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        let starts_forwarded = name
            .get(..FORWARDED_PREFIX.len())
            .is_some_and(|start| is_same_to_applications(start, FORWARDED_PREFIX));
        let is_forbidden = starts_forwarded
            || certificate::is_named(name)
            || FORBIDDEN.iter().any(|it| is_same_to_applications(name, it));
        !is_forbidden
    })
}

/// The status of a call of gRPC, where one of `fields`, names with their values, tells it. Statuses are 0
/// to 16; what does not fit a byte is none.
pub(crate) fn grpc_status<'a>(
    mut fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Option<u8> {
    let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case(b"grpc-status"))?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The fields of a section, names with their values.
pub(crate) fn fields_of(section: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    section.split(|byte| *byte == b'\n').filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b':')?;
        Some((&line[..at], line[at + 1..].trim_ascii()))
    })
}

/// Whether a trailer section is likely to follow the content of a message with those fields, so that it
/// must be framed in a way that has room for one, whatever length it says: with gRPC always, and where one
/// is announced (RFC 9110 §6.6.2).
pub(crate) fn is_likely(fields: &http::HeaderMap) -> bool {
    let kind = fields.get(http::header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
        || fields.contains_key(http::header::TRAILER)
}

/// Whether `name` says where a message ends, or concerns one connection: in a trailer section it is an
/// attempt at something.
pub fn frames_a_message(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 9] = [
        b"connection",
        b"content-length",
        b"host",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    ];
    NAMES.iter().any(|it| name.eq_ignore_ascii_case(it))
}

#[cfg(test)]
mod tests;
