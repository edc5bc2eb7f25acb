//! System calls on datagrams: batches of them, and the node's address that each came to and leaves
//! from.
//!
//! Invariant: an answer leaves from the address that the client reached, also where the listener is
//! bound to every address of the node (RFC 1122 §4.1.3.5).

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6,
    SockaddrLike, SockaddrStorage, recvmmsg, sendmsg, setsockopt,
};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::{DATAGRAM_MAX_BYTES, SessionKey};

/// Datagrams that are read by one system call.
const BATCH_COUNT: usize = 16;

/// Has the kernel say, for each datagram, which of the node's addresses it came to.
pub(super) fn ask_for_addresses(socket: &UdpSocket, is_v6: bool) -> io::Result<()> {
    if is_v6 {
        setsockopt(socket, Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(socket, Ipv4PacketInfo, &true)?;
    }
    Ok(())
}

/// Sends to the member that the socket is connected to; what finds no room is lost.
pub(super) fn send(socket: &UdpSocket, bytes: &[u8]) {
    // Asks the kernel and not the reactor, which does not know a new socket yet. An error of the
    // member is told once more where its answers are read.
    if let Err(error) = SockRef::from(socket).send(bytes)
        && error.kind() == io::ErrorKind::ConnectionRefused
    {
        // This call was told of what became of the one before; now it is this datagram's turn.
        let _lost = SockRef::from(socket).send(bytes);
    }
}

/// What the network has told of a member, such as that nobody listens there (ICMP).
pub(super) fn take_error(socket: &UdpSocket) -> io::Result<io::Error> {
    SockRef::from(socket).take_error()?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
}

/// What the kernel says of the datagrams of a batch; what is in them stands in storage that the
/// listeners of a worker share.
pub(super) struct Batch {
    headers: MultiHeaders<SockaddrStorage>,
}

impl Batch {
    /// For a listener on every address of the node, or on one of them.
    pub(super) fn new(is_any: bool) -> Self {
        let control = is_any.then(|| nix::cmsg_space!(in6_pktinfo));
        Self { headers: MultiHeaders::preallocate(BATCH_COUNT, control) }
    }

    /// Calls `each` with the datagrams that are there, a batch of them at most.
    pub(super) fn receive(
        &mut self,
        socket: &UdpSocket,
        storage: &mut Vec<u8>,
        mut each: impl FnMut(&[u8], SessionKey),
    ) {
        let Self { headers } = self;
        if storage.is_empty() {
            // Memory that is not written to yet takes no room.
            *storage = vec![0; BATCH_COUNT * DATAGRAM_MAX_BYTES];
        }
        let mut slices: Vec<_> = storage
            .chunks_exact_mut(DATAGRAM_MAX_BYTES)
            .map(|chunk| [IoSliceMut::new(chunk)])
            .collect();
        let received = socket.try_io(Interest::READABLE, || {
            let fd = socket.as_raw_fd();
            Ok(recvmmsg(fd, headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)?)
        });
        // Nothing there; or an error of the network that concerns none of them.
        let Ok(received) = received else { return };
        for message in received {
            let Some(peer) = message.address.as_ref().and_then(socket_address) else { continue };
            let reached = message
                .cmsgs()
                .ok()
                .and_then(|mut controls| controls.find_map(|control| reached(&control)));
            // One slice for each.
            if let Some(bytes) = message.iovs().next() {
                each(bytes, (peer, reached));
            } else {
                each(&[], (peer, reached));
            }
        }
    }
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
}

fn reached(control: &ControlMessageOwned) -> Option<IpAddr> {
    match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(Ipv4Addr::from_bits(u32::from_be(info.ipi_addr.s_addr)).into())
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into())
        }
        _ => None,
    }
}

/// Sends answers to clients, from the listener's socket.
#[derive(Debug)]
pub(crate) struct Replies(OwnedFd);

impl Replies {
    pub(super) fn new(socket: &UdpSocket) -> io::Result<Self> {
        socket.as_fd().try_clone_to_owned().map(Self)
    }

    /// Sends to the client, from the address that it reached. What finds no room is lost.
    pub(crate) fn send(&self, bytes: &[u8], (peer, from): SessionKey) {
        let content = [IoSlice::new(bytes)];
        let _lost = match (peer, from) {
            (SocketAddr::V4(peer), Some(IpAddr::V4(from))) => {
                let info = in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: in_addr { s_addr: from.to_bits().to_be() },
                    ipi_addr: in_addr { s_addr: 0 },
                };
                let control = [ControlMessage::Ipv4PacketInfo(&info)];
                self.send_with(&content, &control, &SockaddrIn::from(peer))
            }
            (SocketAddr::V6(peer), Some(IpAddr::V6(from))) => {
                let info = in6_pktinfo {
                    ipi6_addr: in6_addr { s6_addr: from.octets() },
                    // The one that the client is on, for link-local addresses.
                    ipi6_ifindex: peer.scope_id(),
                };
                let control = [ControlMessage::Ipv6PacketInfo(&info)];
                self.send_with(&content, &control, &SockaddrIn6::from(peer))
            }
            (SocketAddr::V4(peer), _) => self.send_with(&content, &[], &SockaddrIn::from(peer)),
            (SocketAddr::V6(peer), _) => self.send_with(&content, &[], &SockaddrIn6::from(peer)),
        };
    }

    fn send_with<S: SockaddrLike>(
        &self,
        content: &[IoSlice<'_>],
        control: &[ControlMessage<'_>],
        peer: &S,
    ) -> nix::Result<usize> {
        sendmsg(self.0.as_raw_fd(), content, control, MsgFlags::MSG_DONTWAIT, Some(peer))
    }
}
