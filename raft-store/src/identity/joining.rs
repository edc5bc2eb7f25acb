//! Joining, from the side of the node that joins; and what is said on the way.
//!
//! Invariant: the secret is sent only to a node whose certificate ends in the authority that the
//! token names, and the private key is sent to nobody.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use rustls_pki_types::ServerName;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::files::{self, Contents, IdentityFiles, NodeFile};
use super::token::Token;
use super::{IdentityError, JoinOptions, JoinReport, authority};
use crate::keys::ClusterKey;
use crate::transport::{JOIN, client, tls};

/// The version of the request.
pub(crate) const VERSION: u32 = 1;
/// How long to go on trying where the cluster can't decide (no leader at the moment).
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(500);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);
const ANSWER_MAX_BYTES: usize = 256 * 1024;

/// What one who joins says.
#[derive(Serialize, Deserialize)]
pub(crate) struct JoinRequest {
    pub(crate) version: u32,
    pub(crate) ticket: String,
    pub(crate) secret: String,
    pub(crate) node_name: String,
    pub(crate) cluster_address: String,
    pub(crate) api_addresses: Vec<String>,
    pub(crate) signing_request_pem: String,
}

/// What is answered.
#[derive(Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(crate) enum JoinAnswer {
    /// It is in.
    Admitted(Box<Admitted>),
    /// It is not, and asking again won't help.
    Refused { why: String },
    /// It may be later.
    NotNow { why: String },
}

/// What a new node gets.
#[derive(Serialize, Deserialize)]
pub(crate) struct Admitted {
    pub(crate) node: NodeFile,
    pub(crate) chain_pem: String,
    pub(crate) ca_pem: String,
    /// Secret.
    pub(crate) cluster_key: String,
}

pub(super) async fn join(
    state_dir: &Path,
    token: &str,
    peer: &str,
    options: &JoinOptions,
) -> Result<JoinReport, IdentityError> {
    let files = IdentityFiles::vacant(state_dir)?;
    let token = Token::parse(token).ok_or(IdentityError::NotAToken)?;
    let key = authority::generate_key()?;
    let request = JoinRequest {
        version: VERSION,
        ticket: token.id(),
        secret: token.secret(),
        node_name: options.node_name.clone(),
        cluster_address: options.cluster_address.clone(),
        api_addresses: options.api_addresses.clone(),
        signing_request_pem: authority::signing_request(&key)?,
    };
    let admitted = ask(peer, &token, &request).await?;
    let broken = |why: &str| IdentityError::Peer { peer: peer.to_owned(), why: why.to_owned() };
    if authority::fingerprint(&admitted.ca_pem)? != token.ca_fingerprint_sha256() {
        return Err(broken("it answers with another authority than the token's"));
    }
    let keys = ClusterKey::from_base64(&admitted.cluster_key)
        .ok_or_else(|| broken("it answers without the cluster's key"))?;
    files.create(&Contents {
        node: &admitted.node,
        chain_pem: &admitted.chain_pem,
        private_key_pem: &key.serialize_pem(),
        ca_pem: &admitted.ca_pem,
        keys: &keys,
        bootstrap: None,
    })?;
    // Read back at once: what can't be read later is better known now.
    let identity = super::load(state_dir)?;
    debug_assert_eq!(identity.node_file().version, files::VERSION);
    Ok(JoinReport {
        cluster_name: admitted.node.cluster_name.clone(),
        node_id: admitted.node.node_id,
        role: admitted.node.role,
        ca_fingerprint_sha256: identity.ca_fingerprint_sha256().to_owned(),
    })
}

/// Asks until the cluster decides. The very same request is sent again, which the cluster
/// recognises: a lost answer costs no token.
async fn ask(
    peer: &str,
    token: &Token,
    request: &JoinRequest,
) -> Result<Box<Admitted>, IdentityError> {
    let body = serde_json::to_vec(request)
        .map_err(|e| IdentityError::Invalid(format!("the request can't be written: {e}")))?;
    let tls = TlsConnector::from(tls::joining_config(token.ca_fingerprint_sha256())?);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let attempt = attempt(peer, &tls, Bytes::from(body.clone()));
        let why = match tokio::time::timeout(ATTEMPT_TIMEOUT, attempt).await {
            Ok(Ok(JoinAnswer::Admitted(admitted))) => return Ok(admitted),
            Ok(Ok(JoinAnswer::Refused { why })) => {
                return Err(IdentityError::Refused { peer: peer.to_owned(), why });
            }
            Ok(Ok(JoinAnswer::NotNow { why }) | Err(Failure::Lost(why))) => why,
            Ok(Err(Failure::NotThere(why))) => {
                return Err(IdentityError::Peer { peer: peer.to_owned(), why });
            }
            Err(_) => format!("no answer within {} s", ATTEMPT_TIMEOUT.as_secs()),
        };
        if Instant::now() + PAUSE > deadline {
            return Err(IdentityError::Peer { peer: peer.to_owned(), why });
        }
        tracing::info!(peer, why, "joining is not possible yet; trying again");
        tokio::time::sleep(PAUSE).await;
    }
}

enum Failure {
    /// It can't be connected to, or is another cluster's.
    NotThere(String),
    /// The request was sent, the answer was lost.
    Lost(String),
}

async fn attempt(peer: &str, tls: &TlsConnector, body: Bytes) -> Result<JoinAnswer, Failure> {
    // Which node answers does not matter; the verifier looks at the authority.
    let name =
        ServerName::try_from("ballast.internal").map_err(|e| Failure::NotThere(e.to_string()))?;
    let (mut sender, connection) =
        client::connect(peer, name, tls).await.map_err(Failure::NotThere)?;
    let exchange = async {
        let request = Request::post(JOIN)
            .header(header::HOST, "ballast.internal")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|e| e.to_string())?;
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_MAX_BYTES).collect().await;
        let body = body.map_err(|e| e.to_string())?.to_bytes();
        if status != StatusCode::OK {
            return Err(format!("status {status}: {}", String::from_utf8_lossy(&body)));
        }
        serde_json::from_slice(&body).map_err(|e| e.to_string())
    };
    tokio::pin!(exchange);
    // The connection may end right behind the answer, which is then there to be read.
    let answer = tokio::select! {
        biased;
        answer = &mut exchange => answer,
        _ = connection => exchange.await,
    };
    answer.map_err(Failure::Lost)
}

impl Admitted {
    pub(crate) fn new(node: NodeFile, chain_pem: String, ca_pem: &str, keys: &ClusterKey) -> Self {
        Self { node, chain_pem, ca_pem: ca_pem.to_owned(), cluster_key: keys.to_base64() }
    }
}

impl JoinRequest {
    /// What tells this request from another under the same ticket.
    pub(crate) fn fingerprint(&self) -> String {
        let parts =
            [&self.secret, &self.node_name, &self.cluster_address, &self.signing_request_pem];
        crate::keys::sha256_hex(parts.map(|part| STANDARD.encode(part)).join(".").as_bytes())
    }
}
