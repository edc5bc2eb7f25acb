//! Response heads from members, read as strictly as requests are (RFC 9112 §4 and §6.3).
//!
//! Invariant: the end of a response's body is certain before any of it reaches a client.

use std::ops::RangeInclusive;

use super::framing::{BodyLength, FramingError, FramingFields};
use super::head::{ConnectionOptions, Field, FieldName, HeadError, Span};
use super::request::Method;
use super::syntax;

/// Largest response head accepted, in bytes.
pub const HEADER_MAX_BYTES: usize = 128 * 1024;
/// Most fields of a response.
pub const HEADER_MAX_COUNT: usize = 512;

/// Status codes that are passed on. Beyond 599 there are none, but a client takes them for 5xx (RFC 9110
/// §15).
const STATUSES: RangeInclusive<u16> = 100..=999;

/// Why a member's response is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// Its syntax, or the size of its head.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// Where its body ends is not certain.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// A status code that HTTP/1.1 has not, or an unasked-for `101`.
    #[error("status code {0} is not acceptable here")]
    Status(u16),
}

/// A response head that was understood; spans are offsets into its bytes.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead {
    /// Its status code.
    pub status: u16,
    /// Status code and reason phrase as they came.
    pub status_text: Span,
    /// Its length, the empty line included.
    pub length: usize,
    /// How long its body is.
    pub body: BodyLength,
    /// `Content-Length`, even where there is no body (`HEAD`, 304).
    pub content_length: Option<u64>,
    /// What `Connection` says.
    pub connection: ConnectionOptions,
    /// Whether the member speaks HTTP/1.0.
    pub is_http_10: bool,
    /// Whether it says when it was made.
    pub has_date: bool,
    /// Whether it says that there is a body where there can be none: what follows it may be that.
    is_body_denied: bool,
}

impl ResponseHead {
    /// Understands `head`, which ends in an empty line, holds `field_count` field lines and answers
    /// a request of that method; notes its fields in `fields`.
    ///
    /// # Errors
    /// It can't be passed on.
    pub fn parse(
        head: &[u8],
        field_count: usize,
        method: Method,
        asked_for_upgrade: bool,
        fields: &mut Vec<Field>,
    ) -> Result<Self, ResponseError> {
        if field_count > HEADER_MAX_COUNT {
            return Err(HeadError::TooManyFields { max_count: HEADER_MAX_COUNT }.into());
        }
        let line = syntax::status_line(head)?;
        syntax::field_lines(head, line.end, fields)?;
        let status = line.status;
        if !STATUSES.contains(&status) || (status == 101 && !asked_for_upgrade) {
            return Err(ResponseError::Status(status));
        }
        let mut framing = FramingFields::default();
        let mut connection = ConnectionOptions::default();
        let mut has_date = false;
        for field in &*fields {
            let value = field.value.of_head(head);
            match field.name {
                FieldName::ContentLength => framing.content_length(value)?,
                FieldName::TransferEncoding => framing.transfer_encoding(value)?,
                FieldName::Connection => connection.add(value),
                FieldName::Date => has_date = true,
                _ => {}
            }
        }
        let declared = framing.length(line.is_http_10)?;
        let has_no_body = method == Method::Head || status < 200 || matches!(status, 204 | 304);
        Ok(Self {
            status,
            status_text: line.status_text,
            length: head.len(),
            body: match declared {
                _ if has_no_body => BodyLength::None,
                Some(length) => length,
                None => BodyLength::UntilClose,
            },
            content_length: match declared {
                Some(BodyLength::Exact(length)) if status >= 200 && status != 204 => Some(length),
                _ => None,
            },
            connection,
            is_http_10: line.is_http_10,
            has_date,
            is_body_denied: has_no_body && method != Method::Head && is_body_said(status, declared),
        })
    }

    /// Whether another response follows (1xx other than 101).
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// Whether the member lets the connection be used again once the body is read.
    pub fn keeps_alive(&self) -> bool {
        let wanted = !self.is_http_10 || self.connection.keep_alive;
        wanted
            && !self.connection.close
            && self.body != BodyLength::UntilClose
            && !self.is_body_denied
    }
}

/// Whether a response without a body says that it has one. With 304 a length is that of what the client
/// has already (RFC 9110 §8.6).
fn is_body_said(status: u16, declared: Option<BodyLength>) -> bool {
    match declared {
        Some(BodyLength::Exact(length)) => length > 0 && status != 304,
        Some(BodyLength::Chunked) => true,
        Some(BodyLength::None | BodyLength::UntilClose) | None => false,
    }
}

#[cfg(test)]
mod tests;
