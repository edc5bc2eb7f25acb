//! The rules one by one, on a clock that only the test moves.

use std::net::IpAddr;
use std::time::Duration;

use super::{GroupMachine, LEAVING_PRIORITY, State};
use crate::NodeId;
use crate::config::{AnnounceConfig, GroupConfig, InstanceConfig, Preempt};
use crate::effect::{Effect, Note, Reason, Transition};
use crate::input::{Gateways, Input, PeerReport, Standing, Unable};
use crate::time::Time;
use crate::wire::{Advertisement, ChecksumForm, DropReason, Family, Received, Signature};

mod active;
mod announcing;
mod backup;
mod both_families;
mod change;
mod defects;
mod late;
mod preference;
mod reports;
mod strangers;

const VRID: u8 = 51;
const OWN: u8 = 200;
/// At 200 ms and priority 200: 56/256 of the interval.
const SKEW_US: u64 = 43_750;
const INTERVAL_US: u64 = 200_000;
const ACTIVE_DOWN_US: u64 = 3 * INTERVAL_US + SKEW_US;

/// A machine and its clock.
struct Rig {
    machine: GroupMachine,
    now: u64,
}

impl Rig {
    /// Up and able, as Backup, since 1 s on the clock.
    fn backup(config: GroupConfig) -> Self {
        let mut rig = Self::new(config);
        rig.give(Input::LinkUp);
        rig.give(standing(OWN));
        assert_eq!(rig.state(), State::Backup);
        rig
    }

    fn new(config: GroupConfig) -> Self {
        let now = 1_000_000;
        Self { machine: GroupMachine::new(config, Time(now)).unwrap(), now }
    }

    /// Active, since nobody was heard; the takeover's burst is out.
    fn active(config: GroupConfig) -> Self {
        let mut rig = Self::backup(config);
        rig.tick_when_due();
        assert_eq!(rig.state(), State::Active);
        rig
    }

    fn state(&self) -> State {
        self.machine.state()
    }

    fn give(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.machine.handle(Time(self.now), input, &mut effects);
        self.machine.check_invariants().unwrap();
        effects
    }

    fn pass(&mut self, us: u64) -> &mut Self {
        self.now += us;
        self
    }

    /// In µs from now; 0 when it is due.
    fn due_in(&self) -> u64 {
        let deadline = self.machine.next_deadline().expect("something is waited for");
        deadline.0.saturating_sub(self.now)
    }

    fn tick_when_due(&mut self) -> Vec<Effect> {
        let wait = self.due_in();
        self.pass(wait).give(Input::Tick)
    }

    /// Serves the timer until so much time has passed.
    fn run(&mut self, us: u64) -> Vec<Effect> {
        let until = self.now + us;
        let mut effects = Vec::new();
        while self.machine.next_deadline().is_some_and(|deadline| deadline.0 <= until) {
            effects.extend(self.tick_when_due());
        }
        self.now = until;
        effects
    }

    fn hear(&mut self, advertisement: Advertisement) -> Vec<Effect> {
        self.give(unsigned(advertisement))
    }

    fn hear_priority(&mut self, priority: u8) -> Vec<Effect> {
        self.hear(v4(priority))
    }
}

fn v4_only() -> GroupConfig {
    GroupConfig {
        name: "web".to_owned(),
        vrid: VRID,
        interval_cs: 20,
        instances: vec![InstanceConfig {
            family: Family::V4,
            source: own_v4(),
            addresses: vips_v4(),
        }],
        preempt: Preempt::Never,
        signed: false,
        foreign_routers: Vec::new(),
        announce: AnnounceConfig::default(),
    }
}

fn both_families() -> GroupConfig {
    let mut config = v4_only();
    config.instances.push(InstanceConfig {
        family: Family::V6,
        source: "fe80::5".parse().unwrap(),
        addresses: vips_v6(),
    });
    config
}

fn own_v4() -> IpAddr {
    [10, 0, 0, 5].into()
}

fn vips_v4() -> Vec<IpAddr> {
    vec![[10, 0, 0, 100].into()]
}

fn vips_v6() -> Vec<IpAddr> {
    vec![crate::announce::virtual_link_local(VRID).into(), "fd00::100".parse().unwrap()]
}

