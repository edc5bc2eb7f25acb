//! What can be seen of a machine: status, the facts of a transition, and the properties that always
//! hold.

use std::time::Duration;

use super::{BrokenInvariant, GroupMachine, GroupView, Instance, InstanceView, State};
use crate::config::Preempt;
use crate::effect::{HeardFacts, Reason, Transition, TransitionFacts};
use crate::time::Time;

impl GroupMachine {
    /// What status shows at `now`.
    pub fn view(&self, now: Time) -> GroupView {
        let now = self.now.max(now + Duration::from_micros(self.shift_us));
        let is_backup = self.state == State::Backup;
        GroupView {
            state: self.state,
            idle: self.idle,
            state_lasts_us: micros(now - self.since),
            reason: self.reason,
            priority: self.priority(),
            is_manual: self.manual_from.is_some(),
            is_listening: is_backup && !self.is_joined,
            vrid_in_use: self.vrid_in_use,
            vetoed_by: self.vetoed_by,
            failback_in_us: self.failback_in_us(now),
            instances: self.instances.iter().map(|one| view_of(one, is_backup, now)).collect(),
        }
    }

    /// Checks what must hold after every input; an error is a fault of this crate.
    pub fn check_invariants(&self) -> Result<(), BrokenInvariant> {
        let require = |holds: bool, what| if holds { Ok(()) } else { Err(BrokenInvariant(what)) };
        let is_active = self.state == State::Active;
        let families: Vec<_> = self.instances.iter().map(|one| one.family).collect();
        let configured: Vec<_> = self.config.instances.iter().map(|one| one.family).collect();
        require(families == configured, "the instances are those of the configuration")?;
        require(
            self.idle.is_some() == (self.state == State::Initialize),
            "Initialize, and nothing else, has a reason to be idle",
        )?;
        let expected = if is_active { self.all_addresses() } else { Vec::new() };
        require(self.held == expected, "an Active holds every address, and nobody else any")?;
        require(is_active || self.manual_from.is_none(), "a manual owner is Active")?;
        require(is_active || self.announcements.deadline().is_none(), "only an Active announces")?;
        require(is_active || self.conflict.is_none(), "only an Active has rivals")?;
        require(!is_active || self.is_joined, "an Active has joined")?;
        require(
            self.vrid_in_use.is_none() || (self.state == State::Backup && !self.is_joined),
            "only who has not joined is kept from joining",
        )?;
        require(
            self.state == State::Initialize
                || self.instances.iter().all(|one| one.source.is_some() && one.interval_cs != 0),
            "who takes part has sources and an interval",
        )?;
        require(self.priority() != 0 && self.priority() != 255, "priority is 1–254")?;
        require(
            (self.state == State::Initialize) == self.next_deadline().is_none(),
            "who takes part waits for something",
        )
    }

    /// A change to `to`, with the facts as they are before it.
    pub(super) fn transition(&self, to: State, reason: Reason) -> Transition {
        let heard = self.instances.iter().filter(|one| one.heard.is_some());
        let latest = heard.max_by_key(|one| one.heard.map(|heard| heard.at));
        let facts = TransitionFacts {
            own_priority: self.priority(),
            interval_us: micros(self.interval()),
            heard: latest.and_then(|instance| self.heard_facts(instance)),
            late_us: micros(self.late),
            lasted_us: micros(self.now - self.since),
            reported_by: None,
        };
        Transition { from: self.state, to, reason, facts }
    }

    fn heard_facts(&self, instance: &Instance) -> Option<HeardFacts> {
        instance.heard.map(|heard| HeardFacts {
            family: instance.family,
            source: heard.source,
            node_id: heard.node_id,
            priority: heard.priority,
            ago_us: micros(self.now - heard.at),
        })
    }

    fn failback_in_us(&self, now: Time) -> Option<u64> {
        let Preempt::After { delay_ms } = self.config.preempt else { return None };
        let due_at = self.better_since? + Duration::from_millis(u64::from(delay_ms));
        Some(micros(due_at - now))
    }
}

fn view_of(instance: &Instance, is_backup: bool, now: Time) -> InstanceView {
    InstanceView {
        family: instance.family,
        source: instance.source,
        heard: instance.heard,
        heard_ago_us: instance.heard.map(|heard| micros(now - heard.at)),
        active_down_in_us: is_backup.then(|| micros(instance.active_down_at - now)),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
