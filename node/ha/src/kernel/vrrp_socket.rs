//! VRRP packets of one device and one family. Whatever [`VrrpSocket::receive`] returns came in on
//! that device with IP protocol 112, and is whole.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use ballast_vrrp::wire::{HOP_LIMIT, MULTICAST_V4, MULTICAST_V6, PROTOCOL, ipv4_packet};
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage,
    recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use super::Device;

/// Advertisements are small; this many hundred may wait while the thread does something else.
const RECEIVE_BUFFER_BYTES: usize = 256 * 1024;
/// Packets that are not whole are passed over, this many in one call.
const SKIPPED_MAX_COUNT: usize = 64;
/// Class selector 6, network control: the last to be dropped on a full link (RFC 4594 §3.2).
const TRAFFIC_CLASS: u32 = 0xc0;

/// A raw socket for VRRP.
#[derive(Debug)]
pub struct VrrpSocket {
    socket: Socket,
    v6: bool,
    device: u32,
}

/// A received packet without its IP header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Who sent it.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// Its TTL or hop limit.
    pub hop_limit: u8,
    /// What follows the IP header.
    pub payload: Vec<u8>,
}

impl VrrpSocket {
    /// Opens a socket and joins the VRRP group on the device.
    ///
    /// # Errors
    /// CAP_NET_RAW is missing, the device is gone or can't join.
    pub fn open(v6: bool, device: &Device) -> io::Result<Self> {
        let index = NonZeroU32::new(device.index)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))?;
        let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
        let protocol = Protocol::from(i32::from(PROTOCOL));
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        socket.set_nonblocking(true)?;
        // Before anything is received from elsewhere that would be taken for this device's.
        if v6 {
            socket.bind_device_by_index_v6(Some(index))?;
            socket.set_recv_hoplimit_v6(true)?;
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
            socket.set_unicast_hops_v6(u32::from(HOP_LIMIT))?;
            socket.set_multicast_hops_v6(u32::from(HOP_LIMIT))?;
            socket.set_multicast_loop_v6(false)?;
            socket.set_multicast_all_v6(false)?;
            socket.set_multicast_if_v6(device.index)?;
            socket.set_tclass_v6(TRAFFIC_CLASS)?;
            socket.join_multicast_v6(&MULTICAST_V6, device.index)?;
        } else {
            socket.bind_device_by_index_v4(Some(index))?;
            socket.set_ttl_v4(u32::from(HOP_LIMIT))?;
            socket.set_multicast_ttl_v4(u32::from(HOP_LIMIT))?;
            socket.set_multicast_loop_v4(false)?;
            socket.set_multicast_all_v4(false)?;
            socket.set_tos_v4(TRAFFIC_CLASS)?;
            let device = InterfaceIndexOrAddress::Index(device.index);
            socket.join_multicast_v4_n(&MULTICAST_V4, &device)?;
        }
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
        Ok(Self { socket, v6, device: device.index })
    }

    /// The next packet; none when there is none now. What is not a whole packet of this family, or
    /// does not fit in `buffer`, is passed over.
    ///
    /// # Errors
    /// The device went down (told once) or is gone.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Datagram>> {
        for _ in 0..SKIPPED_MAX_COUNT {
            let received = if self.v6 { self.receive_v6(buffer) } else { self.receive_v4(buffer) };
            match received {
                Ok(Some(datagram)) => return Ok(Some(datagram)),
                Ok(None) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Sends one packet from `source`, which has to be an address of this node.
    ///
    /// # Errors
    /// The source is not ours, the device is down, or there is no way to the destination.
    pub fn send(&self, source: IpAddr, destination: IpAddr, payload: &[u8]) -> io::Result<()> {
        let sent_bytes = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) if !self.v6 => {
                self.send_v4(source, destination, payload)?
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) if self.v6 => {
                self.send_v6(source, destination, payload)?
            }
            _ => return Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT)),
        };
        if sent_bytes == payload.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Inner none: not a whole packet.
    fn receive_v4(&self, buffer: &mut [u8]) -> Result<Option<Datagram>, Errno> {
        let mut slices = [IoSliceMut::new(buffer)];
        let fd = self.socket.as_raw_fd();
        let received = recvmsg::<SockaddrStorage>(fd, &mut slices, None, MsgFlags::empty())?;
        let (length, flags) = (received.bytes, received.flags);
        if flags.contains(MsgFlags::MSG_TRUNC) {
            return Ok(None);
        }
        let packet = buffer.get(..length).and_then(|bytes| ipv4_packet(bytes).ok());
        Ok(packet.map(|packet| Datagram {
            source: packet.source.into(),
            destination: packet.destination.into(),
            hop_limit: packet.ttl,
            payload: packet.payload.to_vec(),
        }))
    }

    /// Inner none: not a whole packet.
    fn receive_v6(&self, buffer: &mut [u8]) -> Result<Option<Datagram>, Errno> {
        let mut slices = [IoSliceMut::new(buffer)];
        let mut control = nix::cmsg_space!(libc::in6_pktinfo, libc::c_int);
        let fd = self.socket.as_raw_fd();
        let flags = MsgFlags::empty();
        let received =
            recvmsg::<SockaddrIn6>(fd, &mut slices, Some(&mut control), flags)?;
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
        let source = received.address.map(|address| address.ip());
        let (length, truncated) = (received.bytes, received.flags.contains(MsgFlags::MSG_TRUNC));
        let (Some(source), Some(destination), Some(hop_limit), false) =
            (source, destination, hop_limit, truncated)
        else {
            return Ok(None);
        };
        Ok(buffer.get(..length).map(|payload| Datagram {
            source: source.into(),
            destination: destination.into(),
            hop_limit,
            payload: payload.to_vec(),
        }))
    }

    fn send_v4(&self, source: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> io::Result<usize> {
        let info = libc::in_pktinfo {
            ipi_ifindex: self.device.cast_signed(),
            ipi_spec_dst: libc::in_addr { s_addr: u32::from(source).to_be() },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        let to = SockaddrIn::from(SocketAddrV4::new(to, 0));
        let control = [ControlMessage::Ipv4PacketInfo(&info)];
        let fd = self.socket.as_raw_fd();
        Ok(sendmsg(fd, &[IoSlice::new(payload)], &control, MsgFlags::empty(), Some(&to))?)
    }

    fn send_v6(&self, source: Ipv6Addr, to: Ipv6Addr, payload: &[u8]) -> io::Result<usize> {
        let info = libc::in6_pktinfo {
            ipi6_addr: libc::in6_addr { s6_addr: source.octets() },
            ipi6_ifindex: self.device,
        };
        // Link-local addresses mean nothing without their device (RFC 4007 §6).
        let scope = if to.is_unicast_link_local() || to.is_multicast() { self.device } else { 0 };
        let to = SockaddrIn6::from(SocketAddrV6::new(to, 0, 0, scope));
        let control = [ControlMessage::Ipv6PacketInfo(&info)];
        let fd = self.socket.as_raw_fd();
        Ok(sendmsg(fd, &[IoSlice::new(payload)], &control, MsgFlags::empty(), Some(&to))?)
    }
}

impl AsFd for VrrpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
