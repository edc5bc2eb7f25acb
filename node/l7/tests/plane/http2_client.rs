//! Clients of HTTP/2: one that keeps to the protocol, and one that sends what it is told.

use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use crate::harness::*;

/// A client that keeps to the protocol.
pub(crate) struct Client {
    pub(crate) send: SendRequest<Bytes>,
    /// The connection; its result says how it ended.
    pub(crate) connection: JoinHandle<Result<(), h2::Error>>,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(|value| value.to_str().ok())
    }
}

impl Client {
    /// Connects by prior knowledge.
    pub(crate) async fn connect(site: &Site) -> Self {
        Self::on(site.connect().await.stream, h2::client::Builder::new()).await
    }

    /// Connects with those settings.
    pub(crate) async fn on(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        builder: h2::client::Builder,
    ) -> Self {
        let (send, connection) = soon(builder.handshake(stream)).await.expect("a connection");
        Self { send, connection: tokio::spawn(connection) }
    }

    /// Begins a request.
    pub(crate) async fn begin(
        &mut self,
        request: Request<()>,
        is_end: bool,
    ) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
        self.send = soon(self.send.clone().ready()).await.expect("an open connection");
        self.send.send_request(request, is_end).expect("a stream")
    }

    /// Sends a request with that body and reads its response.
    pub(crate) async fn ask(
        &mut self,
        request: Request<()>,
        body: &[u8],
    ) -> Result<Answer, h2::Error> {
        let (response, mut stream) = self.begin(request, body.is_empty()).await;
        let body = Bytes::copy_from_slice(body);
        let sending = tokio::spawn(async move {
            if !body.is_empty() {
                // A response may come before all of it was sent.
                let _ = send_all(&mut stream, body, true).await;
            }
        });
        let answer = read(response).await;
        sending.abort();
        answer
    }

    pub(crate) async fn get(&mut self, target: &str) -> Answer {
        self.ask(get(target), b"").await.expect("a response")
    }
}

pub(crate) fn request(method: Method, target: &str) -> Request<()> {
    let uri = format!("http://site{target}");
    Request::builder().method(method).uri(uri).body(()).expect("a request")
}

pub(crate) fn get(target: &str) -> Request<()> {
    request(Method::GET, target)
}

/// Sends a body as the windows allow.
pub(crate) async fn send_all(
    stream: &mut SendStream<Bytes>,
    mut body: Bytes,
    is_end: bool,
) -> Result<(), h2::Error> {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        while stream.capacity() == 0 {
            match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
                Some(room) => room?,
                None => return Err(Reason::CANCEL.into()),
            };
        }
        let piece = body.split_to(stream.capacity().min(body.len()));
        let is_last = is_end && body.is_empty();
        stream.send_data(piece, is_last)?;
    }
    Ok(())
}

/// Reads a response to its end.
pub(crate) async fn read(response: h2::client::ResponseFuture) -> Result<Answer, h2::Error> {
    let (parts, mut stream) = soon(response).await?.into_parts();
    let body = read_body(&mut stream).await?;
    let trailers = soon(stream.trailers()).await?;
    Ok(Answer { status: parts.status.as_u16(), fields: parts.headers, body, trailers })
}

pub(crate) async fn read_body(stream: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut body = Vec::new();
    while let Some(piece) = soon(stream.data()).await {
        let piece = piece?;
        stream.flow_control().release_capacity(piece.len())?;
        body.extend(piece);
    }
    Ok(body)
}

/// A client that sends what it is told.
pub(crate) struct Raw {
    pub(crate) io: Io,
}

/// A frame that came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RawFrame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl RawFrame {
    /// The error code of RST_STREAM and GOAWAY.
    pub(crate) fn code(&self) -> Option<u32> {
        let at = match self.kind {
            0x3 => 0,
            0x7 => 4,
            _ => return None,
        };
        let code = self.payload.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_be_bytes(code))
    }
}

impl Raw {
    /// Connects, and sends the preface and SETTINGS.
    pub(crate) async fn connect(site: &Site) -> Self {
        let mut io = site.connect().await;
        io.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        let mut raw = Self { io };
        raw.send(0x4, 0, 0, b"").await;
        raw
    }

    pub(crate) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.io.send(frame(kind, flags, stream, payload)).await;
    }

    /// Sends HEADERS; `flags` without END_HEADERS are the caller's.
    pub(crate) async fn headers(&mut self, stream: u32, flags: u8, fields: &[(&str, &str)]) {
        self.send(0x1, flags | 0x4, stream, &literals(fields)).await;
    }

    /// The next frame; none at the end.
    pub(crate) async fn next(&mut self) -> Option<RawFrame> {
        let header = self.io.exactly_or_end(9).await?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let payload = self.io.exactly_or_end(length).await?;
        let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
        Some(RawFrame { kind: header[3], flags: header[4], stream, payload })
    }

    /// The next frame of that kind; none at the end.
    pub(crate) async fn next_of(&mut self, kind: u8) -> Option<RawFrame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Fields as literals that are not indexed (RFC 7541 §6.2.2).
pub(crate) fn literals(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            literal_length(&mut block, text.len());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// RFC 7541 §5.1, with a prefix of 7 bits.
fn literal_length(block: &mut Vec<u8>, mut length: usize) {
    if length < 127 {
        return block.push(length as u8);
    }
    block.push(127);
    length -= 127;
    while length >= 128 {
        block.push((length % 128) as u8 | 128);
        length /= 128;
    }
    block.push(length as u8);
}

/// The pseudo-header fields of a GET.
pub(crate) const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "site"), (":path", "/")];

/// Longest wait for what must not happen.
pub(crate) const QUIET: Duration = Duration::from_millis(400);
