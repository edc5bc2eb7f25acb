//! The gRPC exchange of a probe: one `Check` of the health service (gRPC health checking protocol,
//! `grpc.health.v1`).
//!
//! Invariant: of a response at most [`MESSAGE_MAX_BYTES`] are kept, and its words are told in part.

use std::net::SocketAddr;

use ::http::uri::{Authority, PathAndQuery, Scheme};
use ::http::{HeaderMap, Request, Uri, header};
use ballast_model::GrpcProbe;
use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::http2::{drive, fault};
use super::{Fault, elapsed};

/// Largest response that is read; a good one has seven bytes.
pub(super) const MESSAGE_MAX_BYTES: usize = 4 * 1024;
/// The prefix of a message: a flag of compression, and the length.
const PREFIX_BYTES: usize = 5;
/// How much of a status message is told.
const TEXT_MAX_CHARS: usize = 200;

/// What is asked, of whom, and since when.
pub(super) struct HealthQuestion<'a> {
    pub(super) address: SocketAddr,
    pub(super) wanted: &'a GrpcProbe,
    /// Whether by TLS.
    pub(super) is_secure: bool,
    pub(super) begin: Instant,
    /// Told to the server.
    pub(super) timeout_ms: u64,
}

/// Asks, and judges the answer; a sentence if it is good.
pub(super) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    question: &HealthQuestion<'_>,
) -> Result<String, Fault> {
    let request = request(question)?;
    drive(stream, question.address, |sender| check(sender, request, question)).await
}

fn request(question: &HealthQuestion<'_>) -> Result<Request<()>, Fault> {
    let host = question.wanted.host.clone().unwrap_or_else(|| question.address.to_string());
    let unfit = || Fault::Answer("the monitor's host is none for HTTP/2".to_owned());
    let mut uri = ::http::uri::Parts::default();
    uri.scheme = Some(if question.is_secure { Scheme::HTTPS } else { Scheme::HTTP });
    uri.authority = Some(Authority::try_from(host).map_err(|_| unfit())?);
    uri.path_and_query = Some(PathAndQuery::from_static("/grpc.health.v1.Health/Check"));
    let uri = Uri::from_parts(uri).map_err(|_| unfit())?;
    // At most eight digits (gRPC over HTTP/2, "Timeout"); a day in ms has as many.
    let timeout = format!("{}m", question.timeout_ms.min(99_999_999));
    let request = Request::builder()
        .method("POST")
        .uri(uri)
        .header(header::TE, "trailers")
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::USER_AGENT, "ballast-health")
        .header("grpc-timeout", timeout);
    request.body(()).map_err(|_| unfit())
}

/// `HealthCheckRequest { service = 1: string }`, behind the prefix of a message.
fn message(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0];
    // Names of services are short: validation sees to it.
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(&message);
    framed.into()
}

async fn check(
    sender: SendRequest<Bytes>,
    request: Request<()>,
    question: &HealthQuestion<'_>,
) -> Result<String, Fault> {
    let address = question.address;
    let told = |error| fault(address, error);
    let mut sender = sender.ready().await.map_err(told)?;
    let (response, mut body) = sender.send_request(request, false).map_err(told)?;
    body.send_data(message(&question.wanted.service), true).map_err(told)?;
    let (head, mut stream) = response.await.map_err(told)?.into_parts();
    let took = elapsed(question.begin);
    let status = head.status.as_u16();
    let content_type = head.headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    let is_grpc = content_type.is_some_and(|value| value.starts_with(b"application/grpc"));
    if status != 200 || !is_grpc {
        let facts = format!("{address} answered HTTP {status} after {took}, and no gRPC");
        return Err(Fault::Answer(facts));
    }
    let message = read_message(&mut stream).await.map_err(told)?;
    if message.len() > MESSAGE_MAX_BYTES {
        let facts = format!("the health service's answer exceeds {MESSAGE_MAX_BYTES} bytes");
        return Err(Fault::Answer(facts));
    }
    let trailers = match head.headers.get("grpc-status") {
        // There were trailers only.
        Some(_) => Some(head.headers),
        None => stream.trailers().await.map_err(told)?,
    };
    judge(&message, trailers.as_ref(), &question.wanted.service, &took)
}

async fn read_message(stream: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut message = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        let wanted = data.len().min(MESSAGE_MAX_BYTES + 1 - message.len());
        message.extend_from_slice(&data[..wanted]);
        if message.len() > MESSAGE_MAX_BYTES {
            break;
        }
        stream.flow_control().release_capacity(data.len())?;
    }
    Ok(message)
}

/// Judges a message and its trailers; a sentence if they are good.
fn judge(
    message: &[u8],
    trailers: Option<&HeaderMap>,
    service: &str,
    took: &str,
) -> Result<String, Fault> {
    let of = if service.is_empty() { String::new() } else { format!(" of {service:?}") };
    let bad = |facts: String| Err(Fault::Answer(facts));
    let Some(trailers) = trailers else {
        return bad(format!("the health service's answer after {took} has no grpc-status"));
    };
    let code = trailers.get("grpc-status").and_then(|value| value.to_str().ok()?.parse().ok());
    match code {
        Some(0) => {}
        Some(5) => {
            return bad(format!(
                "the health service knows no {service:?} (NOT_FOUND) after {took}"
            ));
        }
        Some(12) => {
            let facts = "the member has no gRPC health service (UNIMPLEMENTED)";
            return bad(format!("{facts} after {took}"));
        }
        Some(code) => {
            let text = trailers.get("grpc-message").map(|value| value.as_bytes());
            let text = String::from_utf8_lossy(text.unwrap_or_default());
            let text: String =
                text.chars().filter(|c| !c.is_control()).take(TEXT_MAX_CHARS).collect();
            let name = code_name(code);
            return bad(format!("gRPC status {code} ({name}) after {took}: {text:?}"));
        }
        None => {
            return bad(format!("the health service's answer after {took} has no grpc-status"));
        }
    }
    match serving_status(message) {
        Some(1) => Ok(format!("gRPC health{of} SERVING after {took}")),
        Some(0) => bad(format!("gRPC health{of} UNKNOWN after {took}; expected SERVING")),
        Some(2) => bad(format!("gRPC health{of} NOT_SERVING after {took}; expected SERVING")),
        Some(3) => bad(format!("gRPC health{of} SERVICE_UNKNOWN after {took}; expected SERVING")),
        Some(other) => bad(format!("gRPC health{of} {other} after {took}; expected SERVING (1)")),
        None => bad(format!("the health service's answer after {took} can't be read")),
    }
}

/// `HealthCheckResponse { status = 1: enum }`; 0 where the field is absent, none where it is no such
/// message.
fn serving_status(framed: &[u8]) -> Option<u64> {
    let (prefix, mut rest) = framed.split_at_checked(PREFIX_BYTES)?;
    let length = u32::from_be_bytes(prefix[1..].try_into().ok()?);
    // Nothing was said of compressions that we know, so that none may be used.
    if prefix[0] != 0 || rest.len() != usize::try_from(length).ok()? {
        return None;
    }
    let mut status = 0;
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        match (key >> 3, key & 7) {
            // The last counts.
            (1, 0) => status = varint(&mut rest)?,
            (_, 0) => drop(varint(&mut rest)?),
            (_, 1) => rest = rest.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            (_, 5) => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The name of a status (gRPC status codes).
fn code_name(code: u32) -> &'static str {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    usize::try_from(code).ok().and_then(|code| NAMES.get(code)).copied().unwrap_or("unknown")
}

#[cfg(test)]
mod tests;
