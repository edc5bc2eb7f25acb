//! An origin: a backend that says who it is, and does on request what real ones do by accident.
//!
//! | request | answer |
//! |---|---|
//! | any | 200, headers `x-origin: NAME` and `x-peer: ADDRESS` (whose connection it is), body `NAME\n` |
//! | `?bytes=N` | a body of N bytes with `Content-Length` |
//! | `?chunked=N` | the same in chunks |
//! | `?delay_ms=N` | after N ms |
//! | `?status=N` | with that status |
//! | `?close` | with `Connection: close` |
//! | `/echo` | the request's body, streamed back |
//! | `/length` | how many bytes the request's body had, in decimal |
//! | `/headers` | the request's method, target and header fields as JSON |
//! | `/count` | how many requests were served, in decimal |
//! | `/health` | 200, or what `/health?set=N` said last |
//! | Upgrade: websocket | an echo of every message |

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, TryStreamExt, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::lab::Host;
use crate::process::Process;
use crate::programs;
use crate::wait::wait_for;

/// Most connections at once; more wait in the listener's queue.
const CONNECTION_MAX_COUNT: usize = 4_096;

/// The bytes of a chunk of a generated body.
const CHUNK_BYTES: usize = 16 * 1024;

type Body = BoxBody<Bytes, hyper::Error>;

/// An origin that runs as a process on a host.
#[derive(Debug)]
pub struct Origin {
    host: Host,
    http: SocketAddr,
    tcp: SocketAddr,
    process: Option<Process>,
}

impl Origin {
    /// Starts an origin that is named like its host, and waits until it accepts connections.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(host: &Host) -> Result<Self> {
        let (http, tcp) = (host.socket(host.port(8080)?), host.socket(host.port(9000)?));
        let mut origin = Self { host: host.clone(), http, tcp, process: None };
        origin.resume().await?;
        Ok(origin)
    }

    /// Starts it again, on the same ports, after [`Origin::kill`].
    ///
    /// # Errors
    /// When it does not start.
    pub async fn resume(&mut self) -> Result<()> {
        let mut command = self.host.command(programs::find("ballast-origin")?);
        command.args(["--name", self.host.name()]);
        command.args(["--http", &self.http.to_string(), "--tcp", &self.tcp.to_string()]);
        let log = self.host.dir()?.join("origin.log");
        let mut process = {
            let mut command = command;
            command.stdin(Stdio::null()).stdout(Stdio::piped());
            Process::start_with_pipes(self.host.name(), command, &log)?
        };
        let stdout = process.child_mut().stdout.take().context("its output is a pipe")?;
        // It says one line once both its sockets listen.
        let mut stdout = tokio::process::ChildStdout::from_std(stdout)?;
        let mut line = [0; 256];
        let read = tokio::time::timeout(Duration::from_secs(10), stdout.read(&mut line)).await;
        let count = read.context("the origin does not get ready")??;
        anyhow::ensure!(count > 0, "the origin ended; see {}", log.display());
        self.process = Some(process);
        Ok(())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.host.name()
    }

    /// Where it runs.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Where it speaks HTTP.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where it echoes TCP.
    pub fn tcp(&self) -> SocketAddr {
        self.tcp
    }

    /// Kills it at once.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("it does not run")?.kill()
    }

    /// Waits until it has served at least `count` more requests than now.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn wait_for_requests(&self, count: u64, limit: Duration) -> Result<()> {
        let before = self.request_count().await?;
        let what = format!("{count} more requests at {}", self.name());
        wait_for(&what, limit, async || {
            self.request_count().await.is_ok_and(|now| now >= before + count)
        })
        .await
    }

    /// How many HTTP requests it has served since it started.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn request_count(&self) -> Result<u64> {
        let mut curl = self.host.command("curl");
        curl.args(["--silent", "--fail", "--max-time", "5"])
            .arg(format!("http://{}/count", self.http));
        let output = crate::process::run(curl, Duration::from_secs(10)).await?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
    }
}

