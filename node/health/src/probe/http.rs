//! The HTTP/1.1 exchange of a probe.
//!
//! Small on purpose: one request, `Connection: close`, the head of the response, and of the body as
//! much as the expectation needs.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ballast_model::HttpProbe;
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::{Fault, Question, elapsed};

/// Largest head of a response.
pub const HEAD_MAX_BYTES: usize = 64 * 1024;
/// How much of a body is looked at.
pub const BODY_MAX_BYTES: usize = 64 * 1024;
/// Most header fields of a response.
const HEADER_MAX_COUNT: usize = 256;
/// Most interim responses (1xx) before the final one.
const INTERIM_MAX_COUNT: usize = 8;
const READ_BYTES: usize = 8 * 1024;

/// Sends the request and judges the response; a sentence if it is good.
pub(super) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    question: &Question<'_>,
) -> Result<String, Fault> {
    let Question { address, wanted, begin, .. } = *question;
    let request = request(address, wanted);
    stream.write_all(request.as_bytes()).await.map_err(Fault::Exchange)?;
    // It waits in the buffer of TLS.
    stream.flush().await.map_err(Fault::Exchange)?;
    let mut input = Input { stream, buffer: Vec::with_capacity(READ_BYTES) };
    let verdict = judge(&mut input, address, wanted, begin).await;
    // With TLS the member is told that this is the end, lest its log complains (RFC 8446 §6.1); not
    // waited for.
    let _best_effort = timeout(Duration::ZERO, input.stream.shutdown()).await;
    verdict
}

async fn judge<S: AsyncRead + Unpin>(
    input: &mut Input<S>,
    address: SocketAddr,
    wanted: &HttpProbe,
    begin: Instant,
) -> Result<String, Fault> {
    let head = read_head(input, address).await?;
    let took = elapsed(begin);
    let Some(text) = expected_text(wanted, head.status, &took)? else {
        return Ok(format!("HTTP {} after {took}", head.status));
    };
    let body = read_body(input, &head, text.as_bytes()).await?;
    judge_body(&body, text, head.status, &took)
}

/// Judges the status; the text to look for in the body, if any.
pub(super) fn expected_text<'a>(
    wanted: &'a HttpProbe,
    status: u16,
    took: &str,
) -> Result<Option<&'a str>, Fault> {
    if !wanted.expect_status.iter().any(|range| range.contains(status)) {
        let expected: Vec<_> = wanted.expect_status.iter().map(ToString::to_string).collect();
        let expected = expected.join(", ");
        return Err(Fault::Answer(format!("HTTP {status} after {took}; expected {expected}")));
    }
    if wanted.expect_body.is_some() && wanted.method == "HEAD" {
        return Err(Fault::Answer("a HEAD probe gets no body, so that none can match".to_owned()));
    }
    Ok(wanted.expect_body.as_deref())
}

/// Judges as much of the body as was read.
pub(super) fn judge_body(
    body: &[u8],
    text: &str,
    status: u16,
    took: &str,
) -> Result<String, Fault> {
    if memmem::find(body, text.as_bytes()).is_some() {
        return Ok(format!("HTTP {status} after {took}, with the expected text"));
    }
    let looked_at = body.len();
    Err(Fault::Answer(format!(
        "HTTP {status} after {took}, but its body lacks {text:?} (looked at {looked_at} bytes)"
    )))
}

fn request(address: SocketAddr, wanted: &HttpProbe) -> String {
    let mut request = format!("{} {} HTTP/1.1\r\nHost: ", wanted.method, wanted.path);
    // Writing to a `String` can't fail.
    let _infallible = match &wanted.host {
        Some(host) => write!(request, "{host}"),
        None => write!(request, "{address}"),
    };
    request.push_str("\r\nUser-Agent: ballast-health\r\nAccept: */*\r\nConnection: close\r\n\r\n");
    request
}

struct Input<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + Unpin> Input<S> {
    /// Reads more; false at the end.
    async fn more(&mut self) -> Result<bool, Fault> {
        self.buffer.reserve(READ_BYTES);
        let count = self.stream.read_buf(&mut self.buffer).await.map_err(Fault::Exchange)?;
        Ok(count > 0)
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    length: Length,
}

/// Where the body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Bytes(u64),
    Chunked,
    UntilClose,
}

