//! Answers of other nodes that go on and on: one line of JSON after another.
//!
//! Invariant: an end that the other node's kernel brought about, because the process is gone, is told
//! apart from one that the node meant, and from a path that is broken.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::PEER_PREFIX;
use super::client::{PeerError, Peers};

/// The longest line, in bytes.
const LINE_MAX_BYTES: usize = 256 * 1024;

/// An answer of another node that is read line by line.
#[derive(Debug)]
pub struct Following {
    node_id: u64,
    peers: Peers,
    body: Incoming,
    /// What has come in and is no whole line yet.
    rest: BytesMut,
}

impl Peers {
    /// Calls `POST /peer/v1/<path>` of another node on a connection of its own and reads the answer
    /// as lines of JSON, for as long as it goes on. `timeout` is for its beginning.
    ///
    /// # Errors
    /// Where the node is unknown, can't be reached, does not answer in time, or refuses.
    pub async fn follow<Req: Serialize>(
        &self,
        node_id: u64,
        path: &str,
        body: &Req,
        timeout: Duration,
    ) -> Result<Following, PeerError> {
        let path = format!("{PEER_PREFIX}/{}", path.trim_start_matches('/'));
        let format = |e: serde_json::Error| PeerError::Format { node_id, why: e.to_string() };
        let body: Bytes = serde_json::to_vec(body).map_err(format)?.into();
        let beginning = async {
            let mut sender = self.connect(node_id).await?;
            let broken = |why: String| PeerError::Broken { node_id, why };
            let request = self.request(&path, body).map_err(|e| broken(e.to_string()))?;
            let response = sender.send_request(request).await.map_err(|e| broken(e.to_string()))?;
            if response.status() == StatusCode::OK {
                return Ok(response.into_body());
            }
            Err(self.refusal(node_id, response).await)
        };
        let body = tokio::time::timeout(timeout, beginning)
            .await
            .unwrap_or(Err(PeerError::Timeout { node_id, timeout }))?;
        self.heard(node_id);
        Ok(Following { node_id, peers: self.clone(), body, rest: BytesMut::new() })
    }
}

impl Following {
    /// The next line; none where the other node has ended the answer as it meant to.
    ///
    /// # Errors
    /// [`PeerError::Gone`] where the process at the other end is no more, [`PeerError::Timeout`] where
    /// it says nothing for `limit`, [`PeerError::Format`] where it says what can't be understood.
    pub async fn next<Line: DeserializeOwned>(
        &mut self,
        limit: Duration,
    ) -> Result<Option<Line>, PeerError> {
        let node_id = self.node_id;
        let line = tokio::time::timeout(limit, self.next_line())
            .await
            .unwrap_or(Err(PeerError::Timeout { node_id, timeout: limit }))?;
        let Some(line) = line else { return Ok(None) };
        self.peers.heard(node_id);
        let format = |e: serde_json::Error| PeerError::Format { node_id, why: e.to_string() };
        serde_json::from_slice(&line).map(Some).map_err(format)
    }

    async fn next_line(&mut self) -> Result<Option<Bytes>, PeerError> {
        let node_id = self.node_id;
        let mut looked_at = 0;
        loop {
            let end = self.rest[looked_at..].iter().position(|byte| *byte == b'\n');
            if let Some(end) = end {
                let line = self.rest.split_to(looked_at + end).freeze();
                self.rest.advance(1);
                return Ok(Some(line));
            }
            looked_at = self.rest.len();
            if looked_at > LINE_MAX_BYTES {
                let why = format!("a line is longer than {LINE_MAX_BYTES} bytes");
                return Err(PeerError::Format { node_id, why });
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.rest.extend_from_slice(data);
                    }
                }
                Some(Err(error)) if is_end_of_process(&error) => {
                    return Err(PeerError::Gone { node_id });
                }
                Some(Err(error)) => {
                    return Err(PeerError::Broken { node_id, why: error.to_string() });
                }
            }
        }
    }
}

/// Whether the other kernel closed the connection in the middle of an answer: what it does when the
/// process ends, however that comes about.
fn is_end_of_process(error: &hyper::Error) -> bool {
    if error.is_incomplete_message() {
        return true;
    }
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::BrokenPipe
            );
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests;
