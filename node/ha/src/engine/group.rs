//! One traffic group on this node: its machine, and what carries its effects out.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use ballast_vrrp::announce::{gratuitous_arp, unsolicited_na};
use ballast_vrrp::wire::{self, Advertisement, Datagram, DropReason, Received, Verifier};
use ballast_vrrp::{
    ConfigError, Effect, Family, GroupMachine, GroupView, Input, LEAVING_PRIORITY, Note, Standing,
    State, Time, Transition, Unable,
};

use super::owner::{Claims, Wait, heard_owner};
use super::recorder::Recorder;
use super::refusal::Refusal;
use super::virtual_mac::Homes;
use super::{LEASE, Shell};
use crate::kernel::{self, Device, multicast_frame};
use crate::wanted::GroupPlan;

/// What the thread tells the control side; lost where that side is too slow.
#[derive(Debug)]
pub(crate) enum Report {
    Transition {
        group: String,
        transition: Transition,
        steps: Vec<Step>,
        at: Time,
    },
    Note {
        group: String,
        note: Note,
    },
    /// The configuration of that index is carried out.
    Applied {
        index: u64,
    },
}

/// Something that was done, and how long after the decision.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) what: &'static str,
    pub(crate) after: Duration,
    pub(crate) error: Option<String>,
}

/// What status shows.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) name: String,
    pub(crate) device: String,
    pub(crate) link_up: bool,
    pub(crate) view: GroupView,
    /// Why it can't be run here now.
    pub(crate) missing: Option<String>,
    pub(crate) held: Vec<IpAddr>,
    /// The node or router that a Backup hears owning the group, and its priority.
    pub(crate) heard: Option<(String, u8)>,
    /// The node that reports to own the group and is not heard.
    pub(crate) unheard: Option<String>,
    pub(crate) wait: Option<Wait>,
    pub(crate) counters: Counters,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) transitions_total: u64,
    pub(crate) sent_total: u64,
    pub(crate) received_total: u64,
    pub(crate) announcements_total: u64,
    pub(crate) failures_total: u64,
    pub(crate) dropped_total: BTreeMap<&'static str, u64>,
}

/// A group that runs here.
pub(crate) struct Running {
    name: String,
    plan: GroupPlan,
    homes: Homes,
    /// Devices with virtual MACs that were set up.
    raised: BTreeSet<u32>,
    machine: GroupMachine,
    recorder: Recorder,
    /// As the control side sees the node; none before it said so.
    standing: Option<Standing>,
    /// Why the group can't run on the devices that there are.
    missing: Option<String>,
    refusal: Refusal,
    /// With which length of prefix each address was added: the kernel knows it by both.
    lengths: BTreeMap<IpAddr, u8>,
    heard: Vec<Received>,
    claims: Claims,
    /// What the machine was told last.
    may_volunteer: bool,
    counters: Counters,
    is_changed: bool,
}

impl Running {
    pub(crate) fn start(
        name: String,
        plan: GroupPlan,
        homes: Homes,
        standing: Option<Standing>,
        shell: &mut Shell,
    ) -> Result<Self, ConfigError> {
        let machine = GroupMachine::new(plan.machine.clone(), kernel::monotonic())?;
        let link_up = plan.link_up;
        let mut running = Self {
            name,
            plan,
            homes,
            raised: BTreeSet::new(),
            recorder: Recorder::new(&machine),
            machine,
            standing,
            missing: None,
            refusal: Refusal::default(),
            lengths: BTreeMap::new(),
            heard: Vec::new(),
            claims: Claims::default(),
            may_volunteer: false,
            counters: Counters::default(),
            is_changed: true,
        };
        running.give_standing(shell);
        running.handle(if link_up { Input::LinkUp } else { Input::LinkDown }, shell);
        Ok(running)
    }

    pub(crate) fn state(&self) -> State {
        self.machine.state()
    }

    pub(crate) fn plan(&self) -> &GroupPlan {
        &self.plan
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.machine.next_deadline().into_iter().chain(self.refusal.until()).min()
    }

    /// What is wrong with it here, in a sentence.
    pub(crate) fn problem(&self) -> Option<String> {
        self.refusal.why().map(|why| format!("traffic group {}: {why}", self.name))
    }

    /// The device that the addresses of each family are on.
    pub(crate) fn homes(&self) -> &Homes {
        &self.homes
    }

