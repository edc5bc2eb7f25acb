//! One connection of each kind: opened, then asked again and again.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HOST;
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::HandshakeKind;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::LoadOptions;

/// Why a request has no good answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// The other side closed the connection before the request was sent.
    ClosedBefore,
    /// Anything else, by a short stable name.
    Failed(String),
}

impl Fault {
    fn new(what: &str, error: impl std::error::Error) -> Self {
        // The innermost cause says it best: "connection reset by peer".
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        Self::Failed(format!("{what}: {cause}"))
    }
}

type Outcome<T> = Result<T, Fault>;

/// Plain or encrypted.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Http,
    WebSocket,
    Tcp,
}

/// Where to send, and how. TLS sessions that were begun with one are resumed with it.
pub(super) struct Target {
    kind: Kind,
    address: SocketAddr,
    host: String,
    path: String,
    post: Option<Bytes>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Target {
    /// Reads what the options say.
    pub(super) fn new(options: &LoadOptions) -> Result<Self> {
        let uri: Uri = options.url.parse().context("the URL")?;
        let (kind, secure, port) = match uri.scheme_str() {
            Some("http") => (Kind::Http, false, 80),
            Some("https") => (Kind::Http, true, 443),
            Some("ws") => (Kind::WebSocket, false, 80),
            Some("wss") => (Kind::WebSocket, true, 443),
            Some("tcp") => (Kind::Tcp, false, 0),
            other => bail!("scheme {other:?}; known are http, https, ws, wss and tcp"),
        };
        // IPv6 addresses stand in brackets (RFC 3986 §3.2.2).
        let ip = uri.host().context("the URL has no host")?.trim_matches(['[', ']']);
        let address =
            SocketAddr::new(ip.parse().context("the URL's host")?, uri.port_u16().unwrap_or(port));
        let host = options.host_name.clone().unwrap_or_else(|| address.to_string());
        let name = options.host_name.clone().unwrap_or_else(|| ip.to_owned());
        let tls =
            if secure { Some((connector(options)?, ServerName::try_from(name)?)) } else { None };
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let post = options.post_bytes.map(|count| Bytes::from(vec![b'p'; count]));
        Ok(Self { kind, address, host, path, post, tls })
    }

    /// Opens a connection; says how TLS began.
    pub(super) async fn connect(&self) -> Outcome<(Connection, Option<HandshakeKind>)> {
        let stream =
            TcpStream::connect(self.address).await.map_err(|e| Fault::new("connect", e))?;
        stream.set_nodelay(true).map_err(|e| Fault::new("connect", e))?;
        let (stream, kind): (Box<dyn Stream>, _) = match &self.tls {
            None => (Box::new(stream), None),
            Some((connector, name)) => {
                let handshake = connector.connect(name.clone(), stream);
                let stream = handshake.await.map_err(|e| Fault::new("TLS handshake", e))?;
                let kind = stream.get_ref().1.handshake_kind();
                (Box::new(stream), kind)
            }
        };
        Ok((self.open(stream).await?, kind))
    }

    async fn open(&self, stream: Box<dyn Stream>) -> Outcome<Connection> {
        match self.kind {
            Kind::Http => {
                let (sender, connection) =
                    handshake(TokioIo::new(stream)).await.map_err(|e| Fault::new("connect", e))?;
                tokio::spawn(connection);
                Ok(Connection::Http(sender))
            }
            Kind::WebSocket => self.upgrade(stream).await,
            Kind::Tcp => {
                let mut stream = BufStream::new(stream);
                let origin = read_line(&mut stream).await?;
                Ok(Connection::Tcp { origin, stream })
            }
        }
    }

    async fn upgrade(&self, stream: Box<dyn Stream>) -> Outcome<Connection> {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        let url = format!("{scheme}://{}{}", self.host, self.path);
        let opened = tokio_tungstenite::client_async(url, stream).await;
        let (socket, response) = opened.map_err(|e| Fault::new("upgrade", e))?;
        Ok(Connection::WebSocket { origin: origin_of(&response), socket: Box::new(socket) })
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let method = if self.post.is_some() { Method::POST } else { Method::GET };
        let body = Full::new(self.post.clone().unwrap_or_default());
        let request = Request::builder().method(method).uri(&self.path).header(HOST, &self.host);
        request.body(body).expect("its parts were checked before")
    }
}

/// An open connection.
pub(super) enum Connection {
    Http(SendRequest<Full<Bytes>>),
    WebSocket { origin: String, socket: Box<WebSocketStream<Box<dyn Stream>>> },
    Tcp { origin: String, stream: BufStream<Box<dyn Stream>> },
}

impl Connection {
    /// Sends one request and takes its whole answer; returns the name of who answered.
    pub(super) async fn ask(&mut self, target: &Target, number: u64) -> Outcome<String> {
        match self {
            Self::Http(sender) => ask_http(sender, target).await,
            Self::WebSocket { origin, socket } => {
                let text = format!("message {number}");
                let sent = socket.send(Message::text(text.clone())).await;
                sent.map_err(|e| Fault::new("websocket send", e))?;
                match socket.next().await {
                    Some(Ok(message)) if message.to_text().is_ok_and(|got| got == text) => {
                        Ok(origin.clone())
                    }
                    Some(Ok(_)) => Err(Fault::Failed("websocket: not the echo".to_owned())),
                    Some(Err(error)) => Err(Fault::new("websocket receive", error)),
                    None => Err(Fault::Failed("websocket: closed".to_owned())),
                }
            }
            Self::Tcp { origin, stream } => {
                let text = format!("line {number}");
                write_line(stream, &text).await.map_err(|e| Fault::new("tcp send", e))?;
                if read_line(stream).await? == text {
                    Ok(origin.clone())
                } else {
                    Err(Fault::Failed("tcp: not the echo".to_owned()))
                }
            }
        }
    }

