//! The form of an access record: JSON, or a text with variables.
//!
//! Invariant: whatever bytes a client sends, a record is one line: control characters, quotes and
//! backslashes of values are escaped as in JSON.

use std::io::Write;

use super::record::{AccessRecord, RecordWriter};
use crate::phase::Phase;

/// Longest format, in bytes.
pub const FORMAT_MAX_BYTES: usize = 4_096;
/// Most variables in a format.
pub const VARIABLE_MAX_COUNT: usize = 64;
/// What stands for a value that there is none of.
const ABSENT: &[u8] = b"-";

/// The form of access records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// One line of text.
    Text(Box<[Piece]>),
}

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it stands.
    Literal(Box<str>),
    /// A variable's value.
    Value(Variable),
}

/// What is wrong with a format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// It says nothing.
    #[error("is empty")]
    Empty,
    /// It is too long.
    #[error("is longer than {FORMAT_MAX_BYTES} bytes")]
    TooLong,
    /// It has too many variables.
    #[error("has more than {VARIABLE_MAX_COUNT} variables")]
    TooManyVariables,
    /// A record would not be one line.
    #[error("holds a control character at byte {at}")]
    ControlCharacter {
        /// Where, from 0.
        at: usize,
    },
    /// A `${` without its `}`, or a `$` without a name.
    #[error("has a $ at byte {at} that begins no variable; write $$ for the character itself")]
    NoVariable {
        /// Where, from 0.
        at: usize,
    },
    /// A name that means nothing.
    #[error("names an unknown variable {name:?}; known are {}", known())]
    Unknown {
        /// The name.
        name: String,
    },
}

/// Something that is known of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// One that has a name of its own.
    Plain(Plain),
    /// How long a phase took, in µs.
    Phase(Phase),
    /// A field of the request that the virtual server asks for.
    RequestHeader(Box<str>),
    /// The same of the response.
    ResponseHeader(Box<str>),
}

macro_rules! plain {
    ($( $Variant:ident, $name:literal; )*) => {
        /// A variable that has a name of its own: that of the record's field.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each is the record's field of that name")]
        pub enum Plain { $( $Variant, )* }

        impl Plain {
            /// Each with its name.
            pub const NAMED: &[(&str, Self)] = &[$( ($name, Self::$Variant) ),*];
        }
    };
}

plain! {
    Attempts, "attempts";
    Client, "client";
    ClientAddress, "client_address";
    ClientPort, "client_port";
    GrpcStatus, "grpc_status";
    Host, "host";
    Member, "member";
    Method, "method";
    Pool, "pool";
    Protocol, "protocol";
    Reason, "reason";
    ReceivedBytes, "received_bytes";
    RequestId, "request_id";
    Rule, "rule";
    SentBytes, "sent_bytes";
    Status, "status";
    Time, "time";
    TimeMs, "time_ms";
    TlsVersion, "tls_version";
    TotalUs, "total_us";
    TraceId, "trace_id";
    Uri, "uri";
    VirtualServer, "virtual_server";
}

fn known() -> String {
    let plain = Plain::NAMED.iter().map(|(name, _)| (*name).to_owned());
    let phases = Phase::ALL.iter().map(|phase| format!("{}_us", phase.as_str()));
    let headers = ["request_header.NAME", "response_header.NAME"].map(str::to_owned);
    plain.chain(phases).chain(headers).collect::<Vec<_>>().join(", ")
}

impl Variable {
    fn named(name: &str) -> Option<Self> {
        if let Some((_, plain)) = Plain::NAMED.iter().find(|(own, _)| *own == name) {
            return Some(Self::Plain(*plain));
        }
        if let Some(header) = name.strip_prefix("request_header.") {
            return (!header.is_empty()).then(|| Self::RequestHeader(header.into()));
        }
        if let Some(header) = name.strip_prefix("response_header.") {
            return (!header.is_empty()).then(|| Self::ResponseHeader(header.into()));
        }
        let phase = name.strip_suffix("_us")?;
        let phase = Phase::ALL.iter().find(|own| own.as_str() == phase)?;
        Some(Self::Phase(*phase))
    }
}

