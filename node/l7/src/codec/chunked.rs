//! The chunked transfer coding (RFC 9112 §7.1), decoded strictly.
//!
//! ```text
//! Size ─► (Extension) ─► SizeLf ─► Data ─► DataCr ─► DataLf ─► Size …
//!                          └─ size 0 ─► Trailer ─► … ─► Done
//! ```
//! Invariant: the decoder gives the same content however the input is cut into pieces. Extensions
//! are checked and dropped (§7.1.1 demands that of who does not understand them); trailer fields are
//! kept until the end.

/// Longest chunk extensions of one chunk, in bytes.
pub const EXTENSION_MAX_BYTES: usize = 256;
/// Longest chunk extensions of a whole body, in bytes: a flood of tiny chunks with extensions costs
/// the sender little and us much.
pub const EXTENSION_TOTAL_MAX_BYTES: usize = 16 * 1024;
/// Longest trailer section, in bytes.
pub const TRAILER_MAX_BYTES: usize = 8 * 1024;
/// Most hexadecimal digits of a chunk's size: sizes stay below 2^60.
const SIZE_MAX_DIGITS: u8 = 15;

/// Broken chunked coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkedError {
    /// No hexadecimal number stands where a chunk's size should, or it is too large.
    #[error("invalid chunk size")]
    InvalidSize,
    /// A line does not end in CRLF, or content is not followed by it.
    #[error("a chunk's line or content does not end in CRLF")]
    MissingCrLf,
    /// An extension holds control characters.
    #[error("invalid chunk extension")]
    InvalidExtension,
    /// Extensions are longer than allowed.
    #[error("chunk extensions are too long")]
    ExtensionTooLong,
    /// A trailer field is malformed.
    #[error("invalid trailer field")]
    InvalidTrailer,
    /// The trailer section is longer than allowed.
    #[error("the trailer section is too long")]
    TrailerTooLong,
}

/// Decodes a chunked body.
#[derive(Clone, Debug, Default)]
pub struct ChunkedDecoder {
    state: State,
    extension_total_bytes: usize,
    /// The lines of the trailer section, each with its CRLF. Without storage where there are none.
    trailer: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size { value: u64, digits: u8 },
    Extension { size: u64, bytes: usize },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    Done,
}

impl Default for State {
    fn default() -> Self {
        Self::Size { value: 0, digits: 0 }
    }
}

impl ChunkedDecoder {
    /// What `input` starts with, see [`BodyDecoder::next`](super::framing::BodyDecoder::next).
    ///
    /// # Errors
    /// The coding is broken.
    pub fn next(&mut self, input: &[u8]) -> Result<super::framing::BodyPart, ChunkedError> {
        let mut position = 0;
        while self.state != State::Done {
            if let State::Data { left } = &mut self.state {
                let rest = input.len() - position;
                let data_bytes = rest.min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= data_bytes as u64;
                if *left == 0 {
                    self.state = State::DataCr;
                }
                return Ok(super::framing::BodyPart { skip_bytes: position, data_bytes });
            }
            let Some(byte) = input.get(position) else { break };
            self.state = self.step(*byte)?;
            position += 1;
        }
        Ok(super::framing::BodyPart { skip_bytes: position, data_bytes: 0 })
    }

    /// Whether the end has been seen.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The lines of the trailer section, each with its CRLF; whole once the end has been seen.
    pub fn trailer(&self) -> &[u8] {
        &self.trailer
    }

    /// The state after one byte of framing.
    fn step(&mut self, byte: u8) -> Result<State, ChunkedError> {
        use ChunkedError::{InvalidSize, MissingCrLf};
        match (self.state, byte) {
            (State::Size { digits: 0, .. }, b'\r' | b';') => Err(InvalidSize),
            (State::Size { value, .. }, b'\r') => Ok(State::SizeLf { size: value }),
            (State::Size { value, .. }, b';') => Ok(State::Extension { size: value, bytes: 1 }),
            (State::Size { value, digits }, _) => {
                let digit = (byte as char).to_digit(16).ok_or(InvalidSize)?;
                if digits == SIZE_MAX_DIGITS {
                    return Err(InvalidSize);
                }
                Ok(State::Size { value: value << 4 | u64::from(digit), digits: digits + 1 })
            }
            (State::Extension { size, bytes }, _) => self.extension(size, bytes, byte),
            (State::SizeLf { size: 0 }, b'\n') => Ok(State::TrailerStart),
            (State::SizeLf { size }, b'\n') => Ok(State::Data { left: size }),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::default()),
            (State::TrailerStart, b'\r') => Ok(State::LastLf),
            (State::TrailerStart, _) if is_token(byte) => self.keep(byte, State::TrailerName),
            (State::TrailerName, b':') => self.keep(byte, State::TrailerValue),
            (State::TrailerName, _) if is_token(byte) => self.keep(byte, State::TrailerName),
            (State::TrailerValue, b'\r') => self.keep(byte, State::TrailerLf),
            (State::TrailerValue, _) if is_text(byte) => self.keep(byte, State::TrailerValue),
            (State::TrailerLf, b'\n') => self.keep(byte, State::TrailerStart),
            (State::LastLf, b'\n') => Ok(State::Done),
            (State::TrailerStart | State::TrailerName | State::TrailerValue, _) => {
                Err(ChunkedError::InvalidTrailer)
            }
            _ => Err(MissingCrLf),
        }
    }

    fn extension(&mut self, size: u64, bytes: usize, byte: u8) -> Result<State, ChunkedError> {
        if byte == b'\r' {
            return Ok(State::SizeLf { size });
        }
        if !is_text(byte) {
            return Err(ChunkedError::InvalidExtension);
        }
        self.extension_total_bytes += 1;
        let is_too_long =
            bytes >= EXTENSION_MAX_BYTES || self.extension_total_bytes > EXTENSION_TOTAL_MAX_BYTES;
        if is_too_long {
            return Err(ChunkedError::ExtensionTooLong);
        }
        Ok(State::Extension { size, bytes: bytes + 1 })
    }

    fn keep(&mut self, byte: u8, next: State) -> Result<State, ChunkedError> {
        if self.trailer.len() == TRAILER_MAX_BYTES {
            return Err(ChunkedError::TrailerTooLong);
        }
        self.trailer.push(byte);
        Ok(next)
    }
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110 §5.5: what a field's value may hold.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests;
