//! What will happen in one simulated world. A plan can be made smaller without changing the rest.

use ballast_vrrp::{Family, Preempt};

use crate::random::Random;

/// When disturbances end and messages flow, in µs.
pub(crate) const CALM_AT_US: u64 = 8_000_000;
/// When the world ends.
pub(crate) const END_AT_US: u64 = 18_000_000;
/// From when on nothing may change any more.
pub(crate) const SETTLED_AT_US: u64 = 14_000_000;

const INTERVALS_CS: [u16; 4] = [10, 20, 20, 50];

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) priorities: Vec<u8>,
    pub(crate) families: Vec<Family>,
    pub(crate) interval_cs: u16,
    pub(crate) preempt: Preempt,
    pub(crate) signed: bool,
    pub(crate) max_delay_us: u64,
    pub(crate) loss_percent: u64,
    pub(crate) duplicate_percent: u64,
    pub(crate) has_heartbeat: bool,
    pub(crate) faults: Vec<(u64, Fault)>,
    pub(crate) plant: Option<Plant>,
}

/// A disturbance; nodes are numbered from 0.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The process dies; the kernel closes its connections.
    Kill(usize),
    /// The machine dies; nobody is told.
    PowerOff(usize),
    /// The process ends in order.
    Shutdown(usize),
    Start(usize),
    Pause(usize),
    Resume(usize),
    ClockJump(usize, i64),
    LinkDown(usize),
    LinkUp(usize),
    /// Advertisements from one node do not reach another, in one family or in all.
    Cut(usize, usize, Option<Family>),
    /// Neither advertisements nor reports pass.
    Isolate(usize),
    CutHeartbeat(usize, usize),
    Heal,
    Standing(usize, u8),
    TakeOver(usize),
    /// The one before is told first, then the other one.
    Move(usize, usize),
    StepDown(usize),
    /// The group gets another interval, which one node learns.
    Interval(usize, u16),
}

/// A bug put in on purpose, to see that it is caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    /// An Active pays no heed to an equal rival.
    NoTieBreak,
    /// An Active pays no heed to a better rival.
    NoYield,
    /// Every node is served two intervals late when it waits for silence.
    SlowTimer,
    /// The families of a group move each for itself.
    SplitFamilies,
    /// Addresses stay on the interface of a node that goes Backup.
    KeepsAddresses,
    /// A Backup takes over from whoever it hears.
    Restless,
}

impl Plan {
    /// The longest interval that any node has at any time.
    pub(crate) fn longest_interval_us(&self) -> u64 {
        let others = self.faults.iter().filter_map(|(_, fault)| match fault {
            Fault::Interval(_, interval_cs) => Some(*interval_cs),
            _ => None,
        });
        others.chain([self.interval_cs]).max().map_or(0, |longest| u64::from(longest) * 10_000)
    }

    pub(crate) fn generate(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let nodes_count = random.within(2, 5) as usize;
        let interval_cs = random.pick(&INTERVALS_CS);
        let interval_us = u64::from(interval_cs) * 10_000;
        let has_equals = random.percent(30);
        let priorities = (0..nodes_count)
            .map(|node| if has_equals { 196 } else { 200 - 4 * node as u8 })
            .collect();
        let families = match random.within(0, 4) {
            0 => vec![Family::V4],
            1 => vec![Family::V6],
            _ => vec![Family::V4, Family::V6],
        };
        let delay_ms = random.pick(&[0, 50, 500, 1_500]);
        let preempt = if random.percent(60) { Preempt::Never } else { Preempt::After { delay_ms } };
        let mut plan = Self {
            seed,
            priorities,
            families,
            interval_cs,
            preempt,
            signed: random.percent(50),
            max_delay_us: random.within(100, interval_us / 5),
            loss_percent: random.pick(&[0, 2, 10, 40]),
            duplicate_percent: random.pick(&[0, 5, 30]),
            has_heartbeat: random.percent(70),
            faults: Vec::new(),
            plant: None,
        };
        plan.disturb(&mut random, interval_us);
        plan
    }

    fn disturb(&mut self, random: &mut Random, interval_us: u64) {
        let nodes_count = self.priorities.len() as u64;
        for _ in 0..random.within(0, 10) {
            let at = random.within(500_000, CALM_AT_US - 2_500_000);
            let until = at + random.within(interval_us / 2, 10 * interval_us).min(2_000_000);
            let node = random.within(0, nodes_count) as usize;
            let other = (node + random.within(1, nodes_count) as usize) % nodes_count as usize;
            let begin_and_end = match random.within(0, 16) {
                0 => [(at, Fault::Kill(node)), (until, Fault::Start(node))],
                1 => [(at, Fault::PowerOff(node)), (until, Fault::Start(node))],
                2 => [(at, Fault::Shutdown(node)), (until, Fault::Start(node))],
                3 | 4 => [(at, Fault::Pause(node)), (until, Fault::Resume(node))],
                5 => {
                    let by = random.within(0, 9 * interval_us) as i64 - 3 * interval_us as i64;
                    [(at, Fault::ClockJump(node, by)), (until, Fault::ClockJump(node, by / 2))]
                }
                6 => [(at, Fault::LinkDown(node)), (until, Fault::LinkUp(node))],
                7 => {
                    let family = random.pick(&[None, Some(Family::V4), Some(Family::V6)]);
                    [(at, Fault::Cut(node, other, family)), (until, Fault::Heal)]
                }
                8 => {
                    let both =
                        [(at, Fault::Cut(node, other, None)), (at, Fault::Cut(other, node, None))];
                    self.faults.push((until, Fault::Heal));
                    both
                }
                9 => [(at, Fault::Isolate(node)), (until, Fault::Heal)],
                10 => [(at, Fault::CutHeartbeat(node, other)), (until, Fault::Heal)],
                11 => {
                    let healthy = self.priorities[node];
                    [
                        (at, Fault::Standing(node, healthy - 100)),
                        (until, Fault::Standing(node, healthy)),
                    ]
                }
                12 => [(at, Fault::TakeOver(node)), (until, Fault::TakeOver(other))],
                13 => [(at, Fault::TakeOver(node)), (until, Fault::Move(node, other))],
                14 => {
                    let interval_cs = random.pick(&INTERVALS_CS);
                    [
                        (at, Fault::Interval(node, interval_cs)),
                        (until, Fault::Interval(other, interval_cs)),
                    ]
                }
                _ => [(at, Fault::StepDown(node)), (until, Fault::Standing(other, 60))],
            };
            self.faults.extend(begin_and_end);
        }
        self.faults.sort_by_key(|(at, _)| *at);
    }
}