/// What `ballast-origin` does: serves HTTP and TCP until it is stopped.
///
/// # Errors
/// When an address cannot be listened on.
pub async fn serve(name: &str, http: Option<SocketAddr>, tcp: Option<SocketAddr>) -> Result<()> {
    let state = Arc::new(State {
        name: name.to_owned(),
        requests: AtomicU64::new(0),
        health: AtomicU16::new(200),
    });
    let http = listen(http).await?;
    let tcp = listen(tcp).await?;
    let place =
        |listener: &Option<TcpListener>| listener.as_ref().and_then(|l| l.local_addr().ok());
    println!("{}", serde_json::json!({ "http": place(&http), "tcp": place(&tcp) }));
    tokio::try_join!(serve_http(http, Arc::clone(&state)), serve_tcp(tcp, state))?;
    Ok(())
}

struct State {
    name: String,
    requests: AtomicU64,
    health: AtomicU16,
}

async fn listen(address: Option<SocketAddr>) -> Result<Option<TcpListener>> {
    match address {
        Some(address) => {
            let listener = TcpListener::bind(address).await;
            Ok(Some(listener.with_context(|| format!("listening on {address}"))?))
        }
        None => Ok(None),
    }
}

async fn serve_http(listener: Option<TcpListener>, state: Arc<State>) -> Result<()> {
    accept(listener, move |stream| {
        let state = Arc::clone(&state);
        let peer = stream.peer_addr().map(|peer| peer.ip().to_string()).unwrap_or_default();
        async move {
            let service = hyper::service::service_fn(move |request| {
                let (state, peer) = (Arc::clone(&state), peer.clone());
                async move {
                    let mut response = answer(request, &state).await;
                    if let Ok(peer) = HeaderValue::from_str(&peer) {
                        response.headers_mut().insert("x-peer", peer);
                    }
                    Ok::<_, Infallible>(response)
                }
            });
            let mut server = hyper::server::conn::http1::Builder::new();
            server.half_close(false);
            let connection = server.serve_connection(TokioIo::new(stream), service);
            // A client that hangs up is no fault of the origin.
            drop(connection.with_upgrades().await);
        }
    })
    .await
}

async fn serve_tcp(listener: Option<TcpListener>, state: Arc<State>) -> Result<()> {
    accept(listener, move |stream| {
        let state = Arc::clone(&state);
        async move { drop(echo_tcp(stream, &state.name).await) }
    })
    .await
}

async fn accept<F, S>(listener: Option<TcpListener>, serve: F) -> Result<()>
where
    F: Fn(TcpStream) -> S,
    S: Future<Output = ()> + Send + 'static,
{
    let Some(listener) = listener else { return Ok(()) };
    let limit = Arc::new(tokio::sync::Semaphore::new(CONNECTION_MAX_COUNT));
    loop {
        let permit = Arc::clone(&limit).acquire_owned().await?;
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let serving = serve(stream);
        tokio::spawn(async move {
            serving.await;
            drop(permit);
        });
    }
}

/// Says its name, then everything back, until the client has said all.
async fn echo_tcp(mut stream: TcpStream, name: &str) -> std::io::Result<()> {
    stream.write_all(format!("{name}\n").as_bytes()).await?;
    let (mut read, mut write) = stream.split();
    tokio::io::copy(&mut read, &mut write).await?;
    write.shutdown().await
}

