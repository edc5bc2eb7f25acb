//! The listener for the other nodes.
//!
//! Invariant: but for `POST /join`, nothing is answered to one without a certificate of a node that
//! is, or may be, in the cluster; and every connection, header and body is bounded.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::{REFUSAL_HEADER, REFUSAL_REMOVED};
use crate::identity::authority::node_id_of;

/// Connections at the same time.
const CONNECTION_MAX_COUNT: usize = 512;
/// Connections without a certificate among them.
const STRANGER_MAX_COUNT: usize = 16;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may be idle between requests. Longer than clients keep theirs.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// How long one without a certificate may be open altogether.
const STRANGER_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause after a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of a connection: the node whose certificate it showed, if any.
#[derive(Clone, Copy, Debug)]
pub struct Caller(pub(crate) Option<u64>);

impl Caller {
    /// The number of the node that calls; behind `/peer/v1/` there always is one.
    pub fn node_id(self) -> Option<u64> {
        self.0
    }
}

/// What may be asked by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Admitted,
    Removed,
    Unknown,
}

/// Decides on a node that showed a valid certificate.
pub(crate) type Guard =
    Arc<dyn Fn(u64) -> Pin<Box<dyn Future<Output = Admission> + Send>> + Send + Sync>;

/// What a listener needs.
pub(crate) struct Server {
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) cluster_uid: String,
    pub(crate) router: Router,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl Server {
    /// Accepts connections until told to stop.
    pub(crate) async fn run(self, listener: TcpListener) {
        let connections = Arc::new(Semaphore::new(CONNECTION_MAX_COUNT));
        let connection = Arc::new(Connection {
            tls: TlsAcceptor::from(Arc::clone(&self.tls)),
            cluster_uid: self.cluster_uid.clone(),
            router: self.router.clone(),
            strangers: Arc::new(Semaphore::new(STRANGER_MAX_COUNT)),
        });
        let accepting = async {
            loop {
                // The semaphore is never closed.
                let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let (connection, stop) = (Arc::clone(&connection), self.stop.clone());
                        self.tasks.spawn(async move {
                            stop.run_until_cancelled(connection.serve(stream, permit)).await;
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "can't accept a connection of another node");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        self.stop.run_until_cancelled(accepting).await;
    }
}

struct Connection {
    tls: TlsAcceptor,
    cluster_uid: String,
    router: Router,
    strangers: Arc<Semaphore>,
}

impl Connection {
    async fn serve(&self, stream: TcpStream, _permit: OwnedSemaphorePermit) {
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, self.tls.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a connection to the cluster address fails its handshake");
                return;
            }
            Err(_) => return,
        };
        let certificates = stream.get_ref().1.peer_certificates();
        let caller = certificates
            .and_then(<[_]>::first)
            .and_then(|certificate| node_id_of(certificate, &self.cluster_uid));
        let serving = serve_requests(stream, Caller(caller), self.router.clone());
        if caller.is_some() {
            serving.await;
        } else if let Ok(_permit) = self.strangers.try_acquire() {
            let _ = tokio::time::timeout(STRANGER_TIMEOUT, serving).await;
        }
    }
}

async fn serve_requests(
    stream: tokio_rustls::server::TlsStream<TcpStream>,
    caller: Caller,
    router: Router,
) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(caller);
        let router = router.clone();
        async move { Ok::<_, Infallible>(router.oneshot(request).await.into_response()) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of another node ended");
    }
}

/// Lets requests pass that come from a node of the cluster.
pub(crate) async fn demand_node(
    State(guard): State<Guard>,
    request: Request,
    next: Next,
) -> Response {
    let caller = request.extensions().get().copied().unwrap_or(Caller(None));
    let Some(node_id) = caller.0 else {
        return refuse("this needs the certificate of a node of the cluster");
    };
    match guard(node_id).await {
        Admission::Admitted => next.run(request).await,
        Admission::Unknown => refuse("this node is not of the cluster"),
        Admission::Removed => {
            let mut response = refuse("this node was removed from the cluster");
            let why = HeaderValue::from_static(REFUSAL_REMOVED);
            response.headers_mut().insert(REFUSAL_HEADER, why);
            response
        }
    }
}

fn refuse(why: &'static str) -> Response {
    (StatusCode::FORBIDDEN, why).into_response()
}

#[cfg(test)]
mod tests;
