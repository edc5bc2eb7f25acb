//! The load as the proxy's member too, so that nothing but the proxy decides when an answer comes: two
//! processes would wait for each other on the one CPU that they share.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result};
use rustix::event::epoll;
use rustix::fd::OwnedFd;

/// What events of this side are marked with, beside the index of a connection.
pub(super) const MARK: u64 = 1 << 32;
/// The mark of the listener.
const LISTENER: u64 = MARK | 0xFFFF_FFFF;

/// As long as what the benchmark's other member says.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 62\r\n\
                        Connection: keep-alive\r\n\r\n\
                        The quick brown fox jumps over the lazy dog, and back again.\r\n";

/// Answers every request alike.
pub(super) struct Member {
    listener: TcpListener,
    /// With what has come of a head; a place stays empty once its connection has ended.
    connections: Vec<Option<(TcpStream, Vec<u8>)>>,
}

impl Member {
    pub(super) fn listen(address: SocketAddr, poll: &OwnedFd) -> Result<Self> {
        let listener = TcpListener::bind(address).context("listening as a member")?;
        listener.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(LISTENER);
        epoll::add(poll, &listener, data, epoll::EventFlags::IN)?;
        Ok(Self { listener, connections: Vec::new() })
    }

    /// Does what an event with that mark asks for.
    pub(super) fn turn(&mut self, mark: u64, poll: &OwnedFd) -> Result<()> {
        if mark == LISTENER {
            return self.accept(poll);
        }
        let index = usize::try_from(mark & !MARK)?;
        let connection = self.connections.get_mut(index).context("an event of nobody")?;
        // What has ended here, the proxy opens again.
        if connection.as_mut().is_some_and(|(stream, head)| answer(stream, head).is_err()) {
            *connection = None;
        }
        Ok(())
    }

    fn accept(&mut self, poll: &OwnedFd) -> Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("accepting as a member"),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let data = epoll::EventData::new_u64(MARK | self.connections.len() as u64);
            epoll::add(poll, &stream, data, epoll::EventFlags::IN)?;
            self.connections.push(Some((stream, Vec::new())));
        }
    }
}

/// Takes what is there and answers the head that it completes: a proxy sends one at a time.
fn answer(stream: &mut TcpStream, head: &mut Vec<u8>) -> std::io::Result<()> {
    let mut storage = [0; 4_096];
    let count = match stream.read(&mut storage) {
        Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
        Ok(count) => count,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
        Err(error) => return Err(error),
    };
    head.extend_from_slice(&storage[..count]);
    if head.ends_with(b"\r\n\r\n") {
        head.clear();
        stream.write_all(ANSWER)?;
    }
    Ok(())
}
