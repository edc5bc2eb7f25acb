//! Where a message's body ends (RFC 9112 §6).
//!
//! Invariant: at most one of `Content-Length` and `Transfer-Encoding` counts; a message that has
//! both, or either twice, is refused, for two readers may take different ones.

use super::chunked::{ChunkedDecoder, ChunkedError};

/// How the length of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is none.
    None,
    /// By `Content-Length`, in bytes.
    Exact(u64),
    /// By chunks.
    Chunked,
    /// By the end of the connection; responses only.
    UntilClose,
}

impl BodyLength {
    /// Whether there is no byte of it.
    pub fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Exact(0))
    }
}

/// Fields that contradict each other or say nothing definite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// `Content-Length` stands twice, or is a list.
    #[error("more than one Content-Length")]
    RepeatedContentLength,
    /// `Content-Length` is no plain decimal number.
    #[error("Content-Length is no number")]
    InvalidContentLength,
    /// Both are there: the classic of request smuggling (RFC 9112 §6.1).
    #[error("both Content-Length and Transfer-Encoding")]
    BothLengths,
    /// `Transfer-Encoding` stands twice, is empty, or does not end in `chunked`.
    #[error("Transfer-Encoding does not say where the body ends")]
    InvalidTransferEncoding,
    /// `Transfer-Encoding` in a message of HTTP/1.0, which does not know it.
    #[error("Transfer-Encoding in HTTP/1.0")]
    TransferEncodingInHttp10,
    /// Codings besides `chunked`, which nobody uses.
    #[error("a transfer coding other than chunked")]
    UnknownTransferCoding,
}

/// Collects the fields that tell a body's length.
#[derive(Clone, Copy, Debug, Default)]
pub struct FramingFields {
    content_length: Option<u64>,
    is_chunked: bool,
}

impl FramingFields {
    /// Notes a `Content-Length` field.
    ///
    /// # Errors
    /// It is not the first, or no number.
    pub fn content_length(&mut self, value: &[u8]) -> Result<(), FramingError> {
        if self.content_length.is_some() || value.contains(&b',') {
            return Err(FramingError::RepeatedContentLength);
        }
        let length = decimal(value).ok_or(FramingError::InvalidContentLength)?;
        self.content_length = Some(length);
        Ok(())
    }

    /// Notes a `Transfer-Encoding` field.
    ///
    /// # Errors
    /// It is not the first, or not `chunked`.
    pub fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), FramingError> {
        if self.is_chunked {
            return Err(FramingError::InvalidTransferEncoding);
        }
        if value.eq_ignore_ascii_case(b"chunked") {
            self.is_chunked = true;
            return Ok(());
        }
        let mut codings = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let last = codings.next_back().unwrap_or_default();
        let others_are_plain =
            codings.all(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"chunked"));
        if last.eq_ignore_ascii_case(b"chunked") && others_are_plain {
            Err(FramingError::UnknownTransferCoding)
        } else {
            Err(FramingError::InvalidTransferEncoding)
        }
    }

    /// What the fields say together, if anything.
    ///
    /// # Errors
    /// They contradict each other, or the version.
    pub fn length(self, is_http_10: bool) -> Result<Option<BodyLength>, FramingError> {
        match (self.is_chunked, self.content_length) {
            (true, Some(_)) => Err(FramingError::BothLengths),
            (true, None) if is_http_10 => Err(FramingError::TransferEncodingInHttp10),
            (true, None) => Ok(Some(BodyLength::Chunked)),
            (false, Some(length)) => Ok(Some(BodyLength::Exact(length))),
            (false, None) => Ok(None),
        }
    }
}

/// RFC 9110 §8.6: `1*DIGIT`, without sign or space, below 2^63 so that sums don't overflow.
pub(super) fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 {
        return None;
    }
    let mut number: u64 = 0;
    for byte in value {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number = number.checked_mul(10)?.checked_add(digit)?;
    }
    (number <= i64::MAX as u64).then_some(number)
}

/// Reads a body out of the bytes of a connection.
#[derive(Clone, Debug)]
pub enum BodyDecoder {
    /// So many bytes are left.
    Exact(u64),
    /// Chunks.
    Chunked(ChunkedDecoder),
    /// Everything until the connection ends.
    UntilClose,
}

/// What stands next in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyPart {
    /// Bytes of framing to skip first.
    pub skip_bytes: usize,
    /// Bytes of content that follow them.
    pub data_bytes: usize,
}

impl BodyDecoder {
    /// A decoder for a body of that length.
    pub fn new(length: BodyLength) -> Self {
        match length {
            BodyLength::None => Self::Exact(0),
            BodyLength::Exact(length) => Self::Exact(length),
            BodyLength::Chunked => Self::Chunked(ChunkedDecoder::default()),
            BodyLength::UntilClose => Self::UntilClose,
        }
    }

    /// What `input` starts with. The caller takes all of it from the input before it asks again;
    /// a part of no bytes means that more input is needed, or that the body is done.
    ///
    /// # Errors
    /// The framing is broken.
    pub fn next(&mut self, input: &[u8]) -> Result<BodyPart, ChunkedError> {
        match self {
            Self::Exact(left) => {
                let data_bytes = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= data_bytes as u64;
                Ok(BodyPart { skip_bytes: 0, data_bytes })
            }
            Self::Chunked(decoder) => decoder.next(input),
            Self::UntilClose => Ok(BodyPart { skip_bytes: 0, data_bytes: input.len() }),
        }
    }

    /// How much content is still to come, where that is known, in bytes.
    pub fn left_bytes(&self) -> Option<u64> {
        match self {
            Self::Exact(left) => Some(*left),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// Notes that so much content has passed without being shown to the decoder; only where the rest is
    /// known to be as long.
    pub fn pass(&mut self, bytes: u64) {
        debug_assert!(self.left_bytes().is_some_and(|left| left >= bytes));
        if let Self::Exact(left) = self {
            *left = left.saturating_sub(bytes);
        }
    }

    /// Whether the body's end has been seen.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Exact(left) => *left == 0,
            Self::Chunked(decoder) => decoder.is_done(),
            Self::UntilClose => false,
        }
    }

    /// The lines of the trailer section behind the body, each with its CRLF.
    pub fn trailer(&self) -> &[u8] {
        match self {
            Self::Chunked(decoder) => decoder.trailer(),
            Self::Exact(_) | Self::UntilClose => &[],
        }
    }

    /// Whether the end of the connection is the proper end of the body.
    pub fn ends_with_connection(&self) -> bool {
        matches!(self, Self::UntilClose)
    }
}

#[cfg(test)]
mod tests;
