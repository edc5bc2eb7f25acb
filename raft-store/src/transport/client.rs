//! Calls to the other nodes, over kept connections.
//!
//! Invariant: an error says whether the request may have reached the other node; one that
//! certainly did not may be sent again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{MESSAGE_MAX_BYTES, PEER_PREFIX, QUORUM_HEADER, REFUSAL_HEADER, REFUSAL_REMOVED};
use crate::identity::authority::node_name;
use crate::identity::{Identity, IdentityError};
use crate::store::contact::Contact;

/// How long to wait for a connection, its handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Connections to one node that are kept while idle.
const IDLE_MAX_COUNT: usize = 8;
/// How long one is kept; the other side keeps it longer, so that it is not closed while in use.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Characters of a refusal that are passed on.
const REFUSAL_MAX_CHARS: usize = 500;

/// Why a call to another node failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// There is no such node.
    #[error("there is no node {0} in the cluster")]
    UnknownNode(u64),
    /// It can't be connected to, so it has not got the request.
    #[error("node {node_id} can't be reached: {why}")]
    Unreachable {
        /// The node.
        node_id: u64,
        /// Why.
        why: String,
    },
    /// It did not answer in time; it may have got the request.
    #[error("node {node_id} did not answer within {} ms", timeout.as_millis())]
    Timeout {
        /// The node.
        node_id: u64,
        /// How long it had.
        timeout: Duration,
    },
    /// The connection broke before the answer; it may have got the request.
    #[error("the connection to node {node_id} broke: {why}")]
    Broken {
        /// The node.
        node_id: u64,
        /// Why.
        why: String,
    },
    /// Its kernel closed the connection in the middle of an answer: the process has ended.
    #[error("the process of node {node_id} has ended")]
    Gone {
        /// The node.
        node_id: u64,
    },
    /// It answered with another status than 200.
    #[error("node {node_id} refuses with status {status}: {why}")]
    Refused {
        /// The node.
        node_id: u64,
        /// The HTTP status.
        status: u16,
        /// What it said.
        why: String,
    },
    /// What it answered, or what it was to be sent, can't be converted.
    #[error("the exchange with node {node_id} can't be understood: {why}")]
    Format {
        /// The node.
        node_id: u64,
        /// Why.
        why: String,
    },
}

impl PeerError {
    /// Whether the other node certainly did not get the request.
    pub fn is_certainly_not_sent(&self) -> bool {
        matches!(self, Self::UnknownNode(_) | Self::Unreachable { .. })
    }
}

/// The other nodes, over mTLS. Cloning is cheap.
#[derive(Clone)]
pub struct Peers(Arc<Inner>);

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers").finish_non_exhaustive()
    }
}

struct Inner {
    cluster_uid: String,
    tls: TlsConnector,
    contact: Arc<Contact>,
    nodes: Mutex<BTreeMap<u64, Node>>,
    connections: TaskTracker,
    stop: CancellationToken,
}

/// A node and the idle connections to it, the latest used last.
struct Node {
    address: String,
    idle: Vec<Idle>,
}

struct Idle {
    since: Instant,
    sender: Sender,
}

type Sender = SendRequest<Full<Bytes>>;

impl Peers {
    pub(crate) fn new(identity: &Identity, contact: Arc<Contact>) -> Result<Self, IdentityError> {
        let config: Arc<ClientConfig> = super::tls::client_config(identity)?;
        Ok(Self(Arc::new(Inner {
            cluster_uid: identity.cluster_uid().to_owned(),
            tls: TlsConnector::from(config),
            contact,
            nodes: Mutex::default(),
            connections: TaskTracker::new(),
            stop: CancellationToken::new(),
        })))
    }

    /// Calls `POST /peer/v1/<path>` of another node with `body` as JSON, and reads the answer as
    /// JSON. The answer must have status 200.
    ///
    /// # Errors
    /// Where the node is unknown, can't be reached, does not answer in time, or refuses.
    pub async fn call<Req: Serialize, Res: DeserializeOwned>(
        &self,
        node_id: u64,
        path: &str,
        body: &Req,
        timeout: Duration,
    ) -> Result<Res, PeerError> {
        let path = format!("{PEER_PREFIX}/{}", path.trim_start_matches('/'));
        self.call_path(node_id, &path, body, timeout).await
    }

