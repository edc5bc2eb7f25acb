//! What a data plane gives to the process that follows it, and takes from the one before.
//!
//! Invariant: what is given away is nobody's twice: a socket may be in both processes, a session is not.

use std::os::fd::OwnedFd;

use tokio::sync::oneshot;

use super::{DataPlane, PlaneRequest};
use crate::moved::MovedSession;

impl DataPlane {
    /// A second descriptor of every listening socket, for another process: both accept what comes.
    pub async fn share(&self) -> Vec<OwnedFd> {
        let (done, shared) = oneshot::channel();
        if self.requests.send(PlaneRequest::Share { done }).await.is_err() {
            return Vec::new();
        }
        shared.await.unwrap_or_default()
    }

    /// Takes in sessions of datagrams that another process has let go of; they go on when
    /// [`open`](Self::open) opens their listeners.
    pub async fn adopt_sessions(&self, sessions: Vec<MovedSession>) {
        // An error means that the plane has ended.
        let _ended = self.requests.send(PlaneRequest::AdoptSessions { sessions }).await;
    }

    /// Leaves datagrams to another process that was given the sockets of [`share`](Self::share), with the
    /// sessions that there are, at most
    /// [`MOVED_SESSION_MAX_COUNT`](crate::moved::MOVED_SESSION_MAX_COUNT). What is not among them stays, and
    /// passes answers on until it ends.
    pub async fn give_sessions(&self) -> Vec<MovedSession> {
        let (done, given) = oneshot::channel();
        if self.requests.send(PlaneRequest::GiveSessions { done }).await.is_err() {
            return Vec::new();
        }
        given.await.unwrap_or_default()
    }
}
