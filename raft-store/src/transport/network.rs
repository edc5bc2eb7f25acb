//! openraft's messages, carried by [`Peers`].
//!
//! Invariant: an entry of any accepted size gets through, however slow the link: openraft gives up
//! on an append after one heartbeat interval and sends it again, so a large one goes on in the
//! background and the repetition waits for the same answer.

#![expect(clippy::result_large_err, reason = "openraft decides what its errors hold")]

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use openraft::BasicNode;
use openraft::error::{
    Fatal, InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::client::{PeerError, Peers};
use super::{APPEND, SNAPSHOT, VOTE};
use crate::raft::{LogId, SnapshotMeta, TypeConfig, Vote};

/// Appends above this size are sent in the background.
const LARGE_MIN_BYTES: usize = 128 * 1024;
/// How long a large append may take.
const LARGE_TIMEOUT: Duration = Duration::from_secs(60);
/// Pauses before the next attempt to reach a node that can't be reached. Short ones: a node that
/// comes back campaigns where it hears nothing for an election timeout.
const BACKOFF_MS: [u64; 4] = [50, 100, 200, 400];

type Error<E = openraft::error::Infallible> = RPCError<u64, BasicNode, RaftError<u64, E>>;

/// Makes a [`PeerNetwork`] for each node.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) peers: Peers,
}

/// The way to one node.
pub(crate) struct PeerNetwork {
    node_id: u64,
    peers: Peers,
    large: Option<LargeAppend>,
}

/// A large append that is on its way.
struct LargeAppend {
    of: AppendKey,
    answer: JoinHandle<Result<Bytes, PeerError>>,
}

/// What tells appends apart.
#[derive(PartialEq, Eq)]
struct AppendKey {
    vote: Vote,
    previous: Option<LogId>,
    last: Option<LogId>,
}

/// The part of a snapshot's chunk that is sent as JSON, before the bytes.
#[derive(Serialize, Deserialize)]
struct ChunkHead {
    vote: Vote,
    meta: SnapshotMeta,
    offset: u64,
    done: bool,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = PeerNetwork;

    async fn new_client(&mut self, node_id: u64, node: &BasicNode) -> PeerNetwork {
        self.peers.learn(node_id, &node.addr);
        PeerNetwork { node_id, peers: self.peers.clone(), large: None }
    }
}

impl RaftNetwork<TypeConfig> for PeerNetwork {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, Error> {
        let key = AppendKey {
            vote: rpc.vote,
            previous: rpc.prev_log_id,
            last: rpc.entries.last().map(|entry| entry.log_id),
        };
        if self.large.as_ref().is_some_and(|large| large.of == key) {
            // While it is on its way the other node must go on hearing of its leader.
            let alive = AppendEntriesRequest::<TypeConfig> {
                vote: rpc.vote,
                prev_log_id: rpc.prev_log_id,
                entries: Vec::new(),
                leader_commit: None,
            };
            let body = to_json(&alive)?;
            let answer = self.peers.exchange(self.node_id, APPEND, body, option.soft_ttl()).await;
            let _: AppendEntriesResponse<u64> = self.read(answer)?;
        } else {
            self.drop_large();
            let body = to_json(&rpc)?;
            if body.len() < LARGE_MIN_BYTES {
                let answer = self.peers.exchange(self.node_id, APPEND, body, option.hard_ttl());
                return self.read(answer.await);
            }
            let (peers, node_id) = (self.peers.clone(), self.node_id);
            let answer =
                tokio::spawn(
                    async move { peers.exchange(node_id, APPEND, body, LARGE_TIMEOUT).await },
                );
            self.large = Some(LargeAppend { of: key, answer });
        }
        let Some(large) = &mut self.large else {
            return Err(Unreachable::new(&std::io::Error::other("nothing is on its way")).into());
        };
        // Cancelled here by openraft's timeout, it stays where it is for the next call.
        let answer = (&mut large.answer).await;
        self.large = None;
        match answer {
            Ok(answer) => self.read(answer),
            Err(error) => Err(NetworkError::new(&error).into()),
        }
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Error<InstallSnapshotError>> {
        let body = encode_chunk(rpc).map_err(|e| NetworkError::new(&e))?;
        let answer = self.peers.exchange(self.node_id, SNAPSHOT, body, option.hard_ttl()).await;
        self.read(answer)
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, Error> {
        let body = to_json(&rpc)?;
        let answer = self.peers.exchange(self.node_id, VOTE, body, option.hard_ttl()).await;
        self.read(answer)
    }

    fn backoff(&self) -> Backoff {
        let longest = BACKOFF_MS.last().copied().into_iter().cycle();
        Backoff::new(BACKOFF_MS.into_iter().chain(longest).map(Duration::from_millis))
    }
}

impl PeerNetwork {
    fn drop_large(&mut self) {
        if let Some(large) = self.large.take() {
            large.answer.abort();
        }
    }

    fn read<T, E>(&self, answer: Result<Bytes, PeerError>) -> Result<T, Error<E>>
    where
        T: DeserializeOwned,
        E: std::error::Error + DeserializeOwned,
    {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error @ (PeerError::Unreachable { .. } | PeerError::UnknownNode(_))) => {
                return Err(Unreachable::new(&error).into());
            }
            Err(error @ PeerError::Refused { .. }) => return Err(Unreachable::new(&error).into()),
            Err(error) => return Err(NetworkError::new(&error).into()),
        };
        let answer: Result<T, RaftError<u64, E>> =
            serde_json::from_slice(&answer).map_err(|e| NetworkError::new(&e))?;
        answer.map_err(|error| match error {
            RaftError::Fatal(Fatal::Stopped) => Unreachable::new(&Fatal::<u64>::Stopped).into(),
            error => RemoteError::new(self.node_id, error).into(),
        })
    }
}

impl Drop for PeerNetwork {
    fn drop(&mut self) {
        self.drop_large();
    }
}

fn to_json(message: &impl Serialize) -> Result<Bytes, NetworkError> {
    serde_json::to_vec(message).map(Bytes::from).map_err(|e| NetworkError::new(&e))
}

fn encode_chunk(rpc: InstallSnapshotRequest<TypeConfig>) -> Result<Bytes, serde_json::Error> {
    let head = ChunkHead { vote: rpc.vote, meta: rpc.meta, offset: rpc.offset, done: rpc.done };
    let head = serde_json::to_vec(&head)?;
    let mut body = BytesMut::with_capacity(4 + head.len() + rpc.data.len());
    body.put_u32(u32::try_from(head.len()).unwrap_or(u32::MAX));
    body.put_slice(&head);
    body.put_slice(&rpc.data);
    Ok(body.freeze())
}

/// Reads a chunk of a snapshot; none where it is not one.
pub(crate) fn decode_chunk(body: &[u8]) -> Option<InstallSnapshotRequest<TypeConfig>> {
    let (length, rest) = body.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (head, data) = rest.split_at_checked(length)?;
    let head: ChunkHead = serde_json::from_slice(head).ok()?;
    Some(InstallSnapshotRequest {
        vote: head.vote,
        meta: head.meta,
        offset: head.offset,
        data: data.to_vec(),
        done: head.done,
    })
}
