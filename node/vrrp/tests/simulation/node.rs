//! A node of the simulated world: machines, their clock, what is on the interface. It does for the
//! machine what a shell does, and keeps a recording.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ballast_vrrp::wire::{
    ChecksumForm, Datagram, HOP_LIMIT, Signature, Signer, SigningKey, Verifier, decode, encode,
};
use ballast_vrrp::{
    AnnounceConfig, Effect, Family, GroupConfig, GroupMachine, HEALTHY_PRIORITY_MIN, Input,
    InstanceConfig, Preempt, Reason, Standing, State, Time, record,
};

use crate::observer::{Observer, Violation, violated};
use crate::plan::{Plan, Plant};

pub(crate) const VRID: u8 = 51;
/// A socket's buffer holds so many packets of a node that does not read.
const INBOX_COUNT: usize = 64;

/// A packet on its way.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) family: Family,
    pub(crate) source: IpAddr,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) enum Arrival {
    Packet(Packet),
    Input(Input),
}

pub(crate) struct Node {
    index: usize,
    /// One, or one per family where that is the planted bug. Empty while the process is down.
    machines: Vec<GroupMachine>,
    signer: Option<Signer>,
    verifier: Verifier,
    epoch: u32,
    /// What the node's clock is ahead of the world's.
    clock_ahead_us: i64,
    pub(crate) is_paused: bool,
    pub(crate) is_link_up: bool,
    pub(crate) priority: u8,
    inbox: Vec<Arrival>,
    /// On the interface.
    addresses: BTreeSet<IpAddr>,
    pub(crate) tick_generation: u64,
    recording: Vec<Vec<String>>,
}

