//! Raw sockets: VRRP messages (IP protocol 112) and frames.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use ballast_vrrp::wire::{HOP_LIMIT, MULTICAST_V4, MULTICAST_V6, PROTOCOL, ipv4_packet};
use nix::cmsg_space;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrIn6,
    SockaddrStorage, recvmsg, sendmsg, setsockopt, socket, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Device, raw};

/// Room for advertisements that come in while the thread is busy.
const RECEIVE_BUFFER_BYTES: usize = 256 * 1024;

/// Sends and receives VRRP messages of one family on one device.
#[derive(Debug)]
pub struct VrrpSocket {
    socket: Socket,
    device: u32,
    is_v6: bool,
}

/// A VRRP message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Who sent it.
    pub source: IpAddr,
    /// Whom to.
    pub destination: IpAddr,
    /// TTL or hop limit on arrival.
    pub hop_limit: u8,
    /// What follows the IP header.
    pub payload: Vec<u8>,
}

impl VrrpSocket {
    /// Opens a socket on a device and joins the VRRP multicast group there.
    ///
    /// # Errors
    /// Without `CAP_NET_RAW`, or when the device is gone or has no address of the family.
    pub fn open(is_v6: bool, device: &Device) -> io::Result<Self> {
        let domain = if is_v6 { Domain::IPV6 } else { Domain::IPV4 };
        let kind = Type::RAW.nonblocking().cloexec();
        let socket = Socket::new(domain, kind, Some(Protocol::from(i32::from(PROTOCOL))))?;
        socket.bind_device(Some(device.name.as_bytes()))?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
        let hops = u32::from(HOP_LIMIT);
        if is_v6 {
            socket.set_multicast_if_v6(device.index)?;
            socket.set_multicast_loop_v6(false)?;
            socket.set_multicast_hops_v6(hops)?;
            socket.set_unicast_hops_v6(hops)?;
            socket.set_recv_hoplimit_v6(true)?;
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
            socket.join_multicast_v6(&MULTICAST_V6, device.index)?;
        } else {
            let on = socket2::InterfaceIndexOrAddress::Index(device.index);
            socket.set_multicast_loop_v4(false)?;
            socket.set_multicast_ttl_v4(hops)?;
            socket.set_ttl_v4(hops)?;
            socket.join_multicast_v4_n(&MULTICAST_V4, &on)?;
        }
        Ok(Self { socket, device: device.index, is_v6 })
    }

    /// The next message; none when nothing waits.
    ///
    /// # Errors
    /// What the kernel said. What is no whole IP packet is an error too, of that packet alone.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Datagram>> {
        let mut control = cmsg_space!(libc::in6_pktinfo, libc::c_int);
        let mut slices = [IoSliceMut::new(buffer)];
        let received = recvmsg::<SockaddrStorage>(
            self.socket.as_raw_fd(),
            &mut slices,
            Some(&mut control),
            MsgFlags::MSG_DONTWAIT,
        );
        let received = match received {
            Ok(received) => received,
            Err(nix::errno::Errno::EAGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let length = received.bytes;
        if received.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC) {
            return Err(io::Error::other("the datagram is longer than any advertisement"));
        }
        if !self.is_v6 {
            let packet =
                ipv4_packet(&buffer[..length]).map_err(|why| io::Error::other(why.as_str()))?;
            return Ok(Some(Datagram {
                source: packet.source.into(),
                destination: packet.destination.into(),
                hop_limit: packet.ttl,
                payload: packet.payload.to_vec(),
            }));
        }
        let source = received.address.as_ref().and_then(SockaddrStorage::as_sockaddr_in6);
        let source = source.map(SockaddrIn6::ip);
        let (mut destination, mut hop_limit) = (None, None);
        for message in received.cmsgs()? {
            match message {
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr));
                }
                ControlMessageOwned::Ipv6HopLimit(limit) => hop_limit = u8::try_from(limit).ok(),
                _ => {}
            }
        }
        let (Some(source), Some(destination), Some(hop_limit)) = (source, destination, hop_limit)
        else {
            return Err(io::Error::other("the kernel did not say whence and whither"));
        };
        let payload = buffer[..length].to_vec();
        Ok(Some(Datagram {
            source: source.into(),
            destination: destination.into(),
            hop_limit,
            payload,
        }))
    }

    /// Sends a message from one of the device's addresses.
    ///
    /// # Errors
    /// What the kernel said; a mixture of families.
    pub fn send(&self, source: IpAddr, destination: IpAddr, payload: &[u8]) -> io::Result<()> {
        let index = i32::try_from(self.device).map_err(io::Error::other)?;
        let slices = [IoSlice::new(payload)];
        let fd = self.socket.as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT;
        let sent = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: index,
                    ipi_spec_dst: in_addr(source),
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                let to = SockaddrStorage::from(SocketAddrV4::new(destination, 0));
                sendmsg(fd, &slices, &[ControlMessage::Ipv4PacketInfo(&info)], flags, Some(&to))
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: source.octets() },
                    ipi6_ifindex: self.device,
                };
                let to = SocketAddrV6::new(destination, 0, 0, self.device);
                let to = SockaddrStorage::from(SocketAddr::V6(to));
                sendmsg(fd, &slices, &[ControlMessage::Ipv6PacketInfo(&info)], flags, Some(&to))
            }
            _ => return Err(io::Error::other("source and destination are of two families")),
        };
        sent?;
        Ok(())
    }
}

fn in_addr(address: Ipv4Addr) -> libc::in_addr {
    libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) }
}

impl AsFd for VrrpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Sends whole Ethernet frames on one device.
#[derive(Debug)]
pub struct FrameSocket {
    socket: OwnedFd,
}

impl FrameSocket {
    /// Opens it.
    ///
    /// # Errors
    /// Without `CAP_NET_RAW`, or when the device is gone.
    pub fn open(device: &Device) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
        raw::bind_packet(&socket, device.index, 0)?;
        Ok(Self { socket })
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let sent = rustix::io::write(&self.socket, frame)?;
        if sent == frame.len() { Ok(()) } else { Err(io::Error::other("the frame was cut")) }
    }
}
