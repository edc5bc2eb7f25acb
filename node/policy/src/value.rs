//! What the value of a header field, cookie or parameter must be.

use ballast_model::spec::policy::{FieldMatch, ValueMatch};
use regex::bytes::Regex;

use crate::compile::{self, CompileError};
use crate::normalize::escaped;
use crate::request::split_once;

/// A compiled [`ValueMatch`].
#[derive(Debug)]
pub(crate) enum Value {
    Present,
    Equals(Box<[u8]>),
    Prefix(Box<[u8]>),
    Regex(Regex),
}

impl Value {
    pub(crate) fn compile(field: &FieldMatch) -> Result<Self, CompileError> {
        Ok(match field.value() {
            ValueMatch::Present => Self::Present,
            ValueMatch::Equals(value) => Self::Equals(value.as_bytes().into()),
            ValueMatch::Prefix(prefix) => Self::Prefix(prefix.as_bytes().into()),
            ValueMatch::Regex(pattern) => Self::Regex(compile::regex(pattern)?),
        })
    }

    /// Whether `value` is one.
    pub(crate) fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Equals(wanted) => **wanted == *value,
            Self::Prefix(prefix) => value.starts_with(prefix),
            Self::Regex(regex) => regex.is_match(value),
        }
    }

    /// Whether the query has a parameter of that name and such a value. `decoded` is used where an
    /// encoding has to be undone before a regular expression can look.
    pub(crate) fn matches_query(&self, query: &[u8], name: &[u8], decoded: &mut Vec<u8>) -> bool {
        query.split(|b| *b == b'&').any(|pair| {
            let (other, value) = split_once(pair, b'=').unwrap_or((pair, b""));
            if pair.is_empty() || !decoded_octets(other).eq(name.iter().copied()) {
                return false;
            }
            match self {
                Self::Present => true,
                Self::Equals(wanted) => decoded_octets(value).eq(wanted.iter().copied()),
                Self::Prefix(prefix) => {
                    let start = decoded_octets(value).take(prefix.len());
                    start.eq(prefix.iter().copied())
                }
                Self::Regex(regex) if value.iter().any(|b| matches!(b, b'%' | b'+')) => {
                    decoded.clear();
                    decoded.extend(decoded_octets(value));
                    regex.is_match(decoded)
                }
                Self::Regex(regex) => regex.is_match(value),
            }
        })
    }
}

/// The octets of a name or value of a query (application/x-www-form-urlencoded); an escape without
/// two digits stands for itself.
fn decoded_octets(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (first, tail) = rest.split_first()?;
        rest = tail;
        Some(match first {
            b'+' => b' ',
            b'%' => match escaped(tail) {
                Some(octet) => {
                    rest = &tail[2..];
                    octet
                }
                None => b'%',
            },
            other => *other,
        })
    })
}

#[cfg(test)]
mod tests;