/// Reads the head of the final response; what follows it stays in the buffer.
async fn read_head<S: AsyncRead + Unpin>(
    input: &mut Input<S>,
    address: SocketAddr,
) -> Result<Head, Fault> {
    let mut interim_count = 0;
    loop {
        match parse_head(&input.buffer) {
            Err(error) => {
                return Err(Fault::Answer(format!("{address} does not speak HTTP/1.1: {error}")));
            }
            Ok(Some((head, head_bytes))) => {
                input.buffer.drain(..head_bytes);
                if (100..200).contains(&head.status) && head.status != 101 {
                    interim_count += 1;
                    if interim_count > INTERIM_MAX_COUNT {
                        let facts = format!("{address} sent interim responses only");
                        return Err(Fault::Answer(facts));
                    }
                    continue;
                }
                return Ok(head);
            }
            Ok(None) if input.buffer.len() >= HEAD_MAX_BYTES => {
                let facts = format!("the response's header exceeds {HEAD_MAX_BYTES} bytes");
                return Err(Fault::Answer(facts));
            }
            Ok(None) => {
                if !input.more().await? {
                    return Err(Fault::Answer(if input.buffer.is_empty() {
                        format!("{address} closed the connection without a response")
                    } else {
                        format!("{address} closed the connection in the middle of the header")
                    }));
                }
            }
        }
    }
}

fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; HEADER_MAX_COUNT];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head_bytes) = response.parse(bytes)? else { return Ok(None) };
    let mut length = Length::UntilClose;
    for header in &*response.headers {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            // RFC 9112 §6.3: it overrides a length; a coding other than chunked at the end means
            // that the body ends with the connection.
            let last = header.value.rsplit(|b| *b == b',').next().unwrap_or_default();
            let chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
            length = if chunked { Length::Chunked } else { Length::UntilClose };
            break;
        }
        if header.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(header.value).unwrap_or_default().trim();
            length = Length::Bytes(text.parse().map_err(|_| httparse::Error::HeaderValue)?);
        }
    }
    let status = response.code.unwrap_or(0);
    if matches!(status, 204 | 304) {
        length = Length::Bytes(0);
    }
    Ok(Some((Head { status, length }, head_bytes)))
}

/// Reads the body until it holds `text`, ends, or [`BODY_MAX_BYTES`] of it are there.
async fn read_body<S: AsyncRead + Unpin>(
    input: &mut Input<S>,
    head: &Head,
    text: &[u8],
) -> Result<Vec<u8>, Fault> {
    loop {
        let (body, complete) = body_so_far(&input.buffer, head.length)?;
        let enough = complete || body.len() >= BODY_MAX_BYTES;
        if enough || memmem::find(&body, text).is_some() {
            return Ok(body);
        }
        // Chunks of one byte are five times their content: still bounded, by the raw bytes.
        if input.buffer.len() >= 8 * BODY_MAX_BYTES {
            return Ok(body);
        }
        if !input.more().await? {
            return match head.length {
                Length::UntilClose => Ok(body),
                Length::Bytes(_) | Length::Chunked => {
                    Err(Fault::Exchange(io::ErrorKind::UnexpectedEof.into()))
                }
            };
        }
    }
}

/// The body as far as it arrived, at most [`BODY_MAX_BYTES`] of it, and whether that is all.
fn body_so_far(raw: &[u8], length: Length) -> Result<(Vec<u8>, bool), Fault> {
    match length {
        Length::Chunked => dechunk(raw),
        Length::Bytes(total) => {
            let total = usize::try_from(total).unwrap_or(usize::MAX);
            let end = raw.len().min(total).min(BODY_MAX_BYTES);
            Ok((raw[..end].to_vec(), raw.len() >= total))
        }
        Length::UntilClose => Ok((raw[..raw.len().min(BODY_MAX_BYTES)].to_vec(), false)),
    }
}

fn dechunk(mut raw: &[u8]) -> Result<(Vec<u8>, bool), Fault> {
    let mut body = Vec::new();
    while body.len() < BODY_MAX_BYTES {
        let (line_bytes, size) = match httparse::parse_chunk_size(raw) {
            Ok(httparse::Status::Complete(parsed)) => parsed,
            Ok(httparse::Status::Partial) => return Ok((body, false)),
            Err(_invalid) => {
                return Err(Fault::Answer("the response's chunks are malformed".to_owned()));
            }
        };
        if size == 0 {
            return Ok((body, true));
        }
        let content = &raw[line_bytes..];
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let wanted = size.min(BODY_MAX_BYTES - body.len());
        body.extend_from_slice(&content[..content.len().min(wanted)]);
        // The chunk and the line break after it.
        match content.get(size.saturating_add(2)..) {
            Some(rest) => raw = rest,
            None => return Ok((body, false)),
        }
    }
    Ok((body, false))
}

#[cfg(test)]
mod tests;
