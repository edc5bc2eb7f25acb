//! Sessions of datagrams that go from one process to the next: their clients keep the member, and the member
//! sees the same port.
//!
//! Invariant: a session is served by one process at a time: the old one has let go of it before the new one
//! may read. The old one is told whether the new one has it, as one of them writes it down.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use rustix::net::sockopt::socket_cookie;

use crate::listener::ListenSocket;

/// Most sessions that go along, all workers together: each is a descriptor in both processes for a moment.
/// The clients of others begin anew.
pub const MOVED_SESSION_MAX_COUNT: usize = 16 * 1024;

/// A session on its way.
#[derive(Debug)]
pub struct MovedSession {
    /// Its socket, which is connected to the member.
    pub socket: OwnedFd,
    /// What is known of it.
    pub facts: MovedFacts,
    /// Says to who gave it away whether it has arrived.
    pub delivery: Delivery,
}

/// Says to who gave a session away what became of it: [`confirm`](Self::confirm) that another process has
/// it; dropped otherwise, it has got lost on the way. Of one that came from another process there is nobody
/// to tell.
#[derive(Debug, Default)]
pub struct Delivery(Option<Arc<AtomicU8>>);

/// What who gave a session away hears of it.
#[derive(Debug)]
pub struct Receipt(Arc<AtomicU8>);

/// What has become of a session that was given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is on its way.
    Pending,
    /// Another process has it.
    Arrived,
    /// It has got lost: nobody goes on with it.
    Lost,
}

const PENDING: u8 = 0;
const ARRIVED: u8 = 1;
const LOST: u8 = 2;

impl Delivery {
    /// One that is on its way, and what tells of it.
    pub fn tracked() -> (Self, Receipt) {
        let state = Arc::new(AtomicU8::new(PENDING));
        (Self(Some(Arc::clone(&state))), Receipt(state))
    }

    /// Another process has it.
    pub fn confirm(mut self) {
        if let Some(state) = self.0.take() {
            state.store(ARRIVED, Relaxed);
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(state) = &self.0 {
            state.store(LOST, Relaxed);
        }
    }
}

impl Receipt {
    /// What has become of it so far.
    pub fn arrival(&self) -> Arrival {
        match self.0.load(Relaxed) {
            PENDING => Arrival::Pending,
            ARRIVED => Arrival::Arrived,
            _ => Arrival::Lost,
        }
    }
}

/// What is known of a session beside its socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedFacts {
    /// The [cookie](cookie) of the listening socket that its client sends to.
    pub listener: u64,
    /// The client.
    pub client: SocketAddr,
    /// Which of the node's addresses it reached, where the socket has several.
    pub reached: Option<IpAddr>,
    /// The pool's uid.
    pub pool: String,
    /// The member.
    pub member: SocketAddr,
    /// How long it has lasted, in µs.
    pub age_us: u64,
    /// Datagrams that went to the member.
    pub asked_count: u64,
    /// Datagrams that came from it.
    pub answered_count: u64,
    /// Bytes that came from the client.
    pub received_bytes: u64,
    /// Bytes that went to it.
    pub sent_bytes: u64,
}

/// What a socket is called by whichever process has it (`SO_COOKIE`, socket(7)); 0 where the kernel does not
/// say.
pub fn cookie(socket: impl AsFd) -> u64 {
    socket_cookie(socket).unwrap_or(0)
}

/// Sessions that wait for their listeners.
#[derive(Debug, Default)]
pub(crate) struct Waiting(HashMap<u64, Vec<MovedSession>>);

impl Waiting {
    pub(crate) fn insert(&mut self, sessions: Vec<MovedSession>) {
        for session in sessions {
            self.0.entry(session.facts.listener).or_default().push(session);
        }
    }

    /// Those of these sockets.
    pub(crate) fn split_off(&mut self, sockets: &[ListenSocket]) -> Self {
        let cookies = sockets.iter().filter_map(cookie_of);
        Self(cookies.filter_map(|cookie| self.0.remove_entry(&cookie)).collect())
    }

    /// Those of this listening socket.
    pub(crate) fn take(&mut self, socket: &ListenSocket) -> Vec<MovedSession> {
        if self.0.is_empty() {
            return Vec::new();
        }
        cookie_of(socket).and_then(|cookie| self.0.remove(&cookie)).unwrap_or_default()
    }

    /// Ends those whose listeners are not there any more; how many they were.
    pub(crate) fn clear(&mut self) -> usize {
        std::mem::take(&mut self.0).values().map(Vec::len).sum()
    }
}

fn cookie_of(socket: &ListenSocket) -> Option<u64> {
    match socket {
        ListenSocket::Stream(_) => None,
        ListenSocket::Datagram(socket) => Some(cookie(socket)),
    }
}
