//! What the client is told when a request fails.
//!
//! Invariant: a failed request has exactly one [`FailureReason`].

use ballast_telemetry::FailureReason;

use crate::buffer::Buffer;
use crate::codec::framing::FramingError;
use crate::codec::head::HeadError;
use crate::codec::request::{Method, RequestError};
use crate::own::OwnFields;

/// When to come back (RFC 9110 §10.2.3): what a 503 is about has usually passed by then.
const RETRY_AFTER: &[u8] = b"Retry-After: 1\r\n";

/// A request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: FailureReason,
    /// The status code of our answer.
    pub(crate) status: u16,
}

impl From<FailureReason> for Failure {
    fn from(reason: FailureReason) -> Self {
        use FailureReason as R;
        let status = match reason {
            R::HeaderTimeout | R::BodyTimeout | R::BodyTooSlow => 408,
            R::BodyTooLarge => 413,
            // RFC 9110 §15.5.20: the client may ask again over another connection.
            R::ClientCertificate => 421,
            R::NoMember | R::MemberOffline | R::Overload | R::Shed | R::Shutdown => 503,
            R::ConnectionLimit | R::SourceConnectionLimit | R::SourceRateLimit => 503,
            R::PoolTlsUnusable => 503,
            R::QueueFull | R::QueueTimeout => 503,
            R::CircuitOpen | R::ConcurrencyLimit => 503,
            R::DeadlineExceeded | R::ConnectTimeout | R::ResponseTimeout => 504,
            R::UpstreamNoExtendedConnect => 502,
            R::Internal => 500,
            R::PolicyDenied | R::TokenInsufficient => 403,
            R::RateLimited => 429,
            R::TokenKeysMissing => 503,
            R::TokenRejected => 401,
            _ if reason.is_members_fault() => 502,
            _ => 400,
        };
        Self { reason, status }
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        use FailureReason as R;
        let is_version = error == RequestError::Head(HeadError::Version);
        let reason = match error {
            _ if is_version => return Self { reason: R::VersionNotSupported, status: 505 },
            RequestError::Head(HeadError::TooLong { .. }) => R::HeaderTooLarge,
            RequestError::Head(HeadError::TooManyFields { .. }) => R::TooManyHeaders,
            RequestError::Framing(FramingError::UnknownTransferCoding) => R::BadRequest,
            RequestError::Framing(_) => R::BadRequestFraming,
            RequestError::UriTooLong { .. } => R::UriTooLong,
            RequestError::BodyTooLarge { .. } => R::BodyTooLarge,
            RequestError::Connect => R::MethodNotAllowed,
            _ => R::BadRequest,
        };
        Self { reason, status: error.status() }
    }
}

impl Failure {
    /// Writes the answer.
    pub(crate) fn write(
        self,
        output: &mut Buffer,
        method: Method,
        keeps_alive: bool,
        own: OwnFields<'_>,
    ) {
        let phrase = reason_phrase(self.status);
        let code = self.reason.code();
        let length = "000 : \n".len() + phrase.len() + code.len();
        output.push(b"HTTP/1.1 ");
        output.push_decimal(self.status.into());
        output.push(b" ");
        output.push(phrase.as_bytes());
        output.push(b"\r\n");
        if self.status == 503 && !own.drops(b"retry-after") {
            output.push(RETRY_AFTER);
        }
        own.write_request_id(output);
        own.write(output);
        if !own.drops(b"content-type") {
            output.push(b"Content-Type: text/plain\r\n");
        }
        output.push(b"Content-Length: ");
        output.push_decimal(length as u64);
        output.push(if keeps_alive { b"\r\n\r\n" } else { b"\r\nConnection: close\r\n\r\n" });
        if method != Method::Head {
            output.push_decimal(self.status.into());
            output.push(b" ");
            output.push(phrase.as_bytes());
            output.push(b": ");
            output.push(code.as_bytes());
            output.push(b"\n");
        }
    }
}

impl Failure {
    /// Writes the answer that a client of gRPC understands: a response without content whose fields
    /// are what else would be its trailer section ("Trailers-Only" of gRPC over HTTP/2).
    pub(crate) fn write_grpc(self, output: &mut Buffer, keeps_alive: bool, own: OwnFields<'_>) {
        output.push(b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nGrpc-Status: ");
        output.push_decimal(self.grpc_status().into());
        output.push(b"\r\nGrpc-Message: ");
        output.push(self.reason.code().as_bytes());
        output.push(b"\r\nContent-Length: 0\r\n");
        own.write_request_id(output);
        own.write(output);
        output.push(if keeps_alive { b"\r\n" } else { b"Connection: close\r\n\r\n" });
    }

    /// What the status code is in gRPC, for answers of our own (doc/statuscodes.md of gRPC).
    pub(crate) fn grpc_status(self) -> u8 {
        match self.status {
            408 | 504 => 4,
            403 => 7,
            413 | 414 | 429 | 431 => 8,
            404 | 501 => 12,
            502 | 503 => 14,
            401 => 16,
            _ => 13,
        }
    }
}

/// The phrase of a status (RFC 9110 §15, RFC 6585); of one that has none, the word for its class.
pub(crate) fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        205 => "Reset Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ if status < 300 => "Success",
        _ if status < 400 => "Redirection",
        _ => "Error",
    }
}
