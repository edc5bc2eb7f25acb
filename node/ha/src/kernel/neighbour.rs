//! Asking a neighbour on a segment whether it is there.
//!
//! Invariant: only answers of the address that is asked for are read; the kernel drops the rest.

use std::io;
use std::net::IpAddr;

use socket2::{Domain, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;

use super::{Device, raw};

const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
// linux/bpf_common.h: load a byte, half a word, a word; compare; return.
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF: u16 = 0x28;
const LOAD_WORD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
/// As much of a frame as is kept: all of it.
const WHOLE_FRAME: u32 = 0xffff;
/// Room for answers that nobody has read yet.
const RECEIVE_BUFFER_BYTES: usize = 16 * 1024;

/// Sends ARP requests or neighbour solicitations on one device and reads the answers of one address.
#[derive(Debug)]
pub struct NeighbourSocket(AsyncFd<Socket>);

impl NeighbourSocket {
    /// Opens it for answers of `neighbour`. Needs a tokio runtime.
    ///
    /// # Errors
    /// Without `CAP_NET_RAW`, or when the device is gone.
    pub fn open(device: &Device, neighbour: IpAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), None)?;
        socket.attach_filter(&filter(neighbour))?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
        let protocol = if neighbour.is_ipv4() { ETHERTYPE_ARP } else { ETHERTYPE_IPV6 };
        raw::bind_packet(&socket, device.index, protocol)?;
        raw::watch(socket).map(Self)
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let sent = rustix::io::write(self.0.get_ref(), frame)?;
        if sent == frame.len() { Ok(()) } else { Err(io::Error::other("the frame was cut")) }
    }

    /// Reads a frame that may be an answer; how long it is, or none when nothing waits. What does not
    /// fit into `buffer` is cut.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match read(self.0.get_ref(), buffer) {
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits for a frame that may be an answer, as [`NeighbourSocket::receive`] reads it. Nothing is
    /// lost where the wait is given up.
    ///
    /// # Errors
    /// What the kernel said.
    pub async fn next(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.0.readable().await?;
            if let Ok(length) = ready.try_io(|socket| read(socket.get_ref(), buffer)) {
                return length;
            }
        }
    }
}

fn read(socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::read(socket, buffer)?)
}

/// Lets through what may be an answer: ARP replies of that sender, neighbour advertisements of that
/// target.
fn filter(neighbour: IpAddr) -> Vec<SockFilter> {
    // What must stand where in the frame.
    let conditions = match neighbour {
        IpAddr::V4(v4) => vec![(LOAD_HALF, 20, 2), (LOAD_WORD, 28, v4.to_bits())],
        IpAddr::V6(v6) => {
            // Next header, type, and the end of the target.
            let [.., a, b, c, d] = v6.octets();
            let end = u32::from_be_bytes([a, b, c, d]);
            vec![(LOAD_BYTE, 20, 58), (LOAD_BYTE, 54, 136), (LOAD_WORD, 74, end)]
        }
    };
    let mut program = Vec::new();
    let mut left = u8::try_from(conditions.len()).unwrap_or(u8::MAX);
    for (load, offset, value) in conditions {
        left -= 1;
        program.push(SockFilter::new(load, 0, 0, offset));
        // Past the remaining pairs and the acceptance.
        program.push(SockFilter::new(JUMP_EQUAL, 0, 2 * left + 1, value));
    }
    program.push(SockFilter::new(RETURN, 0, 0, WHOLE_FRAME));
    program.push(SockFilter::new(RETURN, 0, 0, 0));
    program
}
