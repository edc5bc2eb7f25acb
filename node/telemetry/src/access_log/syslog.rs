//! Access records to syslog (RFC 5424), one datagram each, over UDP (RFC 5426) or to a socket of the
//! same machine such as `/dev/log`.
//!
//! Invariant: a record is one datagram of at most [`DATAGRAM_MAX_BYTES`]. Datagrams that the daemon
//! does not take in time are lost and counted.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use super::record::SecondText;
use super::sink::Outcome;
use super::{RecordWriter, now_ms};

/// Longest datagram, in bytes; of a longer record the end is cut off. RFC 5426 §3.2 lets a sender
/// count on 2,048 where the network can carry them; daemons take 8 KiB by default.
pub const DATAGRAM_MAX_BYTES: usize = 8 * 1024;
/// How long a daemon of the same machine may take to make room for a record.
const SEND_TIMEOUT: Duration = Duration::from_millis(100);
/// Severity "informational" (RFC 5424 §6.2.1).
const SEVERITY: u8 = 6;

/// A syslog daemon, and what it is told of the sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyslogTarget {
    /// Where it is.
    pub address: SyslogAddress,
    /// The facility (RFC 5424 §6.2.1), 0 to 23.
    pub facility: u8,
    /// This node's name.
    pub hostname: String,
}

/// Where a syslog daemon is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogAddress {
    /// A datagram socket in the file system.
    Local(PathBuf),
    /// UDP.
    Udp(SocketAddr),
}

/// The facility of that name, such as `local0`.
pub fn facility(name: &str) -> Option<u8> {
    const NAMES: [&str; 24] = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron",
        "authpriv", "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2",
        "local3", "local4", "local5", "local6", "local7",
    ];
    NAMES.iter().position(|own| *own == name).and_then(|at| u8::try_from(at).ok())
}

enum Socket {
    Local(UnixDatagram, PathBuf),
    Udp(UdpSocket, SocketAddr),
}

/// An open way to a daemon.
pub(super) struct Syslog {
    socket: Socket,
    /// From the priority up to the time.
    head: Vec<u8>,
    /// From behind the time up to the record.
    tail: Vec<u8>,
    datagram: Vec<u8>,
    second: SecondText,
}

impl Syslog {
    pub(super) fn open(target: &SyslogTarget) -> io::Result<Self> {
        let socket = match &target.address {
            SyslogAddress::Local(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_write_timeout(Some(SEND_TIMEOUT))?;
                Socket::Local(socket, path.clone())
            }
            SyslogAddress::Udp(address) => {
                let any: SocketAddr = match address {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                Socket::Udp(UdpSocket::bind(any)?, *address)
            }
        };
        let priority = target.facility * 8 + SEVERITY;
        let process = std::process::id();
        Ok(Self {
            socket,
            head: format!("<{priority}>1 ").into(),
            tail: format!(" {} ballastd {process} access - ", hostname(&target.hostname)).into(),
            datagram: Vec::with_capacity(DATAGRAM_MAX_BYTES),
            second: SecondText::default(),
        })
    }

    /// Sends each line.
    pub(super) fn write(&mut self, text: &[u8]) -> (Outcome, io::Result<()>) {
        let (mut outcome, mut result) = (Outcome::default(), Ok(()));
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match self.send(line) {
                Ok(()) => outcome.written_count += 1,
                Err(error) => {
                    outcome.lost_count += 1;
                    result = Err(error);
                }
            }
        }
        (outcome, result)
    }

    fn send(&mut self, line: &[u8]) -> io::Result<()> {
        self.datagram.clear();
        self.datagram.write_all(&self.head)?;
        RecordWriter::new(&mut self.datagram, &mut self.second).time(now_ms());
        self.datagram.write_all(&self.tail)?;
        let room = DATAGRAM_MAX_BYTES.saturating_sub(self.datagram.len());
        let mut end = line.len().min(room);
        // Not in the middle of a character (RFC 3629: bytes that continue one are 10xxxxxx).
        while end < line.len() && end > 0 && line[end] & 0xc0 == 0x80 {
            end -= 1;
        }
        self.datagram.write_all(&line[..end])?;
        match &self.socket {
            // By path each time: a daemon that is started anew makes a new socket.
            Socket::Local(socket, path) => socket.send_to(&self.datagram, path).map(drop),
            Socket::Udp(socket, address) => socket.send_to(&self.datagram, address).map(drop),
        }
    }
}

/// RFC 5424 §6.2.4: 1 to 255 visible characters, `-` where there is no name.
fn hostname(name: &str) -> String {
    let name: String = name.chars().filter(char::is_ascii_graphic).take(255).collect();
    if name.is_empty() { "-".to_owned() } else { name }
}

#[cfg(test)]
mod tests;
