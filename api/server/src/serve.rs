//! Serves the API over TLS, HTTP/1.1 and HTTP/2, within bounds: connections, handshakes, headers.
//!
//! Invariant: a connection on which nothing happens ends after a bounded time, from its first byte
//! on, whatever its protocol.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http_body_util::BodyExt as _;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::dispatch::Source;
use crate::source::Shares;

/// Most connections at once, on all listeners together.
const CONNECTION_MAX_COUNT: usize = 1_024;
/// Most of them from one source.
const CONNECTION_PER_SOURCE_MAX_COUNT: usize = 128;
/// Longest time for a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time from one request of a connection to the end of the next one's header.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest header of an HTTP/1.1 request, in bytes.
const HEADER_MAX_BYTES: usize = 64 * 1024;
/// Most requests of an HTTP/2 connection at once.
const H2_STREAM_MAX_COUNT: u32 = 64;
/// How often an idle HTTP/2 connection is asked whether it is alive.
const H2_PING_INTERVAL: Duration = Duration::from_secs(20);
/// How long an HTTP/2 connection may be without any request, from its start on.
const H2_IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// What a client shows, by ALPN, that speaks HTTP/2.
const ALPN_H2: &[u8] = b"h2";
/// How long connections may take to finish when the API stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed accept, which is mostly want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the API can't be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A listening socket can't be used.
    #[error("the API's listening socket can't be used")]
    Listener(#[source] io::Error),
}

/// Serves `router` on all `listeners` until `shutdown` is cancelled; then lets requests under way
/// finish, for a few seconds. Event streams end by the same token.
///
/// `tls` should offer the protocols `h2` and `http/1.1` (ALPN), and show the certificate of the
/// authority after its own, for clients that pin the authority.
///
/// # Errors
/// Where a listener can't be used.
pub async fn serve(
    listeners: Vec<TcpListener>,
    tls: Arc<rustls::ServerConfig>,
    router: Router,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let server = Arc::new(Server {
        acceptor: TlsAcceptor::from(tls),
        router,
        connections: Arc::new(Semaphore::new(CONNECTION_MAX_COUNT)),
        shares: Shares::default(),
        shutdown,
    });
    let mut accepting = JoinSet::new();
    for listener in listeners {
        listener.set_nonblocking(true).map_err(ServeError::Listener)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(ServeError::Listener)?;
        accepting.spawn(accept(Arc::clone(&server), listener));
    }
    while accepting.join_next().await.is_some() {}
    Ok(())
}

struct Server {
    acceptor: TlsAcceptor,
    router: Router,
    connections: Arc<Semaphore>,
    shares: Shares,
    shutdown: CancellationToken,
}

/// Accepts until the shutdown, then waits for the connections to end.
async fn accept(server: Arc<Server>, listener: tokio::net::TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        let permit = tokio::select! {
            () = server.shutdown.cancelled() => break,
            // Beyond the bound, clients wait in the kernel's queue.
            permit = Arc::clone(&server.connections).acquire_owned() => permit,
        };
        let Ok(permit) = permit else { break };
        let accepted = tokio::select! {
            () = server.shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => {
                let share = server.shares.take(peer.ip(), CONNECTION_PER_SOURCE_MAX_COUNT);
                let Some(share) = share else {
                    tracing::debug!(%peer, "too many connections of one source");
                    continue;
                };
                let server = Arc::clone(&server);
                connections.spawn(async move {
                    serve_connection(&server, stream, peer).await;
                    drop((permit, share));
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the API can't accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        tracing::info!("API connections that did not end by themselves are cut");
        connections.shutdown().await;
    }
}

async fn serve_connection(server: &Server, stream: TcpStream, peer: SocketAddr) {
    // An answer is written at once; waiting for more of it gains nothing.
    let _is_faster = stream.set_nodelay(true);
    let stream = match timeout(HANDSHAKE_TIMEOUT, server.acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "TLS handshake failed"),
        Err(_) => return tracing::debug!(%peer, "TLS handshake took too long"),
    };
    let result = match stream.get_ref().1.alpn_protocol() {
        Some(ALPN_H2) => serve_h2(server, stream, peer).await,
        _ => serve_h1(server, stream, peer).await,
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "API connection broke");
    }
}

async fn serve_h1(
    server: &Server,
    stream: TlsStream<TcpStream>,
    peer: SocketAddr,
) -> hyper::Result<()> {
    let router = server.router.clone();
    let service = service_fn(move |request| router.clone().oneshot(from_peer(request, peer)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Runs from the start of the connection, and from the end of each request.
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_MAX_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let end = server.shutdown.cancelled();
    drive(connection, end, http1::Connection::graceful_shutdown).await
}

async fn serve_h2(
    server: &Server,
    stream: TlsStream<TcpStream>,
    peer: SocketAddr,
) -> hyper::Result<()> {
    let under_way = Arc::new(watch::Sender::new(0));
    let idle = idle(under_way.subscribe());
    let router = server.router.clone();
    let service = service_fn(move |request| {
        let (router, request) = (router.clone(), from_peer(request, peer));
        let counted = Counted::new(&under_way);
        async move {
            let response = router.oneshot(request).await?;
            // A request is under way until the last byte of its answer is gone.
            Ok::<_, Infallible>(response.map(|body| {
                body.map_frame(move |frame| {
                    let _until_the_end = &counted;
                    frame
                })
            }))
        }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAM_MAX_COUNT)
        .keep_alive_interval(H2_PING_INTERVAL)
        .max_header_list_size(u32::try_from(HEADER_MAX_BYTES).unwrap_or(u32::MAX))
        .serve_connection(TokioIo::new(stream), service);
    let end = async {
        tokio::select! {
            () = server.shutdown.cancelled() => {}
            () = idle => {}
        }
    };
    drive(connection, end, http2::Connection::graceful_shutdown).await
}

fn from_peer(request: Request<Incoming>, peer: SocketAddr) -> Request<Body> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Source(peer));
    request
}

/// Serves a connection; from `end` on it may finish what is under way, for a few seconds.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    connection: C,
    end: impl Future<Output = ()>,
    finish: impl FnOnce(Pin<&mut C>),
) -> hyper::Result<()> {
    tokio::pin!(connection);
    tokio::select! {
        result = connection.as_mut() => return result,
        () = end => finish(connection.as_mut()),
    }
    // Not finished in time, it is cut.
    timeout(DRAIN_TIMEOUT, connection).await.unwrap_or(Ok(()))
}

/// Resolves when nothing has been under way for long.
async fn idle(mut under_way: watch::Receiver<usize>) {
    loop {
        let is_busy = *under_way.borrow_and_update() > 0;
        let changed = under_way.changed();
        if is_busy {
            if changed.await.is_err() {
                return;
            }
        } else if !matches!(timeout(H2_IDLE_TIMEOUT, changed).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// A request under way.
struct Counted(Arc<watch::Sender<usize>>);

impl Counted {
    fn new(under_way: &Arc<watch::Sender<usize>>) -> Self {
        under_way.send_modify(|count| *count += 1);
        Self(Arc::clone(under_way))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests;
