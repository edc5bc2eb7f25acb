//! Devices with a hardware address of their own on top of another one (macvlan).
//!
//! Invariant: a device that is not a macvlan is never removed, and none without the caller's number.

use std::io;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoMacVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};

use super::{Netlink, absent_is_fine, decode};

impl Netlink {
    /// Makes a macvlan on `parent`, which stays down; its number.
    ///
    /// In bridge mode: in private mode the kernel hands what comes in from the same hardware address, such
    /// as a rival's advertisement, to the macvlan alone, and the socket on `parent` never hears it.
    ///
    /// # Errors
    /// What the kernel said: without `CAP_NET_ADMIN`, where it has no macvlan, or where `parent` can carry
    /// none.
    pub fn add_macvlan(
        &mut self,
        parent: u32,
        name: &str,
        mac: [u8; 6],
        alias: &str,
    ) -> io::Result<u32> {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Link(parent),
            LinkAttribute::Address(mac.to_vec()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::MacVlan),
                LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Bridge)])),
            ]),
        ];
        self.tell(&RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)?;
        let index = self.index_of(name)?;
        // A message of its own: the one that makes a device passes its alias over.
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::IfAlias(alias.to_owned()));
        if let Err(error) = self.tell(&RouteNetlinkMessage::SetLink(message), 0) {
            // Without an alias nobody would know it again.
            self.remove_macvlan(index)?;
            return Err(error);
        }
        Ok(index)
    }

    /// Removes a macvlan, its addresses with it; one that is not there is removed already.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn remove_macvlan(&mut self, index: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        // The kernel refuses where the device is of another kind.
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::MacVlan)]));
        absent_is_fine(self.tell(&RouteNetlinkMessage::DelLink(message), 0))
    }

    /// Sets a device up or down.
    ///
    /// # Errors
    /// What the kernel said; a device that is not there is down already.
    pub fn set_up(&mut self, index: u32, up: bool) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.change_mask = LinkFlags::Up;
        if up {
            message.header.flags = LinkFlags::Up;
        }
        let done = self.tell(&RouteNetlinkMessage::SetLink(message), 0);
        if up { done } else { absent_is_fine(done) }
    }

    fn index_of(&mut self, name: &str) -> io::Result<u32> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let answers =
            self.ask(&RouteNetlinkMessage::GetLink(message), netlink_packet_core::NLM_F_ACK)?;
        let mut devices = answers.list.iter().filter_map(|answer| decode::device(&answer.body));
        let device = devices.next().ok_or(io::ErrorKind::NotFound)?;
        Ok(device.index)
    }
}
