//! System calls on datagrams: many at once, and the node's address that each came to and leaves from.
//!
//! Reading and sending go through quinn-udp, which holds the only safe `recvmmsg` with `UDP_GRO` (nix does
//! not give the kernel its room for control messages back between two calls) and a `sendmsg` that allocates
//! nothing. What it would set on a socket suits QUIC alone (no fragments): it is given one that nobody uses,
//! and ours are set up here.
//!
//! Invariant: an answer leaves from the address that the client reached, also where the listener is
//! bound to every address of the node (RFC 1122 §4.1.3.5).

use std::cell::{Cell, RefCell};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use nix::libc::{EINVAL, EIO, EMSGSIZE, EOPNOTSUPP};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo, UdpGroSegment};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::train::{Train, couple};
use super::{DATAGRAM_MAX_BYTES, SessionKey};

/// What is read by one system call: so many datagrams, or trains of them.
pub(super) const BATCH_COUNT: usize = quinn_udp::BATCH_SIZE;
/// The same where little came the last time: each has its price.
const BATCH_MIN_COUNT: usize = 4;

/// Has the kernel say, for each datagram, which of the node's addresses it came to.
pub(super) fn ask_for_addresses(socket: &UdpSocket, is_v6: bool) -> io::Result<()> {
    if is_v6 {
        setsockopt(socket, Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(socket, Ipv4PacketInfo, &true)?;
    }
    Ok(())
}

/// Has the kernel give datagrams that came together together.
pub(super) fn ask_for_trains(socket: &UdpSocket) {
    // Kernels before 5.0 have no such thing, and give them one by one.
    let _unknown = setsockopt(socket, UdpGroSegment, &true);
}

/// What the network has told of a member, such as that nobody listens there (ICMP).
pub(super) fn take_error(socket: &UdpSocket) -> io::Result<io::Error> {
    SockRef::from(socket).take_error()?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
}

/// What the datagrams of one worker pass through.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// What is read.
    pub(super) inbox: RefCell<Inbox>,
    /// What is sent.
    pub(super) outbox: RefCell<Outbox>,
}

impl Exchange {
    pub(super) fn new() -> io::Result<Self> {
        let unused = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .or_else(|_| std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)))?;
        let calls = Rc::new(UdpSocketState::new(UdpSockRef::from(&unused))?);
        let inbox = Inbox {
            calls: Rc::clone(&calls),
            storage: Vec::new(),
            metas: [RecvMeta::default(); BATCH_COUNT],
            ask_count: BATCH_MIN_COUNT,
        };
        let outbox = Outbox { calls, gathered: Vec::new() };
        Ok(Self { inbox: RefCell::new(inbox), outbox: RefCell::new(outbox) })
    }
}

/// The datagrams of a batch.
#[derive(Debug)]
pub(super) struct Inbox {
    calls: Rc<UdpSocketState>,
    storage: Vec<u8>,
    metas: [RecvMeta; BATCH_COUNT],
    /// How many are asked for next.
    ask_count: usize,
}

