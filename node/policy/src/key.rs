//! What a rate limit counts by.

use std::net::IpAddr;

use ballast_model::spec::policy::KeyPart;

use crate::request::{RequestView, Subject};

/// Writes the key of a request: its parts, each with its length, so that `a` and `bc` are not `ab`
/// and `c`.
pub(crate) fn write<R: RequestView>(
    subject: &Subject<'_, R>,
    parts: &[KeyPart],
    buffer: &mut Vec<u8>,
) {
    for part in parts {
        match part {
            KeyPart::Address => match subject.request.source().to_canonical() {
                IpAddr::V4(address) => push(&address.octets(), buffer),
                // A client has all addresses that share the first 64 bits.
                IpAddr::V6(address) => push(&address.octets()[..8], buffer),
            },
            KeyPart::Host => push(subject.host, buffer),
            KeyPart::Path => push(subject.path, buffer),
            KeyPart::Header(name) => {
                push(subject.header(name.as_bytes()).next().unwrap_or_default(), buffer);
            }
            KeyPart::Cookie(name) => {
                push(subject.cookie(name.as_bytes()).next().unwrap_or_default(), buffer);
            }
        }
    }
}

/// Writes a part and its length.
pub(crate) fn push(part: &[u8], buffer: &mut Vec<u8>) {
    buffer.extend((part.len() as u64).to_be_bytes());
    buffer.extend(part);
}
