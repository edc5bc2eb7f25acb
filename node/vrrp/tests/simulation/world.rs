//! The world: a queue of events in the order of time, a segment that loses, delays, doubles and
//! swaps packets, and a second path for reports.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use ballast_vrrp::{Family, Gateways, Input, PeerReport};

use crate::node::{Arrival, Node, Packet};
use crate::observer::{Observer, TICK_LATE_US, Violation, violated};
use crate::plan::{CALM_AT_US, END_AT_US, Fault, Plan};
use crate::random::Random;
use ballast_vrrp::{HEALTHY_PRIORITY_MIN, Preempt};

/// What a run came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) transitions_count: usize,
    pub(crate) takeovers_count: usize,
}

pub(crate) struct World<'a> {
    plan: &'a Plan,
    random: Random,
    now: u64,
    sequence: u64,
    queue: BinaryHeap<Reverse<(u64, u64, Slot)>>,
    events: HashMap<Slot, Event>,
    nodes: Vec<Node>,
    observer: Observer,
    /// From, to, and the family that does not pass.
    cuts: BTreeSet<(usize, usize, Family)>,
    heartbeat_cuts: BTreeSet<(usize, usize)>,
    /// Connections keep the order.
    heartbeat_last: HashMap<(usize, usize), u64>,
}

type Slot = u64;

#[derive(Clone, Debug)]
enum Event {
    Fault(Fault),
    Calm,
    Tick { node: usize, generation: u64 },
    Report { node: usize },
    Arrival { node: usize, arrival: Arrival },
}

