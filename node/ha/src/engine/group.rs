//! One traffic group on this node: its machine, and what carries its effects out.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use ballast_vrrp::announce::{gratuitous_arp, unsolicited_na};
use ballast_vrrp::wire::{self, Advertisement, Datagram, DropReason, Received, Verifier};
use ballast_vrrp::{
    ConfigError, Effect, GroupMachine, GroupView, Input, Note, Standing, State, Time, Transition,
    Unable,
};

use super::{LEASE, Shell};
use crate::kernel;
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
    pub(crate) missing: Option<String>,
    pub(crate) held: Vec<IpAddr>,
    pub(crate) heard_name: Option<String>,
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
    machine: GroupMachine,
    /// As the control side sees the node; none before it said so.
    standing: Option<Standing>,
    /// Why the group can't run on the devices that there are.
    missing: Option<String>,
    heard: Vec<Received>,
    counters: Counters,
    is_changed: bool,
}

impl Running {
    pub(crate) fn start(
        name: String,
        plan: GroupPlan,
        standing: Option<Standing>,
        shell: &mut Shell,
    ) -> Result<Self, ConfigError> {
        let machine = GroupMachine::new(plan.machine.clone(), kernel::monotonic())?;
        let link_up = plan.link_up;
        let mut running = Self {
            name,
            plan,
            machine,
            standing,
            missing: None,
            heard: Vec::new(),
            counters: Counters::default(),
            is_changed: true,
        };
        running.give_standing(shell);
        running.handle(if link_up { Input::LinkUp } else { Input::LinkDown }, shell);
        Ok(running)
    }

    pub(crate) fn plan(&self) -> &GroupPlan {
        &self.plan
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.machine.next_deadline()
    }

    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        self.machine.held_addresses().contains(&address)
    }

    pub(crate) fn virtual_addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.machine
            .config()
            .instances
            .iter()
            .flat_map(|instance| instance.addresses.iter().copied())
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
        standing.may_volunteer = shell.brake.is_open(kernel::monotonic());
        self.handle(Input::Standing(standing), shell);
    }

    /// Takes in a datagram; acted on by [`Running::act_on_heard`].
    pub(crate) fn hear(&mut self, datagram: &kernel::Datagram, verifier: &mut Verifier) {
        let is_guarded = self.plan.machine.signed && !self.plan.peers.is_empty();
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
            self.handle(Input::Advertisement(received), shell);
        }
    }

    pub(crate) fn tick(&mut self, shell: &mut Shell) {
        if self.next_deadline().is_some_and(|deadline| deadline <= kernel::monotonic()) {
            self.handle(Input::Tick, shell);
        }
    }

    /// Renews the lease of what is held.
    pub(crate) fn renew(&mut self, shell: &mut Shell, lease: Duration) {
        for address in self.machine.held_addresses().to_vec() {
            let length = self.plan.prefix_length(address);
            if shell.netlink.add_address(self.plan.device, address, length, lease).is_err() {
                self.counters.failures_total += 1;
            }
        }
    }

    pub(crate) fn handle(&mut self, input: Input, shell: &mut Shell) {
        let now = kernel::monotonic();
        let mut effects = Vec::new();
        self.machine.handle(now, input, &mut effects);
        let mut steps = Vec::new();
        let mut transitions = Vec::new();
        for effect in effects {
            let done = self.carry_out(effect, shell, &mut transitions);
            if let Some((what, result)) = done {
                let error = result.err().map(|error| error.to_string());
                self.counters.failures_total += u64::from(error.is_some());
                steps.push(Step { what, after: kernel::monotonic().since(now), error });
            }
        }
        for transition in transitions {
            self.is_changed = true;
            self.counters.transitions_total += 1;
            if transition.to == State::Active && transition.reason.is_voluntary() {
                shell.brake.note(now);
            }
            let (group, steps) = (self.name.clone(), steps.clone());
            // A full channel loses the report, never the time.
            let _lost =
                shell.reports.try_send(Report::Transition { group, transition, steps, at: now });
        }
    }

    fn carry_out(
        &mut self,
        effect: Effect,
        shell: &mut Shell,
        transitions: &mut Vec<Transition>,
    ) -> Option<(&'static str, io::Result<()>)> {
        let device = self.plan.device;
        match effect {
            Effect::AddAddresses(addresses) => {
                let added = addresses.into_iter().map(|address| {
                    let length = self.plan.prefix_length(address);
                    shell.netlink.add_address(device, address, length, LEASE)
                });
                Some(("addresses added", all(added)))
            }
            Effect::RemoveAddresses(addresses) => {
                let removed = addresses.into_iter().map(|address| {
                    let length = self.plan.prefix_length(address);
                    shell.netlink.remove_address(device, address, length)
                });
                Some(("addresses removed", all(removed)))
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

    fn send(&mut self, advertisement: &Advertisement, shell: &mut Shell) -> io::Result<()> {
        let family = advertisement.family;
        let Some(socket) = shell.vrrp.get(&(self.plan.device, family)) else {
            return Err(io::Error::other("there is no socket"));
        };
        for destination in self.plan.destinations(family) {
            let signer = self.plan.machine.signed.then_some(&mut shell.signer);
            let message = wire::encode(advertisement, destination, self.plan.checksum, signer)
                .map_err(io::Error::other)?;
            socket.send(advertisement.source, destination, &message)?;
            self.counters.sent_total += 1;
        }
        Ok(())
    }

    fn announce(&mut self, repeat_count: u8, shell: &mut Shell) -> io::Result<()> {
        let Some(socket) = shell.frames.get(&self.plan.device) else {
            return Err(io::Error::other("there is no packet socket"));
        };
        for _ in 0..repeat_count {
            for address in self.machine.held_addresses() {
                match address {
                    IpAddr::V4(v4) => socket.send(&gratuitous_arp(self.plan.mac, *v4))?,
                    IpAddr::V6(v6) => socket.send(&unsolicited_na(self.plan.mac, *v6, false))?,
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
        name_of: &dyn Fn(u64) -> Option<String>,
    ) -> Published {
        let view = self.machine.view(now);
        let heard = view.instances.iter().find_map(|instance| instance.heard);
        let heard_name = heard.map(|heard| {
            let node = heard.node_id.and_then(name_of);
            node.unwrap_or_else(|| heard.source.to_string())
        });
        // The link-local address that stands for an IPv6 router is nobody's to use.
        let is_shown =
            |ip: &&IpAddr| self.plan.prefixes.iter().any(|(floating, _)| floating == *ip);
        Published {
            name: self.name.clone(),
            device: self.plan.device_name.clone(),
            link_up: self.plan.link_up,
            missing: self.missing.clone(),
            held: self.machine.held_addresses().iter().filter(is_shown).copied().collect(),
            heard_name,
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