impl Node {
    pub(crate) fn new(index: usize, plan: &Plan) -> Self {
        Self {
            index,
            machines: Vec::new(),
            signer: None,
            verifier: Verifier::new(index as u64),
            epoch: 0,
            clock_ahead_us: (index as i64 + 1) * 1_000_000_000,
            is_paused: false,
            is_link_up: true,
            priority: plan.priorities[index],
            inbox: Vec::new(),
            addresses: BTreeSet::new(),
            tick_generation: 0,
            recording: Vec::new(),
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.machines.is_empty()
    }

    pub(crate) fn is_able(&self) -> bool {
        self.is_running() && !self.is_paused && self.is_link_up
    }

    pub(crate) fn state(&self) -> State {
        self.machines.first().map_or(State::Initialize, GroupMachine::state)
    }

    pub(crate) fn machine_priority(&self) -> u8 {
        self.machines.first().map_or(0, GroupMachine::priority)
    }

    pub(crate) fn is_manual(&self, now: u64) -> bool {
        self.machines.iter().any(|machine| machine.view(self.clock(now)).is_manual)
    }

    /// A process begins; the kernel has nothing left of the one before.
    pub(crate) fn start(&mut self, plan: &Plan, now: u64) {
        self.epoch += 1;
        let key = || SigningKey::new(1, &[7; 32]);
        self.signer = plan.signed.then(|| Signer::new(key(), self.index as u64, self.epoch));
        self.verifier = Verifier::new(self.index as u64);
        self.verifier.accept_keys([key()]);
        self.inbox.clear();
        let groups: Vec<Vec<Family>> = match plan.plant {
            Some(Plant::SplitFamilies) => plan.families.iter().map(|one| vec![*one]).collect(),
            _ => vec![plan.families.clone()],
        };
        let clock = self.clock(now);
        self.machines = groups
            .iter()
            .map(|families| GroupMachine::new(config(self.index, families, plan), clock).unwrap())
            .collect();
        self.recording =
            self.machines.iter().map(|one| vec![record::first_line(one).unwrap()]).collect();
    }

    /// The process is gone. So are its addresses: the kernel lets them expire, at once for the
    /// sake of the model.
    pub(crate) fn stop(&mut self, observer: &mut Observer, now: u64) -> Result<(), Violation> {
        self.check_replay(now)?;
        self.machines.clear();
        self.addresses.clear();
        self.is_paused = false;
        self.inbox.clear();
        observer.set_active(self.index, false, now)
    }

    pub(crate) fn jump(&mut self, by_us: i64) {
        self.clock_ahead_us += by_us;
    }

    pub(crate) fn standing(&self) -> Input {
        Input::Standing(Standing { unable: None, priority: self.priority, may_volunteer: true })
    }

    /// What the node runs on, but for the interval. Nothing where its machines differ by plant.
    pub(crate) fn config_with(&self, interval_cs: u16) -> Option<GroupConfig> {
        match &self.machines[..] {
            [one] => Some(GroupConfig { interval_cs, ..one.config().clone() }),
            _ => None,
        }
    }

    /// When the timer is to fire, in the world's time.
    pub(crate) fn deadline(&self, plan: &Plan) -> Option<u64> {
        let earliest = self.machines.iter().filter_map(GroupMachine::next_deadline).min()?;
        let at = (earliest.0 as i64 - self.clock_ahead_us).max(0) as u64;
        let is_slow = plan.plant == Some(Plant::SlowTimer) && self.state() == State::Backup;
        Some(if is_slow { at + u64::from(plan.interval_cs) * 20_000 } else { at })
    }

    /// Something arrives; a node that sleeps finds it when it wakes.
    pub(crate) fn arrive(
        &mut self,
        arrival: Arrival,
        now: u64,
        plan: &Plan,
        observer: &mut Observer,
    ) -> Result<Vec<Packet>, Violation> {
        if !self.is_running() {
            return Ok(Vec::new());
        }
        if self.is_paused {
            if self.inbox.len() < INBOX_COUNT {
                self.inbox.push(arrival);
            }
            return Ok(Vec::new());
        }
        match arrival {
            Arrival::Input(input) => self.handle(&input, now, plan, observer),
            Arrival::Packet(packet) => {
                let datagram = Datagram {
                    source: packet.source,
                    destination: packet.family.multicast(),
                    hop_limit: Some(HOP_LIMIT),
                    payload: &packet.bytes,
                };
                let verifier = plan.signed.then_some(&mut self.verifier);
                // What was sent twice is dropped here where signatures are on, and only there.
                let Ok(received) = decode(&datagram, verifier) else { return Ok(Vec::new()) };
                assert!(!matches!(received.signature, Signature::Bad(_) | Signature::Unchecked));
                if is_swallowed(plan.plant, self, received.advertisement.priority) {
                    return Ok(Vec::new());
                }
                let mut received = received;
                if plan.plant == Some(Plant::Restless) && self.state() == State::Backup {
                    received.advertisement.priority = received.advertisement.priority.min(1);
                }
                self.handle(&Input::Advertisement(received), now, plan, observer)
            }
        }
    }

    /// The sleeper wakes: first it reads what waited, then it looks at its timers.
    pub(crate) fn resume(
        &mut self,
        now: u64,
        plan: &Plan,
        observer: &mut Observer,
    ) -> Result<Vec<Packet>, Violation> {
        self.is_paused = false;
        let mut packets = Vec::new();
        for arrival in std::mem::take(&mut self.inbox) {
            packets.extend(self.arrive(arrival, now, plan, observer)?);
        }
        packets.extend(self.handle(&Input::Tick, now, plan, observer)?);
        Ok(packets)
    }

    pub(crate) fn handle(
        &mut self,
        input: &Input,
        now: u64,
        plan: &Plan,
        observer: &mut Observer,
    ) -> Result<Vec<Packet>, Violation> {
        let clock = self.clock(now);
        let mut packets = Vec::new();
        for index in 0..self.machines.len() {
            let mut effects = Vec::new();
            let machine = &mut self.machines[index];
            machine.handle(clock, input.clone(), &mut effects);
            if let Err(broken) = machine.check_invariants() {
                return violated(now, format!("node {}: {broken}", self.index));
            }
            let is_stuck = *input == Input::Tick
                && machine.next_deadline().is_some_and(|deadline| deadline <= clock);
            if is_stuck {
                return violated(now, format!("node {}: a tick changed nothing", self.index));
            }
            self.recording[index].push(record::line(clock, input, &effects).unwrap());
            for effect in effects {
                self.carry_out(effect, now, plan, observer, &mut packets)?;
            }
        }
        let wanted = plan.families.len() * 2;
        if ![0, wanted].contains(&self.addresses.len()) {
            let what = format!("node {} holds {:?}", self.index, self.addresses);
            return violated(now, what);
        }
        observer.set_active(self.index, !self.addresses.is_empty(), now)?;
        Ok(packets)
    }

    fn carry_out(
        &mut self,
        effect: Effect,
        now: u64,
        plan: &Plan,
        observer: &mut Observer,
        packets: &mut Vec<Packet>,
    ) -> Result<(), Violation> {
        match effect {
            Effect::AddAddresses(addresses) => {
                for address in addresses {
                    if !self.addresses.insert(address) {
                        return violated(now, format!("{address} is added twice"));
                    }
                }
            }
            Effect::RemoveAddresses(_) if plan.plant == Some(Plant::KeepsAddresses) => {}
            Effect::RemoveAddresses(addresses) => {
                for address in addresses {
                    if !self.addresses.remove(&address) {
                        return violated(now, format!("{address} is removed, and was not there"));
                    }
                }
            }
            Effect::SendAdvertisement(advertisement) => {
                let family = advertisement.family;
                let bytes = encode(
                    &advertisement,
                    family.multicast(),
                    ChecksumForm::default(),
                    self.signer.as_mut(),
                )
                .unwrap();
                packets.push(Packet { family, source: advertisement.source, bytes });
            }
            Effect::Notify(transition) => {
                let what = format!("node {}: {}", self.index, transition.sentence());
                if std::env::var_os("BALLAST_VRRP_TRACE").is_some() {
                    eprintln!("{now:>9} {what}");
                }
                if transition.reason == Reason::PeerDegraded
                    && transition.facts.own_priority < HEALTHY_PRIORITY_MIN
                {
                    return violated(now, format!("degraded, and took over: {what}"));
                }
                observer.count_transition(now, &what)?;
            }
            Effect::Announce { .. } | Effect::Note(_) | Effect::CountDrop(_) => {}
        }
        Ok(())
    }

    /// The recording, played to a machine as it was at the start, repeats every effect.
    pub(crate) fn check_replay(&self, now: u64) -> Result<(), Violation> {
        // Every eighth: a recording is dear in a debug build.
        if self.epoch % 8 != 1 {
            return Ok(());
        }
        for (lines, machine) in self.recording.iter().zip(&self.machines) {
            match record::replay(lines.join("\n").as_bytes()) {
                Err(error) => return violated(now, format!("replay: {error}")),
                Ok(replayed) if replayed.machine != *machine => {
                    return violated(now, "a replay ends in another machine".to_owned());
                }
                Ok(_) => {}
            }
        }
        Ok(())
    }

    fn clock(&self, now: u64) -> Time {
        Time((now as i64 + self.clock_ahead_us).max(0) as u64)
    }
}

fn is_swallowed(plant: Option<Plant>, node: &Node, heard_priority: u8) -> bool {
    let is_active = node.state() == State::Active;
    match plant {
        Some(Plant::NoTieBreak) => is_active && heard_priority == node.machine_priority(),
        Some(Plant::NoYield) => is_active && heard_priority > node.machine_priority(),
        _ => false,
    }
}

pub(crate) fn source(node: usize, family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::from([10, 0, 0, node as u8 + 1]),
        // The other way round: the two families disagree about ties.
        Family::V6 => IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 0xff - node as u16]),
    }
}

fn config(node: usize, families: &[Family], plan: &Plan) -> GroupConfig {
    let addresses = |family| -> Vec<IpAddr> {
        match family {
            Family::V4 => vec![[10, 0, 0, 100].into(), [10, 0, 0, 101].into()],
            Family::V6 => vec![
                ballast_vrrp::announce::virtual_link_local(VRID).into(),
                [0xfd00, 0, 0, 0, 0, 0, 0, 0x100].into(),
            ],
        }
    };
    GroupConfig {
        name: "web".to_owned(),
        vrid: VRID,
        interval_cs: plan.interval_cs,
        instances: families
            .iter()
            .map(|family| InstanceConfig {
                family: *family,
                source: source(node, *family),
                addresses: addresses(*family),
            })
            .collect(),
        preempt: if plan.plant == Some(Plant::Restless) {
            Preempt::After { delay_ms: 0 }
        } else {
            plan.preempt
        },
        signed: plan.signed,
        foreign_routers: Vec::new(),
        announce: AnnounceConfig::default(),
    }
}
