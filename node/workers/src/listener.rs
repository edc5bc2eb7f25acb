//! Listening sockets: one per worker and address, sharing the port among themselves and with nobody
//! else.
//!
//! Invariant: a socket returned from here is bound, listening and non-blocking.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;

use ballast_model::Transport;
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use crate::reconcile::Listener;

/// Connections that wait to be accepted, per worker and listener; the kernel caps it at
/// `net.core.somaxconn`.
pub(crate) const BACKLOG_COUNT: i32 = 4_096;
/// Room for datagrams that wait to be read, per worker and listener, in bytes; the kernel caps it at
/// `net.core.rmem_max`.
const DATAGRAM_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// What the kernel takes for a client beyond what is on its way, in bytes (`TCP_NOTSENT_LOWAT`, tcp(7)).
/// Without it the kernel takes megabytes, and says that there is room again only when a third of them is
/// gone: a slow client that reads all the time would look as if it read nothing for minutes.
const UNSENT_MAX_BYTES: u32 = 128 * 1024;

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

/// A socket that takes what clients send.
#[derive(Debug)]
pub enum ListenSocket {
    /// Of connections.
    Stream(TcpListener),
    /// Of datagrams.
    Datagram(std::net::UdpSocket),
}

/// One listening socket per worker. Addresses that the node does not have yet are accepted: a
/// virtual address arrives when the node takes it over.
///
/// # Errors
/// The address is taken, or the kernel refused. Nothing stays bound then.
pub fn listen(listener: Listener, worker_count: usize) -> Result<Vec<ListenSocket>, ListenError> {
    let (transport, address) = listener;
    let open = || -> io::Result<Vec<_>> {
        let sockets: Vec<_> =
            (0..worker_count).map(|_| bound(listener, true)).collect::<io::Result<_>>()?;
        // Listen only when all are bound: the kernel spreads connections over listening sockets.
        let sockets = sockets.into_iter().map(|socket| match transport {
            Transport::Tcp => {
                socket.listen(BACKLOG_COUNT)?;
                Ok(ListenSocket::Stream(socket.into()))
            }
            Transport::Udp => Ok(ListenSocket::Datagram(socket.into())),
        });
        sockets.collect()
    };
    open().map_err(|source| ListenError::new(address, source))
}

/// Whether nobody listens on the address. `SO_REUSEPORT` alone would not tell: two processes of one
/// user that set it share the port, and each gets a part of the connections.
///
/// # Errors
/// Somebody listens, or the kernel refused.
pub fn probe(listener: Listener) -> Result<(), ListenError> {
    bound(listener, false).map(drop).map_err(|source| ListenError::new(listener.1, source))
}

fn bound((transport, address): Listener, share_port: bool) -> io::Result<Socket> {
    let (kind, protocol) = match transport {
        Transport::Tcp => (Type::STREAM, Protocol::TCP),
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    socket.set_reuse_port(share_port)?;
    match address.ip() {
        IpAddr::V4(_) => socket.set_freebind_v4(true)?,
        IpAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_freebind_v6(true)?;
        }
    }
    socket.set_nonblocking(true)?;
    match transport {
        Transport::Tcp => {
            // Without it, connections in TIME-WAIT would keep the port for a minute after a restart.
            socket.set_reuse_address(true)?;
            set_for_clients(&SockRef::from(&socket))?;
        }
        // As much as the kernel allows: what finds no room is lost.
        Transport::Udp => socket.set_recv_buffer_size(DATAGRAM_BUFFER_BYTES)?,
    }
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// Sets what accepted sockets inherit from their listener, which saves calls for each of them.
fn set_for_clients(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT_MAX_BYTES)
}

/// Takes one connection from the queue; it is non-blocking.
///
/// # Errors
/// As accept(2) says; `WouldBlock` where the queue is empty.
pub(crate) fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (stream, peer) = acceptfrom_with(listener, flags)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    Ok((stream.into(), peer.ok_or(io::ErrorKind::ConnectionAborted)?))
}

/// Sets what is set of every listening socket, on one that somebody else has opened.
pub(crate) fn make_ready(socket: &impl AsFd, transport: Transport) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_cloexec(true)?;
    socket.set_nonblocking(true)?;
    match transport {
        Transport::Tcp => set_for_clients(&socket),
        Transport::Udp => socket.set_recv_buffer_size(DATAGRAM_BUFFER_BYTES),
    }
}

/// Whether a socket lets others of this process have its port too.
pub(crate) fn shares_port(socket: &ListenSocket) -> bool {
    let shares = match socket {
        ListenSocket::Stream(socket) => SockRef::from(socket).reuse_port(),
        ListenSocket::Datagram(socket) => SockRef::from(socket).reuse_port(),
    };
    shares.unwrap_or(false)
}

/// Whether a socket on one of them stands in the way of one on the other.
pub fn overlap(one: Listener, other: Listener) -> bool {
    let ((transport, one), (other_transport, other)) = (one, other);
    transport == other_transport
        && one.port() == other.port()
        && one.is_ipv4() == other.is_ipv4()
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}

#[cfg(test)]
mod tests;