impl Inbox {
    /// Takes what is there, a batch of it at most; how many there are now.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let Self { calls, storage, metas, ask_count } = self;
        if storage.is_empty() {
            // Memory that is not written to yet takes no room.
            *storage = vec![0; BATCH_COUNT * DATAGRAM_MAX_BYTES];
        }
        let mut places = storage.chunks_exact_mut(DATAGRAM_MAX_BYTES);
        let mut slices: [IoSliceMut<'_>; BATCH_COUNT] =
            std::array::from_fn(|_| IoSliceMut::new(places.next().unwrap_or_default()));
        let asked = *ask_count;
        let mut count = 0;
        let received = socket.try_io(Interest::READABLE, || {
            count = calls.recv(UdpSockRef::from(socket), &mut slices[..asked], &mut metas[..])?;
            // Fewer than were asked for: there are no more, and the reactor tells of those that come.
            if count < asked { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        if let Err(error) = received
            && error.kind() != io::ErrorKind::WouldBlock
        {
            return Err(error);
        }
        *ask_count = (count * 2).clamp(BATCH_MIN_COUNT, BATCH_COUNT);
        Ok(count)
    }

    /// Who sent that one of the batch, and to which address.
    pub(super) fn key(&self, index: usize) -> SessionKey {
        (self.metas[index].addr, self.metas[index].dst_ip)
    }

    /// That one of the batch.
    pub(super) fn train(&self, index: usize) -> Train<'_> {
        let meta = &self.metas[index];
        let begin = index * DATAGRAM_MAX_BYTES;
        Train { bytes: &self.storage[begin..begin + meta.len], stride: meta.stride }
    }
}

/// Where datagrams go.
pub(super) struct Way<'a> {
    /// Over which socket.
    pub(super) socket: SockRef<'a>,
    pub(super) to: SocketAddr,
    /// From which address, where the socket has several.
    pub(super) from: Option<IpAddr>,
    /// Whether the socket leads nowhere else.
    pub(super) is_connected: bool,
    /// Largest datagrams that the way takes in trains, in bytes.
    pub(super) stride_max_bytes: &'a Cell<usize>,
}

/// Sends; what finds no room is lost.
#[derive(Debug)]
pub(super) struct Outbox {
    calls: Rc<UdpSocketState>,
    gathered: Vec<u8>,
}

impl Outbox {
    /// Sends all of these datagrams, in their order.
    pub(super) fn send<'a>(&mut self, way: &Way<'_>, trains: impl Iterator<Item = Train<'a>>) {
        let Self { calls, gathered } = self;
        couple(trains, way.stride_max_bytes.get(), gathered, |train| way.send(calls, train));
    }
}

impl Way<'_> {
    fn send(&self, calls: &UdpSocketState, train: Train<'_>) {
        if train.count() > 1 && train.stride <= self.stride_max_bytes.get() {
            match self.call(calls, train) {
                Ok(()) => return,
                Err(error) => match error.raw_os_error() {
                    // The way has no room for datagrams of this size but in fragments, or is through
                    // a device that can't make them (udp(7)): then one by one.
                    Some(EINVAL | EMSGSIZE) => {
                        self.stride_max_bytes.set(train.stride.saturating_sub(1));
                    }
                    Some(EIO | EOPNOTSUPP) => self.stride_max_bytes.set(0),
                    _ => return,
                },
            }
        }
        for datagram in train.datagrams() {
            let _lost = self.call(calls, Train { bytes: datagram, stride: datagram.len() });
        }
    }

    /// Asks the kernel and not the reactor, which does not know a new socket yet.
    fn call(&self, calls: &UdpSocketState, train: Train<'_>) -> io::Result<()> {
        match self.try_call(calls, train) {
            // This call was told of what became of the one before; now it is this one's turn. An error
            // of a member is told once more where its answers are read.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                self.try_call(calls, train)
            }
            called => called,
        }
    }

    fn try_call(&self, calls: &UdpSocketState, train: Train<'_>) -> io::Result<()> {
        let is_one = train.count() == 1;
        if is_one && self.is_connected {
            // Cheaper: the kernel knows the way already.
            return self.socket.send(train.bytes).map(drop);
        }
        let transmit = Transmit {
            destination: self.to,
            ecn: None,
            contents: train.bytes,
            segment_size: (!is_one).then_some(train.stride),
            src_ip: self.from,
        };
        calls.try_send(UdpSockRef::from(&*self.socket), &transmit)
    }
}

/// Sends answers to clients, from the listener's socket.
#[derive(Debug)]
pub(crate) struct Replies(OwnedFd);

impl Replies {
    pub(super) fn new(socket: &UdpSocket) -> io::Result<Self> {
        socket.as_fd().try_clone_to_owned().map(Self)
    }

    /// The way to that client, from the address that it reached.
    pub(super) fn way<'a>(
        &'a self,
        (to, from): SessionKey,
        stride_max_bytes: &'a Cell<usize>,
    ) -> Way<'a> {
        let socket = SockRef::from(&self.0);
        Way { socket, to, from, is_connected: false, stride_max_bytes }
    }
}