    /// Calls `POST /peer/v1/<path>` of another node with those bytes; the bytes of an answer of status
    /// 200.
    ///
    /// # Errors
    /// Where the node is unknown, can't be reached, does not answer in time, or refuses.
    pub async fn call_bytes(
        &self,
        node_id: u64,
        path: &str,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, PeerError> {
        let path = format!("{PEER_PREFIX}/{}", path.trim_start_matches('/'));
        self.exchange(node_id, &path, body, timeout).await
    }

    pub(crate) async fn call_path<Req: Serialize, Res: DeserializeOwned>(
        &self,
        node_id: u64,
        path: &str,
        body: &Req,
        timeout: Duration,
    ) -> Result<Res, PeerError> {
        let format = |e: serde_json::Error| PeerError::Format { node_id, why: e.to_string() };
        let body = serde_json::to_vec(body).map_err(format)?;
        let answer = self.exchange(node_id, path, body.into(), timeout).await?;
        serde_json::from_slice(&answer).map_err(format)
    }

    /// Sends bytes, returns the bytes of an answer of status 200.
    pub(crate) async fn exchange(
        &self,
        node_id: u64,
        path: &str,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, PeerError> {
        let exchange = async {
            let connected = match self.take_idle(node_id) {
                Some(sender) => Ok(sender),
                None => self.connect(node_id).await,
            };
            self.send(node_id, connected?, path, body).await
        };
        let answer = tokio::time::timeout(timeout, exchange)
            .await
            .unwrap_or(Err(PeerError::Timeout { node_id, timeout }));
        // A node may be heard of otherwise, so a failure says nothing: only silence counts.
        if answer.is_ok() {
            self.heard(node_id);
        }
        answer
    }

    /// Learns where a node is.
    pub(crate) fn learn(&self, node_id: u64, address: &str) {
        let mut nodes = self.nodes();
        match nodes.get_mut(&node_id) {
            Some(node) if node.address == address => {}
            _ => {
                nodes.insert(node_id, Node { address: address.to_owned(), idle: Vec::new() });
            }
        }
    }

    /// Forgets all nodes but these.
    pub(crate) fn retain(&self, is_kept: impl Fn(u64) -> bool) {
        self.nodes().retain(|node_id, _| is_kept(*node_id));
    }

    /// Closes all connections.
    pub(crate) async fn close(&self) {
        self.0.stop.cancel();
        self.nodes().clear();
        self.0.connections.close();
        self.0.connections.wait().await;
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<u64, Node>> {
        self.0.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_idle(&self, node_id: u64) -> Option<Sender> {
        let mut nodes = self.nodes();
        let idle = &mut nodes.get_mut(&node_id)?.idle;
        idle.retain(|idle| idle.since.elapsed() < IDLE_MAX && idle.sender.is_ready());
        Some(idle.pop()?.sender)
    }

    fn put_idle(&self, node_id: u64, sender: Sender) {
        if let Some(node) = self.nodes().get_mut(&node_id)
            && node.idle.len() < IDLE_MAX_COUNT
        {
            node.idle.push(Idle { since: Instant::now(), sender });
        }
    }

    pub(super) async fn connect(&self, node_id: u64) -> Result<Sender, PeerError> {
        let address = self
            .nodes()
            .get(&node_id)
            .map(|node| node.address.clone())
            .ok_or(PeerError::UnknownNode(node_id))?;
        let unreachable =
            |why: String| PeerError::Unreachable { node_id, why: format!("{address}: {why}") };
        let name = ServerName::try_from(node_name(node_id, &self.0.cluster_uid))
            .map_err(|e| unreachable(e.to_string()))?;
        let connecting = connect(&address, name, &self.0.tls);
        let (sender, connection) = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(why)) => return Err(unreachable(why)),
            Err(_) => return Err(unreachable("no answer".to_owned())),
        };
        let stop = self.0.stop.clone();
        self.0.connections.spawn(async move {
            // How it ends is told to whoever waits for an answer.
            let _ = stop.run_until_cancelled(connection).await;
        });
        Ok(sender)
    }

    async fn send(
        &self,
        node_id: u64,
        mut sender: Sender,
        path: &str,
        body: Bytes,
    ) -> Result<Bytes, PeerError> {
        let broken = |why: String| PeerError::Broken { node_id, why };
        let request = self.request(path, body).map_err(|e| broken(e.to_string()))?;
        let response = match sender.try_send_request(request).await {
            Ok(response) => response,
            Err(mut error) => match error.take_message() {
                // A kept connection had ended unnoticed: nothing was sent on it.
                Some(request) => {
                    sender = self.connect(node_id).await?;
                    let sent = sender.send_request(request).await;
                    sent.map_err(|e| broken(e.to_string()))?
                }
                None => return Err(broken(error.error().to_string())),
            },
        };
        if response.status() != StatusCode::OK {
            let refusal = self.refusal(node_id, response).await;
            self.put_idle(node_id, sender);
            return Err(refusal);
        }
        let body = Limited::new(response.into_body(), MESSAGE_MAX_BYTES).collect().await;
        let body = body.map_err(|e| broken(e.to_string()))?.to_bytes();
        self.put_idle(node_id, sender);
        Ok(body)
    }

    /// What a node said that refuses, read to its end.
    pub(super) async fn refusal(&self, node_id: u64, response: Response<Incoming>) -> PeerError {
        let (head, body) = response.into_parts();
        let body = match Limited::new(body, MESSAGE_MAX_BYTES).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return PeerError::Broken { node_id, why: error.to_string() },
        };
        if head.headers.get(REFUSAL_HEADER).is_some_and(|why| why == REFUSAL_REMOVED) {
            self.0.contact.note_removed();
        }
        let why = String::from_utf8_lossy(&body).chars().take(REFUSAL_MAX_CHARS).collect();
        PeerError::Refused { node_id, status: head.status.as_u16(), why }
    }

    /// Notes that a node said something.
    pub(super) fn heard(&self, node_id: u64) {
        self.0.contact.heard(node_id);
    }

    pub(super) fn request(
        &self,
        path: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, http::Error> {
        let quorum = if self.0.contact.has_quorum_as_leader() { "1" } else { "0" };
        Request::post(path)
            .header(header::HOST, HeaderValue::from_static("ballast.internal"))
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(QUORUM_HEADER, HeaderValue::from_static(quorum))
            .body(Full::new(body))
    }
}

/// Connects, and demands that the other side is called `name`.
pub(crate) async fn connect(
    address: &str,
    name: ServerName<'static>,
    tls: &TlsConnector,
) -> Result<(Sender, impl Future<Output = hyper::Result<()>> + use<>), String> {
    let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    let stream = tls.connect(name, stream).await.map_err(|e| e.to_string())?;
    http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())
}
