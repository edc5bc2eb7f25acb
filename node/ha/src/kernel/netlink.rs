//! Devices and addresses by netlink (rtnetlink(7)).

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressScope, CacheInfo,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::{Device, DeviceAddress};

/// Longest wait for an answer of the kernel, which answers at once.
const ANSWER_LIMIT: Duration = Duration::from_millis(500);
const ANSWER_MAX_BYTES: usize = 64 * 1024;
/// Notices that are read before others have their turn; the rest waits for the next time.
const NOTICE_MAX_COUNT: usize = 1_024;
// rtnetlink(7): links, IPv4 and IPv6 addresses.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// A way to the kernel's devices and addresses.
pub struct Netlink {
    requests: Socket,
    monitor: Socket,
    sequence: u32,
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
        Ok(Self { requests, monitor, sequence: 0 })
    }

    /// Every device with its addresses.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn devices(&mut self) -> io::Result<Vec<Device>> {
        let mut devices = BTreeMap::new();
        let links = RouteNetlinkMessage::GetLink(LinkMessage::default());
        for answer in self.ask(links, NLM_F_DUMP)? {
            if let RouteNetlinkMessage::NewLink(link) = answer {
                devices.insert(link.header.index, device(&link));
            }
        }
        let addresses = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        for answer in self.ask(addresses, NLM_F_DUMP)? {
            let RouteNetlinkMessage::NewAddress(message) = answer else { continue };
            if let Some(device) = devices.get_mut(&message.header.index) {
                device.addresses.extend(device_address(&message));
            }
        }
        Ok(devices.into_values().collect())
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
        self.ask(request, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE).map(drop)
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
        let removed = self.ask(RouteNetlinkMessage::DelAddress(message), NLM_F_ACK);
        match removed {
            Err(error) if is_absence(&error) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Reads what the kernel told of changes; whether there was any.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn drain_monitor(&mut self) -> io::Result<bool> {
        let mut changed = false;
        for _ in 0..NOTICE_MAX_COUNT {
            let mut buffer = Vec::with_capacity(ANSWER_MAX_BYTES);
            match self.monitor.recv(&mut buffer, 0) {
                Ok(_) => changed = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Notices were lost: something has changed.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => changed = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(changed)
    }

    fn ask(
        &mut self,
        request: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(request);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.requests.send(&bytes, 0)?;
        self.answers()
    }

    fn answers(&mut self) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut answers = Vec::new();
        loop {
            let mut buffer = Vec::with_capacity(ANSWER_MAX_BYTES);
            let length = match self.requests.recv(&mut buffer, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            let mut rest = &buffer[..length];
            while !rest.is_empty() {
                let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(io::Error::other)?;
                let taken = usize::try_from(message.header.length).unwrap_or(rest.len());
                // Messages stand at multiples of four bytes.
                rest = rest.get(taken.max(1).next_multiple_of(4)..).unwrap_or_default();
                if message.header.sequence_number != self.sequence {
                    // The late answer of a request that was given up.
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::Error(error) => {
                        return match error.code {
                            None => Ok(answers),
                            Some(_) => Err(error.to_io()),
                        };
                    }
                    _ => {}
                }
            }
        }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.monitor.as_fd()
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

fn is_absence(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ENODEV))
}

fn device(link: &LinkMessage) -> Device {
    let flags = link.header.flags;
    let mut device = Device {
        index: link.header.index,
        name: String::new(),
        mac: [0; 6],
        up: flags.contains(LinkFlags::Up) && flags.contains(LinkFlags::Running),
        multicast: flags.contains(LinkFlags::Multicast),
        loopback: flags.contains(LinkFlags::Loopback),
        addresses: Vec::new(),
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => device.name.clone_from(name),
            LinkAttribute::Address(bytes) => {
                device.mac = bytes.as_slice().try_into().unwrap_or_default();
            }
            _ => {}
        }
    }
    device
}

fn device_address(message: &AddressMessage) -> Option<DeviceAddress> {
    let (mut local, mut other, mut leased) = (None, None, true);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => other = Some(*address),
            AddressAttribute::Flags(flags) => leased = !flags.contains(AddressFlags::Permanent),
            _ => {}
        }
    }
    // On a point-to-point link `Address` is the other end's.
    let address = local.or(other)?;
    Some(DeviceAddress { address, prefix_length: message.header.prefix_len, leased })
}
