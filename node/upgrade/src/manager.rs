//! The service manager: what it gives a process at its start, and what it is told (systemd's `sd_listen_fds`
//! and `sd_notify`).
//!
//! Invariant: without a service manager, everything here does nothing.

use std::os::fd::OwnedFd;

use listenfd::ListenFd;
use sd_notify::NotifyState;

/// The sockets that the service manager opened for this process. Call it once, before there are threads:
/// it takes the variables away, so that no process that is started later takes them for its own.
pub fn sockets() -> Vec<OwnedFd> {
    let mut given = ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..given.len() {
        let stream = given.take_tcp_listener(index).ok().flatten().map(OwnedFd::from);
        let socket = stream.or_else(|| Some(given.take_udp_socket(index).ok()??.into()));
        match socket {
            Some(socket) => sockets.push(socket),
            None => tracing::warn!(index, "a socket of the service manager is not of TCP or UDP"),
        }
    }
    sockets
}

/// This process serves. It also says which process that is: it may be another than was started.
pub fn ready() {
    tell(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready]);
}

/// Something else than usual is under way, in a few words.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// This process is about to end, and nobody comes after it.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager can't be told");
    }
}
