//! What of a request decides where it goes, as a number.
//!
//! Invariant: equal on every node and in every version: the golden values in the tests pin it.

use std::net::IpAddr;

use crate::hash::{hash_address, hash_bytes};

/// The hash of a key: what an algorithm that goes by keys is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyHash(pub(crate) u64);

impl KeyHash {
    /// Of a value, such as that of a header field.
    pub fn of_bytes(value: &[u8]) -> Self {
        Self(hash_bytes(value))
    }

    /// Of a client's address.
    pub fn of_address(address: IpAddr) -> Self {
        Self(hash_address(address))
    }
}

/// The value of the cookie called `name` in one `Cookie` header field, as it stands there.
pub fn cookie_value<'a>(header: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    header
        .split(|b| *b == b';')
        .find_map(|pair| pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"="))
}

/// The value of the query parameter called `name` in a request's target, not decoded.
pub fn query_value<'a>(target: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let start = target.iter().position(|b| *b == b'?')? + 1;
    target[start..].split(|b| *b == b'&').find_map(|pair| {
        if pair == name {
            return Some(&pair[pair.len()..]);
        }
        pair.strip_prefix(name)?.strip_prefix(b"=")
    })
}

/// A request's target without its query.
pub fn path(target: &[u8]) -> &[u8] {
    target.split(|b| *b == b'?').next().unwrap_or(target)
}

#[cfg(test)]
mod tests;
