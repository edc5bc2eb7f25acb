//! Templates written out for a request, with nothing in them that could end a line.

use ballast_model::spec::policy::{self as spec, Piece, Scheme, Variable};
use regex::bytes::Captures;

use crate::compile::CompileError;
use crate::normalize::push_escape;
use crate::request::{RequestView, Subject};

/// A compiled template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Box<[Part]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Box<[u8]>),
    Variable(Variable),
    Capture(u8),
}

/// Where a text stands, which says which octets it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The value of a header field (RFC 9110 §5.5): control characters are left out.
    FieldValue,
    /// A host: what no host has is left out.
    Host,
    /// A path (RFC 3986 §3.3): what it can't have is escaped.
    Path,
    /// A query (RFC 3986 §3.4): what it can't have is escaped.
    Query,
}

impl Template {
    pub(crate) fn compile(template: &spec::Template) -> Result<Self, CompileError> {
        let pieces = template
            .pieces()
            .map_err(|why| CompileError::Template { text: template.as_str().to_owned(), why })?;
        let parts = pieces.into_iter().map(|piece| match piece {
            Piece::Literal(text) => Part::Literal(text.as_bytes().into()),
            Piece::Variable(variable) => Part::Variable(variable),
            Piece::Capture(group) => Part::Capture(group),
        });
        Ok(Self(parts.collect()))
    }

    /// Appends what it makes of a request.
    pub(crate) fn write<R: RequestView>(
        &self,
        subject: &Subject<'_, R>,
        captures: Option<&Captures<'_>>,
        place: Place,
        out: &mut Vec<u8>,
    ) {
        for part in &self.0 {
            match part {
                Part::Literal(text) => push(text, place, out),
                Part::Variable(variable) => push_variable(*variable, subject, place, out),
                Part::Capture(group) => {
                    let found = captures.and_then(|found| found.get(usize::from(*group)));
                    push(found.map_or(b"", |found| found.as_bytes()), place, out);
                }
            }
        }
    }
}

fn push_variable<R: RequestView>(
    variable: Variable,
    subject: &Subject<'_, R>,
    place: Place,
    out: &mut Vec<u8>,
) {
    let request = subject.request;
    match variable {
        Variable::ClientAddress => {
            use std::io::Write;
            let address = request.source().to_canonical();
            // Writing to a vector does not fail.
            let _ = write!(out, "{address}");
        }
        Variable::Host => push(subject.host, place, out),
        Variable::Method => push(request.method(), place, out),
        Variable::Path => push(subject.path, place, out),
        Variable::Query => push(request.query().unwrap_or_default(), place, out),
        Variable::RequestId => push(request.request_id(), place, out),
        Variable::Scheme => {
            let scheme: Scheme = request.scheme();
            push(scheme.as_str().as_bytes(), place, out);
        }
    }
}

/// Appends a text as its place allows.
pub(crate) fn push(text: &[u8], place: Place, out: &mut Vec<u8>) {
    for octet in text {
        if place.allows(*octet) {
            out.push(*octet);
        } else if matches!(place, Place::Path | Place::Query) {
            push_escape(*octet, out);
        }
    }
}

impl Place {
    fn allows(self, octet: u8) -> bool {
        let unreserved = octet.is_ascii_alphanumeric() || b"-._~".contains(&octet);
        match self {
            Self::FieldValue => octet == b'\t' || (octet >= b' ' && octet != 0x7f),
            Self::Host => unreserved || b":[]".contains(&octet),
            // What is escaped already stays so.
            Self::Path => unreserved || b"!$&'()*+,;=:@/%".contains(&octet),
            Self::Query => unreserved || b"!$&'()*+,;=:@/%?".contains(&octet),
        }
    }
}
