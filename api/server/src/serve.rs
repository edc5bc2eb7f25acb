//! Serves the API over TLS, HTTP/1.1 and HTTP/2, within bounds: connections, handshakes, headers.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::dispatch::Source;

/// Most connections at once, on all listeners together.
const CONNECTION_MAX_COUNT: usize = 1_024;
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
                let server = Arc::clone(&server);
                connections.spawn(async move {
                    serve_connection(&server, stream, peer).await;
                    drop(permit);
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
    let service = server.router.clone().map_request(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Source(peer));
        request
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_MAX_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAM_MAX_COUNT)
        .keep_alive_interval(H2_PING_INTERVAL)
        .max_header_list_size(u32::try_from(HEADER_MAX_BYTES).unwrap_or(u32::MAX));
    let service = TowerToHyperService::new(service);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = server.shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "API connection broke");
    }
}
