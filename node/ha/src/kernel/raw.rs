//! The calls that no safe wrapper of ours has.
#![expect(unsafe_code, reason = "the kernel is called directly")]

use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;

use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// `SCHED_FIFO` for the calling thread, not inherited by children.
pub(super) fn schedule_fifo(priority: i32) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: priority };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the pointer is to a live value; 0 means the calling thread.
    let result = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Binds a packet socket to a device; it receives frames of the Ethernet protocol, or nothing where
/// that is 0.
pub(super) fn bind_packet(socket: &impl AsRawFd, device: u32, protocol: u16) -> io::Result<()> {
    let index = i32::try_from(device).map_err(io::Error::other)?;
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?,
        sll_protocol: protocol.to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length =
        libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
    // SAFETY: the pointer is to a live sockaddr_ll of the length that is given.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has the runtime watch a socket for what comes in. Needs a tokio runtime.
pub(super) fn watch(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: a Socket owns its descriptor: it is open, and the same one, until the Socket is dropped,
    // which the AsyncFd does.
    let watched = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
    watched.map_err(io::Error::from)
}