async fn answer(mut request: Request<Incoming>, state: &State) -> Response<Body> {
    let query = Query::of(&request);
    if let Some(delay_ms) = query.number("delay_ms") {
        let mut timer = tokio::time::interval(Duration::from_millis(delay_ms.max(1)));
        timer.tick().await;
        timer.tick().await;
    }
    let counts = !matches!(request.uri().path(), "/count" | "/health");
    if counts {
        state.requests.fetch_add(1, Ordering::Relaxed);
    }
    let mut response = if request.headers().contains_key(SEC_WEBSOCKET_KEY) {
        upgrade(&mut request)
    } else {
        route(request, &query, state).await
    };
    if let Some(status) = query.number("status").and_then(|n| u16::try_from(n).ok()) {
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    }
    if query.has("close") {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Ok(name) = HeaderValue::from_str(&state.name) {
        response.headers_mut().insert("x-origin", name);
    }
    response
}

async fn route(request: Request<Incoming>, query: &Query, state: &State) -> Response<Body> {
    match request.uri().path() {
        "/echo" => Response::new(request.into_body().boxed()),
        "/length" => match length(request.into_body()).await {
            Ok(count) => text(count.to_string()),
            Err(_) => status(StatusCode::BAD_REQUEST),
        },
        "/headers" => text(describe(&request)),
        "/count" => text(state.requests.load(Ordering::Relaxed).to_string()),
        "/health" => {
            let wanted = query.number("set").and_then(|n| u16::try_from(n).ok());
            if let Some(code) = wanted {
                state.health.store(code, Ordering::Relaxed);
            }
            let code = StatusCode::from_u16(state.health.load(Ordering::Relaxed));
            status(code.unwrap_or(StatusCode::OK))
        }
        _ => match (query.number("bytes"), query.number("chunked")) {
            (Some(count), _) => text(vec![b'x'; usize::try_from(count).unwrap_or(0)]),
            (None, Some(count)) => chunked(count),
            (None, None) => text(format!("{}\n", state.name)),
        },
    }
}

fn text(body: impl Into<Bytes>) -> Response<Body> {
    Response::new(Full::new(body.into()).map_err(|never| match never {}).boxed())
}

fn status(code: StatusCode) -> Response<Body> {
    let mut response = text(format!("{code}\n"));
    *response.status_mut() = code;
    response
}

fn chunked(count: u64) -> Response<Body> {
    let chunk = CHUNK_BYTES as u64;
    let sizes = (0..count.div_ceil(chunk)).map(move |i| chunk.min(count - i * chunk));
    let frames = sizes.map(|size| {
        let bytes = vec![b'x'; usize::try_from(size).unwrap_or(CHUNK_BYTES)];
        Ok::<_, hyper::Error>(Frame::data(Bytes::from(bytes)))
    });
    Response::new(BodyExt::boxed(StreamBody::new(stream::iter(frames))))
}

async fn length(body: Incoming) -> Result<u64, hyper::Error> {
    let data = body.into_data_stream();
    data.try_fold(0, |count, bytes| std::future::ready(Ok(count + bytes.len() as u64))).await
}

fn describe(request: &Request<Incoming>) -> String {
    let fields: Vec<[String; 2]> = request
        .headers()
        .iter()
        .map(|(name, value)| {
            [name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()]
        })
        .collect();
    let target = request.uri().to_string();
    serde_json::json!({ "method": request.method().as_str(), "target": target, "headers": fields })
        .to_string()
}

/// RFC 6455 §4.2.2.
fn upgrade(request: &mut Request<Incoming>) -> Response<Body> {
    let key = request.headers()[SEC_WEBSOCKET_KEY].as_bytes().to_vec();
    let upgraded = hyper::upgrade::on(request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgraded.await {
            let stream = TokioIo::new(upgraded);
            echo_messages(WebSocketStream::from_raw_socket(stream, Role::Server, None).await).await;
        }
    });
    let mut response = text("");
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(&key)) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

async fn echo_messages<S>(mut socket: WebSocketStream<S>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = socket.next().await {
        let is_data = message.is_text() || message.is_binary();
        if is_data && socket.send(message).await.is_err() {
            return;
        }
    }
}

struct Query(Vec<(String, String)>);

impl Query {
    fn of(request: &Request<Incoming>) -> Self {
        let pairs = request.uri().query().unwrap_or("").split('&').map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key.to_owned(), value.to_owned())
        });
        Self(pairs.collect())
    }

    fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(k, _)| k == key)
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.0.iter().find(|(k, _)| k == key).and_then(|(_, value)| value.parse().ok())
    }
}
