//! Devices and addresses by netlink (rtnetlink(7)).
//!
//! Invariant: what the kernel tells of changes is news only where it differs from what was listed
//! last; renewing a lease is none.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REPLACE, NLM_F_REQUEST,
    NetlinkMessage,
};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressScope, CacheInfo,
};
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::Device;

mod decode;
mod macvlan;

use decode::Message;

/// Longest wait for an answer of the kernel, which answers at once.
const ANSWER_LIMIT: Duration = Duration::from_millis(500);
const ANSWER_MAX_BYTES: usize = 64 * 1024;
/// How often a list is asked for that changes while it is read.
const DUMP_MAX_COUNT: usize = 4;
/// Notices that are read before others have their turn; the rest waits for the next time.
const NOTICE_MAX_COUNT: usize = 1_024;
// rtnetlink(7): links, IPv4 and IPv6 addresses.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// A way to the kernel's devices and addresses.
pub struct Netlink {
    requests: Socket,
    monitor: Socket,
    sequence: u32,
    /// As they were listed last; empty where that failed, so that everything is news.
    known: BTreeMap<u32, Device>,
    lists_total: u64,
}

impl Netlink {
    /// Opens it.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn open() -> io::Result<Self> {
        let mut requests = Socket::new(NETLINK_ROUTE)?;
        requests.bind_auto()?;
        requests.connect(&SocketAddr::new(0, 0))?;
        set_socket_timeout(&requests, Timeout::Recv, Some(ANSWER_LIMIT))?;
        let mut monitor = Socket::new(NETLINK_ROUTE)?;
        monitor.bind(&SocketAddr::new(0, GROUPS))?;
        monitor.set_non_blocking(true)?;
        let known = BTreeMap::new();
        Ok(Self { requests, monitor, sequence: 0, known, lists_total: 0 })
    }

    /// Every device with its addresses.
    ///
    /// # Errors
    /// What the kernel said; [`io::ErrorKind::Interrupted`] when devices change faster than they can be
    /// read.
    pub fn devices(&mut self) -> io::Result<Vec<Device>> {
        self.lists_total += 1;
        self.known.clear();
        let mut devices = BTreeMap::new();
        let links = RouteNetlinkMessage::GetLink(LinkMessage::default());
        for answer in self.list(&links)? {
            if answer.kind == libc::RTM_NEWLINK
                && let Some(device) = decode::device(&answer.body)
            {
                devices.insert(device.index, device);
            }
        }
        let addresses = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        for answer in self.list(&addresses)? {
            if answer.kind == libc::RTM_NEWADDR
                && let Some((index, address)) = decode::address(&answer.body)
                && let Some(device) = devices.get_mut(&index)
            {
                device.addresses.push(address);
            }
        }
        self.known.clone_from(&devices);
        Ok(devices.into_values().collect())
    }

    /// How often [`Netlink::devices`] asked the kernel.
    pub fn lists_total(&self) -> u64 {
        self.lists_total
    }

    /// Adds an address, or renews it; the kernel takes it away after `lease`.
    ///
    /// # Errors
    /// What the kernel said, such as a lack of `CAP_NET_ADMIN`.
    pub fn add_address(
        &mut self,
        device: u32,
        address: IpAddr,
        prefix_length: u8,
        lease: Duration,
    ) -> io::Result<()> {
        let mut message = address_message(device, address, prefix_length);
        let lease_s = u32::try_from(lease.as_secs()).unwrap_or(u32::MAX);
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_valid = lease_s;
        // Never the source of connections of the machine's own (RFC 6724 rule 3).
        lifetime.ifa_preferred = if address.is_ipv6() { 0 } else { lease_s };
        message.attributes.push(AddressAttribute::CacheInfo(lifetime));
        let mut flags = AddressFlags::empty();
        if address.is_ipv6() {
            // Another node may have had it until this moment: it is no duplicate.
            flags |= AddressFlags::Nodad;
        }
        if prefix_length == if address.is_ipv4() { 32 } else { 128 } {
            flags |= AddressFlags::Noprefixroute;
        }
        message.attributes.push(AddressAttribute::Flags(flags));
        let request = RouteNetlinkMessage::NewAddress(message);
        self.tell(&request, NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Removes an address; one that is not there is removed already.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn remove_address(
        &mut self,
        device: u32,
        address: IpAddr,
        prefix_length: u8,
    ) -> io::Result<()> {
        let message = address_message(device, address, prefix_length);
        absent_is_fine(self.tell(&RouteNetlinkMessage::DelAddress(message), 0))
    }

    /// Reads what the kernel told of changes; whether there was anything that [`Netlink::devices`] has
    /// not shown yet.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn drain_monitor(&mut self) -> io::Result<bool> {
        let mut is_news = false;
        for _ in 0..NOTICE_MAX_COUNT {
            let mut buffer = Vec::with_capacity(ANSWER_MAX_BYTES);
            match self.monitor.recv(&mut buffer, 0) {
                Ok(_) => {
                    is_news |= decode::messages(&buffer).any(|message| self.is_news(&message));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Notices were lost: something has changed.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => is_news = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(is_news)
    }

    fn is_news(&self, message: &Message<'_>) -> bool {
        match message.kind {
            libc::RTM_NEWADDR => decode::address(message.body).is_some_and(|told| !self.has(told)),
            libc::RTM_DELADDR => decode::address(message.body).is_some_and(|told| self.has(told)),
            libc::RTM_NEWLINK => decode::device(message.body).is_some_and(|mut told| {
                let known = self.known.get(&told.index);
                known.is_none_or(|known| {
                    told.addresses.clone_from(&known.addresses);
                    told != *known
                })
            }),
            libc::RTM_DELLINK => decode::device(message.body)
                .is_some_and(|told| self.known.contains_key(&told.index)),
            _ => false,
        }
    }

    fn has(&self, (index, address): (u32, super::DeviceAddress)) -> bool {
        self.known.get(&index).is_some_and(|device| device.addresses.contains(&address))
    }

    /// Asks for something to be done.
    fn tell(&mut self, request: &RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.ask(request, NLM_F_ACK | flags).map(drop)
    }

    /// Asks for a list, again where it changed while it was read (`NLM_F_DUMP_INTR`, netlink(7)).
    fn list(&mut self, request: &RouteNetlinkMessage) -> io::Result<Vec<Answer>> {
        for _ in 0..DUMP_MAX_COUNT {
            let answers = self.ask(request, NLM_F_DUMP)?;
            if !answers.is_interrupted {
                return Ok(answers.list);
            }
        }
        let why = "devices change faster than they can be read";
        Err(io::Error::new(io::ErrorKind::Interrupted, why))
    }

    fn ask(&mut self, request: &RouteNetlinkMessage, flags: u16) -> io::Result<Answers> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(request.clone());
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.requests.send(&bytes, 0)?;
        let mut answers = Answers::default();
        loop {
            let mut buffer = Vec::with_capacity(ANSWER_MAX_BYTES);
            match self.requests.recv(&mut buffer, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if answers.take(&buffer, self.sequence)? {
                return Ok(answers);
            }
        }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.monitor.as_fd()
    }
}

/// What the kernel answered to one request.
#[derive(Debug, Default)]
struct Answers {
    list: Vec<Answer>,
    is_interrupted: bool,
}

#[derive(Debug)]
struct Answer {
    kind: u16,
    body: Vec<u8>,
}

impl Answers {
    /// Takes a datagram in; whether it was the last one.
    fn take(&mut self, datagram: &[u8], sequence: u32) -> io::Result<bool> {
        for message in decode::messages(datagram) {
            if message.sequence != sequence {
                // The late answer of a request that was given up.
                continue;
            }
            self.is_interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
            // The numbers of netlink(7)'s own messages are small.
            if i32::from(message.kind) == libc::NLMSG_DONE
                || i32::from(message.kind) == libc::NLMSG_ERROR
            {
                return match decode::code(message.body) {
                    0.. => Ok(true),
                    code => Err(io::Error::from_raw_os_error(code.saturating_neg())),
                };
            }
            self.list.push(Answer { kind: message.kind, body: message.body.to_vec() });
        }
        Ok(false)
    }
}

fn address_message(device: u32, address: IpAddr, prefix_length: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = device;
    message.header.prefix_len = prefix_length;
    message.header.scope = AddressScope::Universe;
    message.header.family =
        if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.attributes.push(AddressAttribute::Local(address));
    message.attributes.push(AddressAttribute::Address(address));
    message
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ENODEV)) => {
            Ok(())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests;