/// Runs a plan to its end, or to the first breach.
pub(crate) fn run(plan: &Plan) -> Result<Outcome, Violation> {
    let mut world = World::new(plan);
    while let Some(Reverse((at, _, slot))) = world.queue.pop() {
        if at > END_AT_US {
            break;
        }
        world.now = at;
        world.observer.look(at)?;
        if let Some(event) = world.events.remove(&slot) {
            world.happen(event)?;
        }
    }
    world.finish()
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan) -> Self {
        let nodes: Vec<Node> =
            (0..plan.priorities.len()).map(|index| Node::new(index, plan)).collect();
        let mut world = Self {
            plan,
            random: Random::new(plan.seed.wrapping_mul(31)),
            now: 0,
            sequence: 0,
            queue: BinaryHeap::new(),
            events: HashMap::new(),
            nodes,
            observer: Observer::new(plan),
            cuts: BTreeSet::new(),
            heartbeat_cuts: BTreeSet::new(),
            heartbeat_last: HashMap::new(),
        };
        for node in 0..world.nodes.len() {
            let start_at = world.random.within(0, 200_000);
            world.push(start_at, Event::Fault(Fault::Start(node)));
            if plan.has_heartbeat {
                world.push(1_000 * node as u64, Event::Report { node });
            }
        }
        for (at, fault) in &plan.faults {
            world.push(*at, Event::Fault(*fault));
        }
        world.push(CALM_AT_US, Event::Calm);
        world
    }

    fn push(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.events.insert(self.sequence, event);
        self.queue.push(Reverse((at, self.sequence, self.sequence)));
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Fault(fault) => self.disturb(fault),
            Event::Calm => self.calm(),
            Event::Tick { node, generation } => {
                let one = &self.nodes[node];
                if one.is_paused || one.tick_generation != generation {
                    return Ok(());
                }
                self.tell(node, &Input::Tick)
            }
            Event::Report { node } => self.report(node),
            Event::Arrival { node, arrival } => {
                let packets =
                    self.nodes[node].arrive(arrival, self.now, self.plan, &mut self.observer)?;
                self.after(node, packets);
                Ok(())
            }
        }
    }

    fn tell(&mut self, node: usize, input: &Input) -> Result<(), Violation> {
        let packets = self.nodes[node].handle(input, self.now, self.plan, &mut self.observer)?;
        self.after(node, packets);
        Ok(())
    }

    /// Sends what a node wants sent, and sets its timer.
    fn after(&mut self, node: usize, packets: Vec<Packet>) {
        for packet in packets {
            self.send(node, &packet);
        }
        self.nodes[node].tick_generation += 1;
        let generation = self.nodes[node].tick_generation;
        if let Some(deadline) = self.nodes[node].deadline(self.plan) {
            let late = self.random.within(0, TICK_LATE_US);
            self.push(deadline.max(self.now) + late, Event::Tick { node, generation });
        }
    }

    fn send(&mut self, from: usize, packet: &Packet) {
        if !self.nodes[from].is_link_up {
            return;
        }
        let is_calm = self.now >= CALM_AT_US;
        for to in 0..self.nodes.len() {
            let is_cut = self.cuts.contains(&(from, to, packet.family));
            if to == from || is_cut || !self.nodes[to].is_link_up {
                continue;
            }
            let loss_percent = if is_calm { 0 } else { self.plan.loss_percent };
            if self.random.percent(loss_percent) {
                continue;
            }
            let copies_count = 1 + u64::from(self.random.percent(self.plan.duplicate_percent));
            for _ in 0..copies_count {
                let at = self.now + self.random.within(0, self.plan.max_delay_us);
                let arrival = Arrival::Packet(packet.clone());
                self.push(at, Event::Arrival { node: to, arrival });
            }
        }
    }

    /// The second path: one report per advertisement interval to everybody.
    fn report(&mut self, from: usize) -> Result<(), Violation> {
        let interval_ms = (u32::from(self.plan.interval_cs) * 10).max(100);
        self.push(self.now + u64::from(interval_ms) * 1_000, Event::Report { node: from });
        let node = &self.nodes[from];
        if !node.is_running() || node.is_paused {
            return Ok(());
        }
        let report = PeerReport {
            node_id: from as u64,
            state: node.state(),
            priority: node.machine_priority(),
            link_up: node.is_link_up,
            gateways: Gateways::Unknown,
            interval_ms,
        };
        self.send_heartbeat(from, &Input::Heartbeat(report));
        Ok(())
    }

    fn send_heartbeat(&mut self, from: usize, input: &Input) {
        for to in 0..self.nodes.len() {
            if to == from || self.heartbeat_cuts.contains(&(from, to)) {
                continue;
            }
            let at = self.now + self.random.within(0, self.plan.max_delay_us);
            let last = self.heartbeat_last.entry((from, to)).or_default();
            *last = at.max(*last + 1);
            let at = *last;
            self.push(at, Event::Arrival { node: to, arrival: Arrival::Input(input.clone()) });
        }
    }

    fn disturb(&mut self, fault: Fault) -> Result<(), Violation> {
        match fault {
            Fault::Kill(node) => self.end(node, false, true),
            Fault::PowerOff(node) => self.end(node, false, false),
            Fault::Shutdown(node) => self.end(node, true, true),
            Fault::Start(node) => self.start(node),
            Fault::Pause(node) => {
                self.nodes[node].is_paused = self.nodes[node].is_running();
                self.watch(node, 0);
                Ok(())
            }
            Fault::Resume(node) => self.resume(node),
            Fault::ClockJump(node, by_us) => {
                self.nodes[node].jump(by_us);
                self.watch(node, u64::try_from(-by_us).unwrap_or(0));
                // Deadlines are on the node's clock.
                self.after(node, Vec::new());
                Ok(())
            }
            Fault::LinkDown(node) | Fault::LinkUp(node) => {
                self.set_link(node, matches!(fault, Fault::LinkUp(_)))
            }
            Fault::Cut(from, to, family) => {
                let families = family.map_or(vec![Family::V4, Family::V6], |one| vec![one]);
                self.cuts.extend(families.into_iter().map(|family| (from, to, family)));
                Ok(())
            }
            Fault::Isolate(node) => {
                for other in (0..self.nodes.len()).filter(|other| *other != node) {
                    for (from, to) in [(node, other), (other, node)] {
                        self.cuts.extend([(from, to, Family::V4), (from, to, Family::V6)]);
                        self.heartbeat_cuts.insert((from, to));
                    }
                }
                Ok(())
            }
            Fault::CutHeartbeat(from, to) => {
                self.heartbeat_cuts.extend([(from, to), (to, from)]);
                Ok(())
            }
            Fault::Heal => {
                self.cuts.clear();
                self.heartbeat_cuts.clear();
                Ok(())
            }
            Fault::Standing(node, priority) => {
                self.nodes[node].priority = priority;
                let standing = self.nodes[node].standing();
                self.tell_later(node, standing)
            }
            Fault::TakeOver(node) => self.tell_later(node, Input::TakeOver),
            Fault::Move(from, to) => {
                self.tell_later(from, Input::HandOver)?;
                self.tell_later(to, Input::TakeOver)
            }
            Fault::StepDown(node) => self.tell_later(node, Input::StepDown),
            Fault::Interval(node, interval_cs) => {
                let changed = self.nodes[node].config_with(interval_cs);
                changed.map_or(Ok(()), |config| {
                    self.tell_later(node, Input::ConfigChanged(Box::new(config)))
                })
            }
        }
    }

    /// A process ends: in order or not, with its connections closed or not.
    fn end(&mut self, node: usize, in_order: bool, is_told: bool) -> Result<(), Violation> {
        if !self.nodes[node].is_running() {
            return Ok(());
        }
        if in_order && !self.nodes[node].is_paused {
            self.tell(node, &Input::Shutdown)?;
        }
        self.observer.set_able(node, None);
        self.nodes[node].stop(&mut self.observer, self.now)?;
        if self.plan.has_heartbeat && is_told {
            self.send_heartbeat(node, &Input::HeartbeatClosed { node_id: node as u64 });
        }
        Ok(())
    }

    fn tell_later(&mut self, node: usize, input: Input) -> Result<(), Violation> {
        self.happen(Event::Arrival { node, arrival: Arrival::Input(input) })
    }

    fn start(&mut self, node: usize) -> Result<(), Violation> {
        if self.nodes[node].is_running() {
            return Ok(());
        }
        self.nodes[node].start(self.plan, self.now);
        if self.nodes[node].is_link_up {
            self.tell(node, &Input::LinkUp)?;
        }
        let standing = self.nodes[node].standing();
        self.tell(node, &standing)?;
        self.watch(node, 0);
        Ok(())
    }

    fn resume(&mut self, node: usize) -> Result<(), Violation> {
        if !self.nodes[node].is_paused {
            return Ok(());
        }
        let packets = self.nodes[node].resume(self.now, self.plan, &mut self.observer)?;
        self.after(node, packets);
        self.watch(node, 0);
        Ok(())
    }

    fn set_link(&mut self, node: usize, is_up: bool) -> Result<(), Violation> {
        if self.nodes[node].is_link_up == is_up {
            return Ok(());
        }
        self.nodes[node].is_link_up = is_up;
        self.watch(node, 0);
        self.tell_later(node, if is_up { Input::LinkUp } else { Input::LinkDown })
    }

    /// From now on, or a while later, a node can be expected to act.
    fn watch(&mut self, node: usize, after_us: u64) {
        let since = self.nodes[node].is_able().then_some(self.now + after_us);
        self.observer.set_able(node, since);
    }

    /// Everything works from now on.
    fn calm(&mut self) -> Result<(), Violation> {
        self.disturb(Fault::Heal)?;
        for node in 0..self.nodes.len() {
            self.resume(node)?;
            self.set_link(node, true)?;
            self.start(node)?;
        }
        Ok(())
    }

    fn finish(self) -> Result<Outcome, Violation> {
        let active = self.observer.finish()?;
        for node in &self.nodes {
            node.check_replay(self.now)?;
        }
        let holder = &self.nodes[active];
        let best = self.nodes.iter().map(|node| node.priority).max().unwrap_or(0);
        let is_preempting = matches!(self.plan.preempt, Preempt::After { .. });
        let is_manual = holder.is_manual(self.now);
        if best >= HEALTHY_PRIORITY_MIN && holder.machine_priority() < HEALTHY_PRIORITY_MIN {
            return violated(self.now, format!("node {active} is degraded and still Active"));
        }
        if is_preempting && !is_manual && holder.priority < best {
            return violated(self.now, format!("node {active} is not the best one"));
        }
        Ok(Outcome {
            transitions_count: self.observer.transitions_count,
            takeovers_count: self.observer.takeovers_count,
        })
    }
}