    /// Ends it in order; over TCP that proves half-close, for the other side answers our end with its own.
    pub(super) async fn close(self) -> Outcome<()> {
        match self {
            Self::Http(_) => Ok(()),
            Self::WebSocket { mut socket, .. } => {
                (*socket).close(None).await.map_err(|e| Fault::new("websocket close", e))
            }
            Self::Tcp { mut stream, .. } => {
                stream.shutdown().await.map_err(|e| Fault::new("tcp shutdown", e))?;
                let mut rest = Vec::new();
                let end = stream.read_to_end(&mut rest).await;
                end.map_err(|e| Fault::new("tcp end", e))?;
                if rest.is_empty() {
                    Ok(())
                } else {
                    Err(Fault::Failed("tcp: bytes after the end".to_owned()))
                }
            }
        }
    }
}

async fn ask_http(sender: &mut SendRequest<Full<Bytes>>, target: &Target) -> Outcome<String> {
    sender.ready().await.map_err(|_| Fault::ClosedBefore)?;
    let response = sender.send_request(target.request()).await.map_err(|error| {
        if error.is_canceled() { Fault::ClosedBefore } else { Fault::new("no response", error) }
    })?;
    let status = response.status();
    let origin = origin_of(&response);
    let body = response.into_body().collect().await.map_err(|e| Fault::new("body", e))?;
    if status.is_success() {
        Ok(origin)
    } else {
        let text =
            String::from_utf8_lossy(&body.to_bytes()).trim().chars().take(120).collect::<String>();
        Err(Fault::Failed(format!("status {}: {text}", status.as_u16())))
    }
}

fn origin_of<T>(response: &Response<T>) -> String {
    let name = response.headers().get("x-origin").and_then(|name| name.to_str().ok());
    name.unwrap_or("unknown").to_owned()
}

async fn write_line(stream: &mut BufStream<Box<dyn Stream>>, text: &str) -> std::io::Result<()> {
    stream.write_all(text.as_bytes()).await?;
    stream.write_all(b"\n").await?;
    stream.flush().await
}

async fn read_line(stream: &mut BufStream<Box<dyn Stream>>) -> Outcome<String> {
    let mut line = String::new();
    let count = stream.read_line(&mut line).await.map_err(|e| Fault::new("tcp receive", e))?;
    if count == 0 {
        return Err(Fault::Failed("tcp: closed".to_owned()));
    }
    Ok(line.trim_end().to_owned())
}

fn connector(options: &LoadOptions) -> Result<TlsConnector> {
    let mut roots = rustls::RootCertStore::empty();
    let file = options.ca.as_ref().context("https and wss need --ca")?;
    for certificate in CertificateDer::pem_file_iter(file)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