    /// Whether a floating address of this group's should not be on that device.
    pub(crate) fn is_stray(&self, device: u32, address: IpAddr) -> bool {
        let configured = self.plan.prefixes.iter().map(|(floating, _)| *floating);
        let instances = self.machine.config().instances.iter();
        let mut ours = configured.chain(instances.flat_map(|one| one.addresses.iter().copied()));
        let is_home = self.homes.get(&Family::of(address)) == Some(&device);
        let is_held = self.machine.held_addresses().contains(&address);
        ours.any(|floating| floating == address) && !(is_held && is_home)
    }

    /// Goes on with devices that were looked at, or made again after somebody removed them.
    pub(crate) fn set_homes(&mut self, homes: Homes, devices: &[Device], shell: &mut Shell) {
        let is_up = |index: u32| {
            let there = devices.iter().find(|device| device.index == index);
            there.and_then(|device| device.macvlan.as_ref()).is_some_and(|macvlan| macvlan.set_up)
        };
        self.homes = homes;
        if self.plan.virtual_mac_alias.is_none() {
            return;
        }
        let families: Vec<_> = self.held_families().collect();
        let homes = self.homes.iter().filter(|(family, _)| families.contains(family));
        if homes.clone().any(|(_, home)| !is_up(*home)) {
            for (_, home) in homes {
                self.raised.insert(*home);
                self.counters.failures_total +=
                    u64::from(shell.netlink.set_up(*home, true).is_err());
            }
            self.renew(shell, LEASE);
        }
    }

