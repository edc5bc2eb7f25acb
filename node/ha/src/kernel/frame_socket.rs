//! Whole Ethernet frames onto a device: gratuitous ARP and neighbour advertisements. The socket
//! never receives and never waits.

use std::io;

use socket2::{Domain, Socket, Type};

use super::Device;
use super::raw;

/// A packet socket of one device.
#[derive(Debug)]
pub struct FrameSocket {
    socket: Socket,
}

impl FrameSocket {
    /// Opens a socket that sends on this device.
    ///
    /// # Errors
    /// CAP_NET_RAW is missing, or the device is gone.
    pub fn open(device: &Device) -> io::Result<Self> {
        // Protocol 0: nothing is received.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&raw::link_address(device.index)?)?;
        Ok(Self { socket })
    }

    /// Sends one frame, Ethernet header included.
    ///
    /// # Errors
    /// The device is down or gone, its queue is full, or the frame is too long for it.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let sent_bytes = self.socket.send(frame)?;
        if sent_bytes == frame.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}