impl LogFormat {
    /// Reads `json`, or a text in which `$name` or `${name}` stands for a variable and `$$` for a
    /// dollar sign.
    ///
    /// # Errors
    /// What is wrong with it, to be put behind the name of the setting.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        match text {
            "json" => return Ok(Self::Json),
            "" => return Err(FormatError::Empty),
            _ if text.len() > FORMAT_MAX_BYTES => return Err(FormatError::TooLong),
            _ => {}
        }
        if let Some(at) = text.bytes().position(|byte| byte.is_ascii_control()) {
            return Err(FormatError::ControlCharacter { at });
        }
        let mut pieces = Vec::new();
        let (mut literal, mut rest, mut variable_count) = (String::new(), text, 0);
        while let Some(dollar) = rest.find('$') {
            let at = text.len() - rest.len() + dollar;
            literal.push_str(&rest[..dollar]);
            let after = &rest[dollar + 1..];
            if let Some(after) = after.strip_prefix('$') {
                literal.push('$');
                rest = after;
                continue;
            }
            let (name, after) = name(after).ok_or(FormatError::NoVariable { at })?;
            let variable = Variable::named(name)
                .ok_or_else(|| FormatError::Unknown { name: name.to_owned() })?;
            variable_count += 1;
            if variable_count > VARIABLE_MAX_COUNT {
                return Err(FormatError::TooManyVariables);
            }
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
            }
            pieces.push(Piece::Value(variable));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.into()));
        }
        Ok(Self::Text(pieces.into()))
    }
}

/// The variable's name at the front of `text`, and what follows it.
fn name(text: &str) -> Option<(&str, &str)> {
    if let Some(braced) = text.strip_prefix('{') {
        return braced.split_once('}').filter(|(name, _)| !name.is_empty());
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

impl RecordWriter<'_> {
    /// The record in that format, as one line.
    pub(super) fn line(&mut self, format: &LogFormat, record: &AccessRecord<'_>) {
        match format {
            LogFormat::Json => self.json(record),
            LogFormat::Text(pieces) => {
                for piece in pieces {
                    match piece {
                        Piece::Literal(literal) => self.raw(literal.as_bytes()),
                        Piece::Value(variable) => self.variable(variable, record),
                    }
                }
            }
        }
        self.raw(b"\n");
    }

    fn variable(&mut self, variable: &Variable, record: &AccessRecord<'_>) {
        match variable {
            Variable::Plain(plain) => self.plain(*plain, record),
            Variable::Phase(phase) => match record.phases.us(*phase) {
                Some(us) => self.number(b"", us),
                None => self.raw(ABSENT),
            },
            Variable::RequestHeader(name) => self.value(record.request_headers.value_of(name)),
            Variable::ResponseHeader(name) => self.value(record.response_headers.value_of(name)),
        }
    }

    fn plain(&mut self, plain: Plain, record: &AccessRecord<'_>) {
        match plain {
            Plain::Attempts => self.number(b"", record.attempts.into()),
            // Writing to a `Vec` can't fail.
            Plain::Client => drop(write!(self.out, "{}", record.client)),
            Plain::ClientAddress => {
                drop(write!(self.out, "{}", record.client.ip().to_canonical()));
            }
            Plain::ClientPort => self.number(b"", record.client.port().into()),
            Plain::GrpcStatus => match record.grpc_status {
                Some(status) => self.number(b"", status.into()),
                None => self.raw(ABSENT),
            },
            Plain::Host => self.value(Some(record.host)),
            Plain::Member => self.value(record.member.map(str::as_bytes)),
            Plain::Method => self.value(Some(record.method)),
            Plain::Pool => self.value(Some(record.pool.as_bytes())),
            Plain::Protocol => self.value(Some(record.protocol.as_bytes())),
            Plain::Reason => self.value(record.reason.map(|reason| reason.code().as_bytes())),
            Plain::ReceivedBytes => self.number(b"", record.received_bytes),
            Plain::RequestId => self.value(Some(record.request_id)),
            Plain::Rule => self.value(Some(record.rule.as_bytes())),
            Plain::SentBytes => self.number(b"", record.sent_bytes),
            Plain::Status if record.status == 0 => self.raw(ABSENT),
            Plain::Status => self.number(b"", record.status.into()),
            Plain::Time => self.time(record.time_ms),
            Plain::TimeMs => self.number(b"", record.time_ms),
            Plain::TlsVersion => self.value(Some(record.tls_version.as_bytes())),
            Plain::TotalUs => self.number(b"", record.total_us),
            Plain::TraceId if record.trace_id == 0 => self.raw(ABSENT),
            Plain::TraceId => drop(write!(self.out, "{:032x}", record.trace_id)),
            Plain::Uri => self.value(Some(record.uri)),
            Plain::VirtualServer => self.value(Some(record.virtual_server.as_bytes())),
        }
    }

    fn value(&mut self, value: Option<&[u8]>) {
        match value {
            None | Some(b"") => self.raw(ABSENT),
            Some(value) => self.string(value),
        }
    }
}

#[cfg(test)]
mod tests;