    fn held_families(&self) -> impl Iterator<Item = Family> + '_ {
        self.machine.held_addresses().iter().map(|address| Family::of(*address))
    }

    /// Whether something happened that readers of the status wait for.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    /// Carries a changed configuration or device over; the device itself is the same one.
    pub(crate) fn set_plan(&mut self, plan: GroupPlan, shell: &mut Shell) {
        if plan == self.plan {
            return;
        }
        let was_up = self.plan.link_up;
        let is_other_machine = plan.machine != self.plan.machine;
        self.plan = plan;
        if is_other_machine {
            // Other addresses are another question.
            self.refusal.end();
            self.give_standing(shell);
            self.handle(Input::ConfigChanged(Box::new(self.plan.machine.clone())), shell);
            for instance in self.plan.machine.instances.clone() {
                let (family, source) = (instance.family, Some(instance.source));
                self.handle(Input::AddressChanged { family, source }, shell);
            }
        }
        if self.plan.link_up != was_up {
            let link = if self.plan.link_up { Input::LinkUp } else { Input::LinkDown };
            self.handle(link, shell);
        }
    }

    pub(crate) fn set_standing(&mut self, standing: Standing, shell: &mut Shell) {
        if self.standing != Some(standing) {
            self.standing = Some(standing);
            self.give_standing(shell);
        }
    }

    pub(crate) fn set_missing(&mut self, missing: Option<String>, shell: &mut Shell) {
        let changes = missing.is_some() != self.missing.is_some();
        self.missing = missing;
        if changes {
            self.give_standing(shell);
        }
    }

    /// Tells the machine how fit the node is, all things considered.
    pub(crate) fn give_standing(&mut self, shell: &mut Shell) {
        let Some(mut standing) = self.standing else { return };
        if self.missing.is_some() && standing.unable.is_none() {
            standing.unable = Some(Unable::InterfaceMissing);
        }
        if self.refusal.until().is_some() && standing.unable.is_none() {
            standing.unable = Some(Unable::KernelRefused);
        }
        standing.may_volunteer = shell.may_volunteer();
        self.may_volunteer = standing.may_volunteer;
        if shell.is_leaving {
            // Others take over, and are there before this one lets go.
            standing.priority = LEAVING_PRIORITY;
        }
        self.handle(Input::Standing(standing), shell);
    }

    /// Takes in a datagram; acted on by [`Running::act_on_heard`].
    pub(crate) fn hear(&mut self, datagram: &kernel::Datagram, verifier: &mut Verifier) {
        let is_guarded = self.plan.machine.signed && self.plan.peers.is_some();
        let datagram = Datagram {
            source: datagram.source,
            destination: datagram.destination,
            // Unicast peers may be some hops away; signatures guard there.
            hop_limit: (!is_guarded).then_some(datagram.hop_limit),
            payload: &datagram.payload,
        };
        match wire::decode(&datagram, Some(verifier)) {
            Ok(received) => {
                self.counters.received_total += 1;
                self.heard.push(received);
            }
            Err(reason) => self.count_drop(reason),
        }
    }

    pub(crate) fn act_on_heard(&mut self, shell: &mut Shell) {
        for received in std::mem::take(&mut self.heard) {
            self.tell_brake(shell);
            self.handle(Input::Advertisement(received), shell);
        }
    }

    pub(crate) fn tick(&mut self, shell: &mut Shell) {
        if self.refusal.has_paused(kernel::monotonic()) {
            self.give_standing(shell);
        }
        if self.next_deadline().is_some_and(|deadline| deadline <= kernel::monotonic()) {
            self.tell_brake(shell);
            self.handle(Input::Tick, shell);
        }
    }

    /// Another group may have moved here a moment ago: the brake counts as it is when it matters.
    fn tell_brake(&mut self, shell: &mut Shell) {
        if self.may_volunteer != shell.may_volunteer() {
            self.give_standing(shell);
        }
    }

    /// Renews the lease of what is held.
    pub(crate) fn renew(&mut self, shell: &mut Shell, lease: Duration) {
        let held = self.machine.held_addresses().to_vec();
        if held.is_empty() {
            return;
        }
        let renewed = all(held.iter().map(|address| self.put_address(*address, lease, shell)));
        self.counters.failures_total += u64::from(renewed.is_err());
        if self.is_refused(&renewed, true) {
            self.give_standing(shell);
        }
    }

    /// Whether the node has to let go of its addresses, or can't take them, by what the kernel said.
    fn is_refused(&mut self, added: &io::Result<()>, was_active: bool) -> bool {
        let Err(error) = added else {
            self.refusal.end();
            return false;
        };
        let hint = match error.raw_os_error() {
            Some(libc::EPERM) => "; the process needs CAP_NET_ADMIN",
            Some(libc::EACCES) => "; is IPv6 turned off there?",
            _ => "",
        };
        let device = &self.plan.device_name;
        let why =
            format!("asked last, the kernel refused its addresses on {device}: {error}{hint}");
        let now = kernel::monotonic();
        if was_active {
            return self.refusal.note_renewal(now, why);
        }
        self.refusal.note(now, why);
        true
    }

    fn home(&self, address: IpAddr) -> u32 {
        // Every family that the machine has addresses of has one; the device itself is a safe place.
        self.homes.get(&Family::of(address)).copied().unwrap_or(self.plan.device)
    }

    fn add_addresses(&mut self, addresses: &[IpAddr], shell: &mut Shell) -> io::Result<()> {
        let homes = self.virtual_homes(addresses);
        let is_up = all(homes.iter().map(|home| shell.netlink.set_up(*home, true)));
        self.raised.extend(homes);
        let added = addresses.iter().map(|address| self.put_address(*address, LEASE, shell));
        is_up.and(all(added))
    }

    /// Adds an address, or renews it. Where its prefix is configured otherwise by now, it gets that one.
    fn put_address(
        &mut self,
        address: IpAddr,
        lease: Duration,
        shell: &mut Shell,
    ) -> io::Result<()> {
        let (home, length) = (self.home(address), self.plan.prefix_length(address));
        let other = self.lengths.get(&address).copied().filter(|before| *before != length);
        // An IPv6 address keeps the length that it was added with; IPv4 ones are two.
        if let Some(other) = other.filter(|_| address.is_ipv6()) {
            shell.netlink.remove_address(home, address, other)?;
        }
        shell.netlink.add_address(home, address, length, lease)?;
        self.lengths.insert(address, length);
        match other.filter(|_| address.is_ipv4()) {
            Some(other) => shell.netlink.remove_address(home, address, other),
            None => Ok(()),
        }
    }

    fn remove_addresses(&mut self, addresses: &[IpAddr], shell: &mut Shell) -> io::Result<()> {
        all(addresses.iter().map(|address| {
            let added = self.lengths.remove(address);
            let length = added.unwrap_or_else(|| self.plan.prefix_length(*address));
            shell.netlink.remove_address(self.home(*address), *address, length)
        }))
    }

    /// RFC 9568 §6.4.2: who is not Active takes no frame to the virtual MAC. Done when all else is, as it
    /// takes the kernel some 10 ms, and without addresses nothing answers from there.
    fn lower_unused(&mut self, shell: &mut Shell) {
        let used = self.virtual_homes(self.machine.held_addresses());
        for home in std::mem::take(&mut self.raised) {
            if used.contains(&home) {
                self.raised.insert(home);
            } else if shell.netlink.set_up(home, false).is_err() {
                self.counters.failures_total += 1;
            }
        }
    }

    /// The devices with virtual MACs that these addresses are on.
    fn virtual_homes(&self, addresses: &[IpAddr]) -> BTreeSet<u32> {
        let homes = addresses.iter().map(|address| self.home(*address));
        homes.filter(|home| *home != self.plan.device).collect()
    }

    pub(crate) fn handle(&mut self, input: Input, shell: &mut Shell) {
        let now = kernel::monotonic();
        let was_active = self.machine.state() == State::Active;
        let mut effects = Vec::new();
        if let Input::Heartbeat(report) = &input {
            self.claims.note(report, now);
        }
        self.recorder.begin(now, &input);
        self.machine.handle(now, input, &mut effects);
        self.recorder.end(&effects, &self.machine);
        let is_noted = effects.iter().any(|effect| matches!(effect, Effect::Note(_)));
        let mut steps = Vec::new();
        let mut transitions = Vec::new();
        let mut is_refused = false;
        for effect in effects {
            // Who does not have the addresses does not speak for them.
            if is_refused
                && matches!(effect, Effect::SendAdvertisement(_) | Effect::Announce { .. })
            {
                continue;
            }
            let adds = matches!(effect, Effect::AddAddresses(_));
            let done = self.carry_out(effect, shell, &mut transitions);
            if let Some((what, result)) = done {
                // An owner that gets further addresses may lack some that it has: renewals tell.
                let is_answer = adds && !(was_active && result.is_ok());
                is_refused |= is_answer && self.is_refused(&result, was_active);
                let error = result.err().map(|error| error.to_string());
                self.counters.failures_total += u64::from(error.is_some());
                steps.push(Step { what, after: kernel::monotonic().since(now), error });
            }
        }
        let is_transition = !transitions.is_empty();
        for transition in transitions {
            self.is_changed = true;
            self.counters.transitions_total += 1;
            if transition.to == State::Active && transition.reason.is_voluntary() {
                shell.brake.note(now, transition.reason);
            }
            let (group, steps) = (self.name.clone(), steps.clone());
            // A full channel loses the report, never the time.
            let _lost =
                shell.reports.try_send(Report::Transition { group, transition, steps, at: now });
        }
        if !self.raised.is_empty() {
            self.lower_unused(shell);
        }
        if is_transition {
            self.hand_out_recording(shell);
        } else if is_noted && let Ok(place) = shell.recordings.try_reserve() {
            place.send(self.recorder.copy(&self.name, now));
        }
        if is_refused {
            self.give_standing(shell);
        }
    }

    /// Hands out what led up to now, unless the disk is behind.
    pub(crate) fn hand_out_recording(&mut self, shell: &Shell) {
        if let Ok(place) = shell.recordings.try_reserve() {
            place.send(self.recorder.take(&self.name, kernel::monotonic(), &self.machine));
        }
    }

    fn carry_out(
        &mut self,
        effect: Effect,
        shell: &mut Shell,
        transitions: &mut Vec<Transition>,
    ) -> Option<(&'static str, io::Result<()>)> {
        match effect {
            Effect::AddAddresses(addresses) => {
                Some(("addresses added", self.add_addresses(&addresses, shell)))
            }
            Effect::RemoveAddresses(addresses) => {
                Some(("addresses removed", self.remove_addresses(&addresses, shell)))
            }
            Effect::SendAdvertisement(advertisement) => {
                let is_release = advertisement.priority == 0;
                let sent = self.send(&advertisement, shell);
                Some((if is_release { "release sent" } else { "advertisement sent" }, sent))
            }
            Effect::Announce { repeat_count } => {
                Some(("addresses announced", self.announce(repeat_count, shell)))
            }
            Effect::Notify(transition) => {
                transitions.push(transition);
                None
            }
            // The short wait after a failback is nothing to tell of.
            Effect::Note(Note::Braked { .. }) if shell.brake.is_open(kernel::monotonic()) => None,
            Effect::Note(note) => {
                self.is_changed = true;
                let _lost = shell.reports.try_send(Report::Note { group: self.name.clone(), note });
                None
            }
            Effect::CountDrop(reason) => {
                self.count_drop(reason);
                None
            }
        }
    }

    /// Sends it to all that it is for, also after one can't be reached; the first failure.
    fn send(&mut self, advertisement: &Advertisement, shell: &mut Shell) -> io::Result<()> {
        let destinations = self.plan.destinations(advertisement.family);
        all(destinations.into_iter().map(|to| self.send_to(to, advertisement, shell)))
    }

    fn send_to(
        &mut self,
        destination: IpAddr,
        advertisement: &Advertisement,
        shell: &mut Shell,
    ) -> io::Result<()> {
        let (family, source) = (advertisement.family, advertisement.source);
        let signer = self.plan.machine.signed.then_some(&mut shell.signer);
        let message = wire::encode(advertisement, destination, self.plan.checksum, signer)
            .map_err(io::Error::other)?;
        if self.plan.virtual_mac_alias.is_some() && destination.is_multicast() {
            // RFC 9568 §7.2: it leaves with the virtual MAC, so that switches learn its place.
            let frame = multicast_frame(self.plan.mac_of(family), source, destination, &message)
                .ok_or_else(|| io::Error::other("source and group are of two families"))?;
            shell.send_frame(self.plan.device, &frame)?;
        } else {
            let socket = shell.vrrp.get(&(self.plan.device, family));
            let socket = socket.ok_or_else(|| io::Error::other("there is no socket"))?;
            socket.send(source, destination, &message)?;
        }
        self.counters.sent_total += 1;
        Ok(())
    }

    fn announce(&mut self, repeat_count: u8, shell: &mut Shell) -> io::Result<()> {
        let device = self.plan.device;
        for _ in 0..repeat_count {
            for address in self.machine.held_addresses() {
                let mac = self.plan.mac_of(Family::of(*address));
                match address {
                    IpAddr::V4(v4) => shell.send_frame(device, &gratuitous_arp(mac, *v4))?,
                    IpAddr::V6(v6) => shell.send_frame(device, &unsolicited_na(mac, *v6, false))?,
                }
                self.counters.announcements_total += 1;
            }
        }
        Ok(())
    }

    fn count_drop(&mut self, reason: DropReason) {
        *self.counters.dropped_total.entry(reason.as_str()).or_default() += 1;
    }

    pub(crate) fn published(
        &self,
        now: Time,
        shell: &Shell,
        name_of: &dyn Fn(u64) -> Option<String>,
    ) -> Published {
        let view = self.machine.view(now);
        let heard = heard_owner(&view).map(|heard| {
            let node = heard.node_id.and_then(name_of);
            (node.unwrap_or_else(|| heard.source.to_string()), heard.priority)
        });
        let (machine, is_braked) = (&self.plan.machine, !shell.brake.is_open(now));
        let unheard = self.claims.unheard(&view, machine.interval_cs, now);
        let named = |id: u64| name_of(id).unwrap_or_else(|| format!("number {id}"));
        // The link-local address that stands for an IPv6 router is nobody's to use.
        let is_shown =
            |ip: &&IpAddr| self.plan.prefixes.iter().any(|(floating, _)| floating == *ip);
        Published {
            name: self.name.clone(),
            device: self.plan.device_name.clone(),
            link_up: self.plan.link_up,
            missing: self.missing.clone().or_else(|| {
                let is_paused = self.refusal.until().is_some();
                self.refusal.why().filter(|_| is_paused).map(str::to_owned)
            }),
            held: self.machine.held_addresses().iter().filter(is_shown).copied().collect(),
            heard,
            unheard: unheard.map(named),
            wait: Wait::of(&view, is_braked, &machine.foreign_routers),
            counters: self.counters.clone(),
            view,
        }
    }
}

/// Does all, also after one failed; the first failure.
fn all(results: impl Iterator<Item = io::Result<()>>) -> io::Result<()> {
    let mut first = Ok(());
    for result in results {
        if first.is_ok() {
            first = result;
        }
    }
    first
}
