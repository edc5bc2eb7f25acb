//! Templates: text with a few variables, and nothing more.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::POLICY_TEXT_MAX_BYTES;
use crate::validate::FieldErrors;

/// Text with variables: `${client_address}`, `${host}`, `${method}`, `${path}`, `${query}`,
/// `${request_id}`, `${scheme}`; where a regular expression is replaced also `$0` (all of it) to
/// `$9`. `$$` is a dollar. A variable without a value is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Template(String);

/// A part of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text as it stands.
    Literal(&'a str),
    /// What a variable holds.
    Variable(Variable),
    /// What a group of the regular expression matched; 0 is all of it.
    Capture(u8),
}

/// What a template can speak of. All of them are the request's as it came from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// The client's address, without a port.
    ClientAddress,
    /// The host, in lower case and without a port.
    Host,
    /// The method.
    Method,
    /// The normalised path.
    Path,
    /// The query without its `?`.
    Query,
    /// The identifier of the request, as in the access log.
    RequestId,
    /// `http` or `https`.
    Scheme,
}

impl Variable {
    /// Every variable.
    pub const ALL: [Self; 7] = [
        Self::ClientAddress,
        Self::Host,
        Self::Method,
        Self::Path,
        Self::Query,
        Self::RequestId,
        Self::Scheme,
    ];

    /// Its name in templates.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientAddress => "client_address",
            Self::Host => "host",
            Self::Method => "method",
            Self::Path => "path",
            Self::Query => "query",
            Self::RequestId => "request_id",
            Self::Scheme => "scheme",
        }
    }
}

/// Which text may stand in a template, by where it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The value of a header field (RFC 9110 §5.5): visible ASCII, and blanks inside.
    FieldValue,
    /// A host.
    Host,
    /// A path that starts with `/`; with so many groups to speak of.
    Path {
        /// Groups of the regular expression, the whole match included; 0 without one.
        group_count: usize,
    },
    /// A query without its `?`.
    Query,
}

impl Template {
    /// A template of that text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its parts, in order.
    ///
    /// # Errors
    /// A sentence that says which `$` has no meaning.
    pub fn pieces(&self) -> Result<Vec<Piece<'_>>, String> {
        let mut pieces = Vec::new();
        let mut rest = self.0.as_str();
        while let Some(at) = rest.find('$') {
            if at > 0 {
                pieces.push(Piece::Literal(&rest[..at]));
            }
            let (piece, length) = dollar(&rest[at..])?;
            pieces.push(piece);
            rest = &rest[at + length..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest));
        }
        Ok(pieces)
    }

    pub(super) fn validate(&self, errors: &mut FieldErrors, segment: &str, place: Place) {
        errors.range(segment, self.0.len(), 0, POLICY_TEXT_MAX_BYTES);
        let pieces = match self.pieces() {
            Ok(pieces) => pieces,
            Err(why) => return errors.push(segment, "invalid_template", why),
        };
        let mut literals = pieces.iter().filter_map(|piece| match piece {
            Piece::Literal(text) => Some(*text),
            _ => None,
        });
        errors.require(literals.all(|text| place.allows(text)), segment, place.code(), || {
            place.rule().to_owned()
        });
        let group_count = if let Place::Path { group_count } = place { group_count } else { 0 };
        for piece in &pieces {
            if let Piece::Capture(group) = piece {
                let known = usize::from(*group) < group_count;
                errors.require(known, segment, "invalid_template", || match group_count {
                    0 => format!("speaks of ${group}, which is for regular expressions only"),
                    _ => format!("speaks of ${group}; the last group is ${}", group_count - 1),
                });
            }
        }
        let whole = match place {
            Place::FieldValue => self.0.trim_ascii() == self.0,
            Place::Host => !self.0.is_empty(),
            Place::Path { .. } | Place::Query => true,
        };
        errors.require(whole, segment, place.code(), || place.rule().to_owned());
        if let Place::Path { group_count } = place {
            let variable =
                matches!(pieces.first(), Some(Piece::Variable(Variable::Path) | Piece::Capture(_)));
            let rooted = self.0.starts_with('/') || variable || group_count > 0;
            errors.require(rooted, segment, "invalid_path", || "must start with '/'".to_owned());
        }
    }
}

impl Place {
    fn allows(self, text: &str) -> bool {
        text.bytes().all(|b| match self {
            Self::FieldValue => b.is_ascii_graphic() || matches!(b, b' ' | b'\t'),
            Self::Host => b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'),
            Self::Path { .. } => b.is_ascii_graphic() && !b"?#\\\"<>^`{|}".contains(&b),
            Self::Query => b.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&b),
        })
    }

    fn code(self) -> &'static str {
        match self {
            Self::FieldValue => "invalid_header_value",
            Self::Host => "invalid_host",
            Self::Path { .. } => "invalid_path",
            Self::Query => "invalid_query",
        }
    }

    fn rule(self) -> &'static str {
        match self {
            Self::FieldValue => {
                "must hold visible ASCII, with blanks and tabs only inside; line breaks above all \
                 are not allowed"
            }
            Self::Host => "must be a host name of letters, digits, '.', '-' and '_'",
            Self::Path { .. } => {
                "must hold visible ASCII without '?', '#' and characters that URIs don't have; \
                 write others as %XX"
            }
            Self::Query => {
                "must hold visible ASCII without '#' and characters that URIs don't have; write \
                 others as %XX"
            }
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands at a `$`, and how many bytes it takes.
fn dollar(text: &str) -> Result<(Piece<'_>, usize), String> {
    match text.as_bytes().get(1) {
        Some(b'$') => Ok((Piece::Literal("$"), 2)),
        Some(digit @ b'0'..=b'9') => Ok((Piece::Capture(digit - b'0'), 2)),
        Some(b'{') => {
            let name = text[2..].split_once('}').map(|(name, _)| name);
            let name = name.ok_or("has a \"${\" without its \"}\"")?;
            let variable = Variable::ALL.into_iter().find(|v| v.as_str() == name);
            let variable = variable.ok_or_else(|| {
                let names = Variable::ALL.map(Variable::as_str).join(", ");
                format!("speaks of {name:?}; there are {names}")
            })?;
            Ok((Piece::Variable(variable), name.len() + 3))
        }
        _ => Err("has a '$' without a meaning; a dollar itself is written \"$$\"".to_owned()),
    }
}

#[cfg(test)]
mod tests;
