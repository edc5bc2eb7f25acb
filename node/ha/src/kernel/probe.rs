//! Whether this machine lets VRRP messages pass: one goes to the multicast group and comes back, without
//! leaving the machine.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ballast_vrrp::wire::{MULTICAST_V4, MULTICAST_V6, PROTOCOL};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Device, VrrpSocket, monotonic};

/// Looks like a message of version 3 of the VRID 0, which does not exist: no router acts on it.
const HEAD: [u8; 2] = [0x31, 0];
const DATAGRAM_MAX_BYTES: usize = 2_048;

/// Whether what is sent to the VRRP group on a device is heard there. It goes through the machine's own
/// packet filter in both directions, with a TTL of 0, so that the kernel does not let it out.
///
/// # Errors
/// Without `CAP_NET_RAW`, or when the device is down, or has no address of the family.
pub fn multicast_passes(is_v6: bool, device: &Device, limit: Duration) -> io::Result<bool> {
    let hearer = VrrpSocket::open(is_v6, device)?;
    let sender = sender(is_v6, device)?;
    let group: IpAddr = if is_v6 { MULTICAST_V6.into() } else { MULTICAST_V4.into() };
    let mut message = HEAD.to_vec();
    // Of this call alone.
    message.extend(monotonic().0.to_be_bytes());
    match sender.send_to(&message, &SocketAddr::new(group, 0).into()) {
        Ok(_) => {}
        // What a packet filter on the way out says.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(false),
        Err(error) => return Err(error),
    }
    let deadline = Instant::now() + limit;
    let mut buffer = [0; DATAGRAM_MAX_BYTES];
    loop {
        match hearer.receive(&mut buffer) {
            Ok(Some(datagram)) if datagram.payload == message => return Ok(true),
            // Of other routers, or odd.
            Ok(Some(_)) | Err(_) => continue,
            Ok(None) => {}
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        poll(&mut [PollFd::new(&hearer, PollFlags::IN)], Some(&timeout))?;
    }
}

fn sender(is_v6: bool, device: &Device) -> io::Result<Socket> {
    let domain = if is_v6 { Domain::IPV6 } else { Domain::IPV4 };
    let protocol = Some(Protocol::from(i32::from(PROTOCOL)));
    let socket = Socket::new(domain, Type::RAW.nonblocking().cloexec(), protocol)?;
    socket.bind_device(Some(device.name.as_bytes()))?;
    if is_v6 {
        socket.set_multicast_if_v6(device.index)?;
        socket.set_multicast_loop_v6(true)?;
        socket.set_multicast_hops_v6(0)?;
    } else {
        socket.set_multicast_loop_v4(true)?;
        socket.set_multicast_ttl_v4(0)?;
    }
    Ok(socket)
}
