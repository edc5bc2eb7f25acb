use std::net::IpAddr;

use ballast_model::Placement;
use ballast_model::ha::Fitness;
use ballast_vrrp::wire::{ChecksumForm, Received, Signature};
use ballast_vrrp::{
    AnnounceConfig, Effect, Family, GroupConfig, GroupMachine, Input, InstanceConfig, Preempt,
    Standing, State,
};

use super::*;

#[test]
fn four_groups_a_minute_may_move_by_preference_and_the_fifth_waits() {
    let mut brake = Brake::default();
    let start = Time(1_000_000);
    for _ in 0..TAKEOVER_MAX_COUNT {
        assert!(brake.may_volunteer(start));
        brake.note(start, Reason::PeerDegraded);
    }
    assert!(!brake.may_volunteer(start + Duration::from_millis(59_999)));
    assert!(brake.may_volunteer(start + WINDOW));
}

#[test]
fn after_a_failback_the_next_one_waits_and_that_is_not_the_brake() {
    let (mut brake, start) = (Brake::default(), Time(1_000_000));
    brake.note(start, Reason::Failback);
    assert!(!brake.may_volunteer(start + Duration::from_millis(1_999)));
    assert!(brake.is_open(start));
    assert!(brake.may_volunteer(start + SETTLE_TIME));
}

const GROUP_COUNT: u8 = 3;
const DELAY_MS: u32 = 5_000;
const STEP: Duration = Duration::from_millis(10);
/// As often as a node judges itself.
const JUDGE_STEPS_COUNT: u64 = 10;

/// A node with its machines, as far as placement goes.
struct Node {
    rank: usize,
    machines: Vec<GroupMachine>,
    brake: Brake,
    standings: Vec<Standing>,
    failback_count: usize,
}

impl Node {
    fn new(rank: u8) -> Self {
        let config = |number: u8| GroupConfig {
            name: format!("group-{number}"),
            vrid: number + 1,
            interval_cs: 20,
            instances: vec![InstanceConfig {
                family: Family::V4,
                source: IpAddr::from([192, 0, 2, rank + 1]),
                addresses: vec![IpAddr::from([192, 0, 2, 100 + number])],
            }],
            preempt: Preempt::After { delay_ms: DELAY_MS },
            signed: false,
            foreign_routers: Vec::new(),
            announce: AnnounceConfig::default(),
        };
        let machine = |number| GroupMachine::new(config(number), Time(0)).unwrap();
        let unfit = Standing { unable: None, priority: 0, may_volunteer: false };
        Self {
            rank: rank.into(),
            machines: (0..GROUP_COUNT).map(machine).collect(),
            brake: Brake::default(),
            standings: vec![unfit; GROUP_COUNT.into()],
            failback_count: 0,
        }
    }

    fn owned_count(&self) -> u32 {
        let owned = self.machines.iter().filter(|machine| machine.state() == State::Active);
        u32::try_from(owned.count()).unwrap()
    }

    /// Each group is 1 % of the node's capacity.
    fn judge(&mut self) {
        let owned_count = self.owned_count();
        for (machine, standing) in self.machines.iter().zip(&mut self.standings) {
            let is_own = u32::from(machine.state() == State::Active);
            let fitness = Fitness {
                placement: Placement::Load,
                rank: self.rank,
                load_percent: owned_count - is_own + 1,
                failed_weights: &[],
                in_maintenance: false,
            };
            standing.priority = fitness.priority();
        }
    }

    /// What it advertises then, by group.
    fn give(&mut self, number: usize, now: Time, input: Input) -> Vec<(usize, Received)> {
        let mut effects = Vec::new();
        let standing = &mut self.standings[number];
        let machine = &mut self.machines[number];
        standing.may_volunteer = self.brake.may_volunteer(now);
        machine.handle(now, Input::Standing(*standing), &mut effects);
        machine.handle(now, input, &mut effects);
        let mut sent = Vec::new();
        for effect in effects {
            match effect {
                Effect::Notify(told) if told.to == State::Active => {
                    self.failback_count += usize::from(told.reason == Reason::Failback);
                    if told.reason.is_voluntary() {
                        self.brake.note(now, told.reason);
                    }
                }
                Effect::SendAdvertisement(advertisement) => {
                    let (signature, checksum) = (Signature::Absent, ChecksumForm::Rfc9568);
                    sent.push((number, Received { advertisement, signature, checksum }));
                }
                _ => {}
            }
        }
        sent
    }

    fn tick(&mut self, now: Time) -> Vec<(usize, Received)> {
        let is_due = |machine: &GroupMachine| machine.next_deadline().is_some_and(|at| at <= now);
        let numbers = 0..self.machines.len();
        let mut sent = Vec::new();
        for number in numbers {
            if is_due(&self.machines[number]) {
                sent.extend(self.give(number, now, Input::Tick));
            }
        }
        sent
    }

    fn hear(&mut self, now: Time, sent: Vec<(usize, Received)>) -> Vec<(usize, Received)> {
        let answers = sent
            .into_iter()
            .flat_map(|(number, received)| self.give(number, now, Input::Advertisement(received)));
        answers.collect()
    }
}

/// Nodes a and b for ten minutes; b comes when a owns everything.
#[test]
fn by_load_an_empty_node_takes_what_evens_it_out_and_nothing_swings() {
    let (mut a, mut b) = (Node::new(0), Node::new(1));
    let mut now = Time(1_000_000);
    let begin = |node: &mut Node, now: Time| {
        node.judge();
        for number in 0..usize::from(GROUP_COUNT) {
            assert!(node.give(number, now, Input::LinkUp).is_empty());
        }
    };
    begin(&mut a, now);
    for step in 0..60_000_u64 {
        now = now + STEP;
        if step == 200 {
            assert_eq!(a.owned_count(), u32::from(GROUP_COUNT));
            begin(&mut b, now);
        }
        if step % JUDGE_STEPS_COUNT == 0 {
            a.judge();
            b.judge();
        }
        let from_a = a.tick(now);
        let from_b = b.tick(now);
        let from_b = [from_b, b.hear(now, from_a)].concat();
        let from_a = a.hear(now, from_b);
        b.hear(now, from_a);
    }
    assert_eq!((a.owned_count(), b.owned_count()), (2, 1));
    assert_eq!((a.failback_count, b.failback_count), (0, 1));
}
