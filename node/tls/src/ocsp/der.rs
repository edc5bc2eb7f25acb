//! As much of DER (X.690) as OCSP needs.
//!
//! Invariant: what is read lies within what it was read from.

use x509_parser::asn1_rs::{FromDer, GeneralizedTime};

use super::StapleError;

/// Elements one after another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(self) -> &'a [u8] {
        self.0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The tag of the next element.
    pub(super) fn tag(self) -> Result<u8, StapleError> {
        self.0.first().copied().ok_or(StapleError::Malformed)
    }

    /// The content of the next element, which must have that tag.
    pub(super) fn read(&mut self, tag: u8) -> Result<Self, StapleError> {
        if self.tag()? != tag {
            return Err(StapleError::Malformed);
        }
        let (_, content) = self.split()?;
        Ok(Self(content))
    }

    /// The next element, tag and length included.
    pub(super) fn read_whole(&mut self) -> Result<&'a [u8], StapleError> {
        Ok(self.split()?.0)
    }

    /// The content of the next element, if it has that tag.
    pub(super) fn skip_if(&mut self, tag: u8) -> Result<Option<Self>, StapleError> {
        if self.0.first() == Some(&tag) { self.read(tag).map(Some) } else { Ok(None) }
    }

    /// The next element, a `GeneralizedTime`, in s since the Unix epoch.
    pub(super) fn read_time(&mut self) -> Result<i64, StapleError> {
        let whole = self.read_whole()?;
        let (_, time) = GeneralizedTime::from_der(whole).map_err(|_| StapleError::Malformed)?;
        let time = time.utc_datetime().map_err(|_| StapleError::Malformed)?;
        Ok(time.unix_timestamp())
    }

    /// Takes the next element off: whole, and its content. Tags of one byte, lengths of up to three.
    fn split(&mut self) -> Result<(&'a [u8], &'a [u8]), StapleError> {
        let malformed = StapleError::Malformed;
        let [tag, first, rest @ ..] = self.0 else { return Err(malformed) };
        let (length_bytes, length) = match (*first, rest) {
            (short @ 0..=0x7f, _) => (0, usize::from(short)),
            (0x81, [a, ..]) => (1, usize::from(*a)),
            (0x82, [a, b, ..]) => (2, usize::from(*a) << 8 | usize::from(*b)),
            (0x83, [a, b, c, ..]) => {
                (3, usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c))
            }
            _ => return Err(malformed),
        };
        let start = 2 + length_bytes;
        let end = start + length;
        if tag & 0x1f == 0x1f || end > self.0.len() {
            return Err(malformed);
        }
        let (whole, left) = self.0.split_at(end);
        self.0 = left;
        Ok((whole, &whole[start..]))
    }
}

/// An element of those parts; up to 65,535 bytes of them.
pub(super) fn encode(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut element = vec![tag];
    match length {
        0..0x80 => element.push(length as u8),
        0x80..0x100 => element.extend([0x81, length as u8]),
        _ => element.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    for part in parts {
        element.extend_from_slice(part);
    }
    element
}
