//! The service manager: what it gives a process at its start, and what it is told (systemd's `sd_listen_fds`
//! and `sd_notify`).
//!
//! Invariant: without a service manager, everything here does nothing.

use std::os::fd::OwnedFd;
use std::process;

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

/// This process serves, and how it does, in a few words. It also says which process that is: it may be another
/// than was started. Ends what [`upgrading`] began.
pub fn ready(status: &str) {
    tell(&[NotifyState::MainPid(process::id()), NotifyState::Ready, NotifyState::Status(status)]);
}

/// An upgrade begins, which is what `systemctl reload` waits for.
pub fn upgrading() {
    let mut states = vec![NotifyState::Reloading, NotifyState::Status("upgrading")];
    // That of CLOCK_MONOTONIC; only Type=notify-reload asks for it.
    states.extend(NotifyState::monotonic_usec_now());
    tell(&states);
}

/// The node's end is this process's from now on, whoever has taken over from it.
pub fn is_main() {
    tell(&[NotifyState::MainPid(process::id())]);
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
