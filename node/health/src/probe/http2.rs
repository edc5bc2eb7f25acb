//! The HTTP/2 exchange of a probe: a connection for one request.
//!
//! Invariant: the connection is driven by the probe itself and ends with it; what is kept of the
//! response is bounded as for HTTP/1.1.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use ::http::uri::{Authority, PathAndQuery, Scheme};
use ::http::{Request, Uri, header};
use bytes::Bytes;
use h2::RecvStream;
use h2::client::{Builder, SendRequest};
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::http::{BODY_MAX_BYTES, HEAD_MAX_BYTES, expected_text, judge_body};
use super::{Fault, Question, elapsed};

/// Bytes of a body that may be on their way.
const WINDOW_BYTES: u32 = 64 * 1024;

/// Sends the request and judges the response; a sentence if it is good.
pub(super) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    question: &Question<'_>,
) -> Result<String, Fault> {
    let request = request(question)?;
    drive(stream, question.address, |sender| judge(sender, request, question)).await
}

/// Begins HTTP/2 with `address` and keeps the connection going until `judge` has its verdict.
pub(super) async fn drive<S, J>(
    stream: S,
    address: SocketAddr,
    judge: impl FnOnce(SendRequest<Bytes>) -> J,
) -> Result<String, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
    J: Future<Output = Result<String, Fault>>,
{
    let mut settings = Builder::new();
    settings
        .enable_push(false)
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_header_list_size(u32::try_from(HEAD_MAX_BYTES).unwrap_or(u32::MAX));
    let handshake = settings.handshake::<S, Bytes>(stream).await;
    let (sender, mut connection) = handshake.map_err(|error| fault(address, error))?;
    let verdict = {
        let mut verdict = pin!(judge(sender));
        tokio::select! {
            biased;
            verdict = &mut verdict => verdict,
            _ended = &mut connection => {
                // Tells the request of the end, unless it has its response already. An error of
                // writing is not told otherwise.
                drop(connection);
                return verdict.await;
            }
        }
    };
    // With nothing left to do it takes leave (GOAWAY); not waited for.
    let _best_effort = timeout(Duration::ZERO, connection).await;
    verdict
}

fn request(question: &Question<'_>) -> Result<Request<()>, Fault> {
    let wanted = question.wanted;
    let host = wanted.host.clone().unwrap_or_else(|| question.address.to_string());
    let unfit = |what: &str| Fault::Answer(format!("the monitor's {what} is none for HTTP/2"));
    let mut uri = ::http::uri::Parts::default();
    uri.scheme = Some(if question.is_secure { Scheme::HTTPS } else { Scheme::HTTP });
    uri.authority = Some(Authority::try_from(host).map_err(|_| unfit("host"))?);
    let path = PathAndQuery::try_from(wanted.path.as_str()).map_err(|_| unfit("path"))?;
    uri.path_and_query = Some(path);
    let uri = Uri::from_parts(uri).map_err(|_| unfit("path"))?;
    let request = Request::builder()
        .method(wanted.method.as_str())
        .uri(uri)
        .header(header::USER_AGENT, "ballast-health")
        .header(header::ACCEPT, "*/*");
    request.body(()).map_err(|_| unfit("method"))
}

async fn judge(
    sender: SendRequest<Bytes>,
    request: Request<()>,
    question: &Question<'_>,
) -> Result<String, Fault> {
    let wanted = question.wanted;
    let mut sender = sender.ready().await.map_err(|error| fault(question.address, error))?;
    let (response, _) =
        sender.send_request(request, true).map_err(|error| fault(question.address, error))?;
    let response = response.await.map_err(|error| fault(question.address, error))?;
    let status = response.status().as_u16();
    let took = elapsed(question.begin);
    let Some(text) = expected_text(wanted, status, &took)? else {
        return Ok(format!("HTTP {status} after {took}"));
    };
    let body = read_body(response.into_body(), text.as_bytes());
    let body = body.await.map_err(|error| fault(question.address, error))?;
    judge_body(&body, text, status, &took)
}

/// Reads the body until it holds `text`, ends, or [`BODY_MAX_BYTES`] of it are there.
async fn read_body(mut stream: RecvStream, text: &[u8]) -> Result<Vec<u8>, h2::Error> {
    let mut body = Vec::new();
    while body.len() < BODY_MAX_BYTES && memmem::find(&body, text).is_none() {
        let Some(data) = stream.data().await else { break };
        let data = data?;
        let wanted = data.len().min(BODY_MAX_BYTES - body.len());
        body.extend_from_slice(&data[..wanted]);
        stream.flow_control().release_capacity(data.len())?;
    }
    Ok(body)
}

/// What an error of HTTP/2 says of `address`.
pub(super) fn fault(address: SocketAddr, error: h2::Error) -> Fault {
    if error.is_io() {
        let error = error.into_io().unwrap_or_else(|| io::ErrorKind::Other.into());
        return Fault::Exchange(error);
    }
    Fault::Answer(if error.is_remote() && error.is_go_away() {
        format!("{address} ended the HTTP/2 connection: {error}")
    } else if error.is_remote() {
        format!("{address} reset the HTTP/2 stream: {error}")
    } else {
        format!("{address} does not speak HTTP/2: {error}")
    })
}
