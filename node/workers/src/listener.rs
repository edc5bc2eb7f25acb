//! Listening sockets: one per worker and address, sharing the port among themselves and with nobody
//! else.
//!
//! Invariant: a socket returned from here is bound, listening and non-blocking.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Connections that wait to be accepted, per worker and listener; the kernel caps it at
/// `net.core.somaxconn`.
pub(crate) const BACKLOG_COUNT: i32 = 4_096;

/// Why an address could not be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process has the port.
    #[error("{address} is in use by another process")]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("can't listen on {address}: {source}")]
    Io {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
}

impl ListenError {
    fn new(address: SocketAddr, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::AddrInUse {
            Self::InUse { address }
        } else {
            Self::Io { address, source }
        }
    }
}

/// One listening socket per worker. Addresses that the node does not have yet are accepted: a
/// virtual address arrives when the node takes it over.
///
/// # Errors
/// The address is taken, or the kernel refused. Nothing stays bound then.
pub fn listen(
    address: SocketAddr,
    worker_count: usize,
) -> Result<Vec<std::net::TcpListener>, ListenError> {
    let open = || -> io::Result<Vec<_>> {
        let sockets: Vec<_> =
            (0..worker_count).map(|_| bound(address, true)).collect::<io::Result<_>>()?;
        // Listen only when all are bound: the kernel spreads connections over listening sockets.
        for socket in &sockets {
            socket.listen(BACKLOG_COUNT)?;
        }
        Ok(sockets.into_iter().map(Into::into).collect())
    };
    open().map_err(|source| ListenError::new(address, source))
}

/// Whether nobody listens on the address. `SO_REUSEPORT` alone would not tell: two processes of one
/// user that set it share the port, and each gets a part of the connections.
///
/// # Errors
/// Somebody listens, or the kernel refused.
pub fn probe(address: SocketAddr) -> Result<(), ListenError> {
    bound(address, false).map(drop).map_err(|source| ListenError::new(address, source))
}

fn bound(address: SocketAddr, share_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Without it, connections in TIME-WAIT would keep the port for a minute after a restart.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share_port)?;
    match address.ip() {
        IpAddr::V4(_) => socket.set_freebind_v4(true)?,
        IpAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_freebind_v6(true)?;
        }
    }
    // Accepted sockets inherit both from the listener, which saves a call for each of them.
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// Whether a socket on one of the addresses stands in the way of one on the other.
pub fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port()
        && one.is_ipv4() == other.is_ipv4()
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}

#[cfg(test)]
mod tests;