/// What a router with a higher address says.
fn v4(priority: u8) -> Advertisement {
    v4_from([10, 0, 0, 9], priority)
}

fn v4_from(source: [u8; 4], priority: u8) -> Advertisement {
    Advertisement {
        family: Family::V4,
        source: source.into(),
        vrid: VRID,
        priority,
        interval_cs: 20,
        addresses: vips_v4(),
    }
}

fn v6(priority: u8) -> Advertisement {
    Advertisement {
        family: Family::V6,
        source: "fe80::9".parse().unwrap(),
        vrid: VRID,
        priority,
        interval_cs: 20,
        addresses: vips_v6(),
    }
}

fn unsigned(advertisement: Advertisement) -> Input {
    let signature = Signature::Absent;
    let checksum = ChecksumForm::Rfc9568;
    Input::Advertisement(Received { advertisement, signature, checksum })
}

fn signed_by(node_id: NodeId, advertisement: Advertisement) -> Input {
    let signature = Signature::Good { node_id };
    let checksum = ChecksumForm::Rfc9568;
    Input::Advertisement(Received { advertisement, signature, checksum })
}

fn standing(priority: u8) -> Input {
    Input::Standing(Standing { unable: None, priority, may_volunteer: true })
}

fn unable(unable: Unable) -> Input {
    Input::Standing(Standing { unable: Some(unable), priority: OWN, may_volunteer: true })
}

/// A report of an Active that serves, due every 200 ms.
fn report(node_id: NodeId, priority: u8) -> PeerReport {
    PeerReport {
        node_id,
        state: State::Active,
        priority,
        link_up: true,
        gateways: Gateways::Reachable,
        interval_ms: 200,
    }
}

fn sent(effects: &[Effect]) -> Vec<&Advertisement> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::SendAdvertisement(advertisement) => Some(advertisement),
            _ => None,
        })
        .collect()
}

fn sent_priorities(effects: &[Effect]) -> Vec<u8> {
    sent(effects).iter().map(|advertisement| advertisement.priority).collect()
}

fn transitions(effects: &[Effect]) -> Vec<&Transition> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Notify(transition) => Some(transition),
            _ => None,
        })
        .collect()
}

fn reasons(effects: &[Effect]) -> Vec<Reason> {
    transitions(effects).iter().map(|transition| transition.reason).collect()
}

fn notes(effects: &[Effect]) -> Vec<&Note> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Note(note) => Some(note),
            _ => None,
        })
        .collect()
}

fn drops(effects: &[Effect]) -> Vec<DropReason> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::CountDrop(reason) => Some(*reason),
            _ => None,
        })
        .collect()
}

fn frames_count(effects: &[Effect]) -> u32 {
    effects
        .iter()
        .map(|effect| match effect {
            Effect::Announce { repeat_count } => u32::from(*repeat_count),
            _ => 0,
        })
        .sum()
}

#[test]
fn a_new_machine_takes_no_part() {
    let mut rig = Rig::new(v4_only());
    assert_eq!((rig.state(), rig.machine.next_deadline()), (State::Initialize, None));
    assert_eq!(rig.give(Input::Tick), []);
    assert_eq!(rig.give(Input::LinkUp), []);
    assert_eq!(reasons(&rig.give(standing(OWN))), [Reason::Able]);
}

#[test]
fn the_view_tells_what_is_waited_for() {
    let mut rig = Rig::backup(both_families());
    let view = rig.machine.view(Time(rig.now));
    assert!(view.is_listening);
    assert_eq!(view.instances[0].active_down_in_us, Some(ACTIVE_DOWN_US));
    rig.hear_priority(150);
    let view = rig.machine.view(Time(rig.now + 1_000));
    assert!(!view.is_listening);
    assert_eq!(view.instances[0].heard_ago_us, Some(1_000));
    assert_eq!(view.instances[0].heard.map(|heard| heard.priority), Some(150));
    assert_eq!(view.instances[1].heard, None);
}

#[test]
fn durations_do_not_lose_their_microseconds() {
    assert_eq!(super::skew(200, Duration::from_millis(200)), Duration::from_micros(SKEW_US));
    assert_eq!(super::skew(1, Duration::from_millis(10)).as_nanos(), 9_960_937);
}
