//! Listening sockets that this process did not open: of the process before it, or of the service manager.
//!
//! Invariant: a socket is used for the very address that it is bound to, or closed; and where one is used,
//! it is the same socket, so that what waits in its queue is served.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use ballast_model::Transport;
use socket2::{SockRef, Type};

use crate::listener::{ListenSocket, make_ready};
use crate::reconcile::Listener;

/// Sockets, by where they are bound.
#[derive(Debug, Default)]
pub struct Inherited(BTreeMap<Listener, Vec<ListenSocket>>);

/// What a data plane starts with.
#[derive(Debug, Default)]
pub struct Inheritance {
    /// Sockets to go on with.
    pub sockets: Inherited,
    /// Nothing is accepted before [`DataPlane::open`](crate::DataPlane::open) says so.
    pub is_held: bool,
}

impl Inherited {
    /// Takes a socket in.
    ///
    /// # Errors
    /// It is no listening TCP socket and no UDP socket of an IP address; it is closed then.
    pub fn insert(&mut self, socket: OwnedFd) -> io::Result<Listener> {
        let (listener, socket) = recognize(socket)?;
        self.0.entry(listener).or_default().push(socket);
        Ok(listener)
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes out what is bound to this address.
    pub fn take(&mut self, listener: Listener) -> Vec<ListenSocket> {
        self.0.remove(&listener).unwrap_or_default()
    }

    /// Closes what nobody wants; says where that was.
    pub(crate) fn close_all(&mut self) -> impl Iterator<Item = Listener> + use<> {
        std::mem::take(&mut self.0).into_keys()
    }
}

/// What is bound where.
fn recognize(socket: OwnedFd) -> io::Result<(Listener, ListenSocket)> {
    let refused = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, why);
    let shown = SockRef::from(&socket);
    let address = shown.local_addr()?.as_socket();
    let address = address.ok_or_else(|| refused("it is not bound to an IP address"))?;
    let kind = shown.r#type()?;
    let listening = shown.is_listener()?;
    if address.port() == 0 {
        return Err(refused("it is not bound to a port"));
    }
    match kind {
        Type::STREAM if listening => {
            make_ready(&socket, Transport::Tcp)?;
            Ok(((Transport::Tcp, address), ListenSocket::Stream(socket.into())))
        }
        Type::STREAM => Err(refused("it does not listen")),
        Type::DGRAM => {
            make_ready(&socket, Transport::Udp)?;
            Ok(((Transport::Udp, address), ListenSocket::Datagram(socket.into())))
        }
        _ => Err(refused("it is of neither TCP nor UDP")),
    }
}

/// Where a socket is bound.
///
/// # Errors
/// The kernel does not say, or it is no address of IP.
pub fn address_of(socket: &impl AsFd) -> io::Result<SocketAddr> {
    let address = SockRef::from(socket).local_addr()?.as_socket();
    address.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it has no IP address"))
}

#[cfg(test)]
mod tests;
