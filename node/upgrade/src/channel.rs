//! The channel between the two processes: messages in JSON, each with descriptors where there are any.
//!
//! Invariant: a message arrives whole or not at all (`SOCK_SEQPACKET`), and every descriptor that arrives is
//! closed on `exec` and owned by whoever received it.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::message::ToOld;

/// Largest message, in bytes.
pub const MESSAGE_MAX_BYTES: usize = 64 * 1024;
/// Largest parcel, in bytes.
pub const PARCEL_MAX_BYTES: u64 = 256 * 1024 * 1024;
/// Descriptors that come along with one message. The kernel allows 253.
pub const DESCRIPTOR_MAX_COUNT: usize = 64;

/// Most characters of a reason.
const REASON_MAX_COUNT: usize = 4_096;

/// Why nothing more is said.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The other process has ended or hung up.
    #[error("the other process has hung up")]
    Closed,
    /// The system refused.
    #[error("the channel to the other process failed")]
    Io(#[from] io::Error),
    /// What came is not understood.
    #[error("the other process says something that this version does not understand: {0}")]
    Malformed(String),
    /// It is larger than may be.
    #[error("a message of {bytes} bytes; the most is {max}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The most.
        max: u64,
    },
}

impl From<rustix::io::Errno> for ChannelError {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Io(error.into())
    }
}

/// One end of a channel. The type says stream, for want of one of packets; what is sent and received goes by
/// system calls of its own.
#[derive(Debug)]
pub struct Channel(UnixStream);

impl Channel {
    /// A channel, and the other end for another process.
    ///
    /// # Errors
    /// The system refuses. Needs a tokio runtime.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (own, other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self::new(own)?, other))
    }

    /// Over an end that was received.
    ///
    /// # Errors
    /// The system refuses. Needs a tokio runtime.
    pub fn new(end: OwnedFd) -> io::Result<Self> {
        let end = std::os::unix::net::UnixStream::from(end);
        end.set_nonblocking(true)?;
        Ok(Self(UnixStream::from_std(end)?))
    }

    /// Says something; the descriptors come along, at most [`DESCRIPTOR_MAX_COUNT`].
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub async fn send(
        &self,
        message: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        // The kernel's buffer is rounded up: there is room for some more.
        if descriptors.len() > DESCRIPTOR_MAX_COUNT {
            let why = format!("{} descriptors for one message", descriptors.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why).into());
        }
        let bytes = serde_json::to_vec(message).map_err(io::Error::from)?;
        if bytes.len() > MESSAGE_MAX_BYTES {
            let (bytes, max) = (bytes.len() as u64, MESSAGE_MAX_BYTES as u64);
            return Err(ChannelError::TooLarge { bytes, max });
        }
        let sent = self.0.async_io(Interest::WRITABLE, || {
            let mut space =
                [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTOR_MAX_COUNT))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty()
                && !control.push(SendAncillaryMessage::ScmRights(descriptors))
            {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let content = [IoSlice::new(&bytes)];
            Ok(sendmsg(&self.0, &content, &mut control, SendFlags::NOSIGNAL)?)
        });
        match sent.await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(ChannelError::Closed),
            Err(error) => Err(error.into()),
        }
    }

    /// The next message, and what came along. Cancel-safe.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub async fn receive<T: DeserializeOwned>(&self) -> Result<(T, Vec<OwnedFd>), ChannelError> {
        let mut bytes = vec![0; MESSAGE_MAX_BYTES];
        let received =
            self.0.async_io(Interest::READABLE, || Ok(receive_now(self.0.as_fd(), &mut bytes)?));
        let (count, is_cut, descriptors) = match received.await {
            Ok((0, ..)) => return Err(ChannelError::Closed),
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                return Err(ChannelError::Closed);
            }
            Err(error) => return Err(error.into()),
        };
        if is_cut {
            return Err(ChannelError::Malformed("it is too long".to_owned()));
        }
        let message = serde_json::from_slice(&bytes[..count])
            .map_err(|error| ChannelError::Malformed(error.to_string()))?;
        Ok((message, descriptors))
    }
}

fn receive_now(
    end: BorrowedFd<'_>,
    bytes: &mut [u8],
) -> rustix::io::Result<(usize, bool, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTOR_MAX_COUNT))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut content = [IoSliceMut::new(bytes)];
    let received = recvmsg(end, &mut content, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let is_cut = received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok((received.bytes, is_cut, descriptors))
}

/// Says why a process that was to take over can't, without waiting for anything.
pub fn say_failed(end: impl AsFd, why: &str) {
    let why = why.chars().take(REASON_MAX_COUNT).collect();
    let bytes = serde_json::to_vec(&ToOld::Failed { why }).unwrap_or_default();
    // Who has hung up need not know.
    let _sent = rustix::net::send(end, &bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
}

/// What is too large for a message, in memory that the other process is given. Blocks.
///
/// # Errors
/// It is too large, or the system refuses.
pub fn pack(content: &impl Serialize) -> Result<OwnedFd, ChannelError> {
    pack_bytes(&serde_json::to_vec(content).map_err(io::Error::from)?)
}

/// The same, of bytes. Blocks.
///
/// # Errors
/// As [`pack`].
pub fn pack_bytes(bytes: &[u8]) -> Result<OwnedFd, ChannelError> {
    check_parcel(bytes.len() as u64)?;
    let mut memory = File::from(memfd_create("ballast-upgrade", MemfdFlags::CLOEXEC)?);
    memory.write_all(bytes)?;
    Ok(memory.into())
}

/// What is in it. Blocks.
///
/// # Errors
/// It is too large, or not understood.
pub fn unpack<T: DeserializeOwned>(parcel: OwnedFd) -> Result<T, ChannelError> {
    serde_json::from_slice(&unpack_bytes(parcel)?)
        .map_err(|error| ChannelError::Malformed(error.to_string()))
}

/// The same, as bytes. Blocks.
///
/// # Errors
/// It is too large.
pub fn unpack_bytes(parcel: OwnedFd) -> Result<Vec<u8>, ChannelError> {
    let mut memory = File::from(parcel);
    check_parcel(memory.metadata()?.len())?;
    memory.rewind()?;
    let mut bytes = Vec::new();
    memory.take(PARCEL_MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn check_parcel(bytes: u64) -> Result<(), ChannelError> {
    let max = PARCEL_MAX_BYTES;
    if bytes > max { Err(ChannelError::TooLarge { bytes, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
