//! The rules of Backup (RFC 9568 §6.4.2). An advertisement of the Active puts the timer back,
//! unless this node is to take over from it.

use std::time::Duration;

use super::{
    GroupMachine, HEALTHY_PRIORITY_MIN, Heard, LATE_INTERVALS_COUNT, LEAVING_PRIORITY,
    active_down_interval, skew,
};
use crate::config::{Preempt, centiseconds};
use crate::effect::{Effect, Note, Reason};
use crate::time::Time;

impl GroupMachine {
    pub(super) fn hear_in_backup(&mut self, index: usize, heard: Heard, effects: &mut Vec<Effect>) {
        self.vetoed_by = None;
        let own_priority = self.priority();
        if heard.priority == 0 {
            self.better_since = None;
            self.hear_release(index, heard, own_priority);
            return;
        }
        let wanted = self.wants_to_take_over(heard, effects);
        // RFC 9568 §6.4.2: the Active's interval is adopted, whatever was configured here.
        let interval = centiseconds(heard.interval_cs);
        let active_down_interval = active_down_interval(own_priority, interval);
        let now = self.now;
        let instance = &mut self.instances[index];
        instance.heard = Some(heard);
        instance.interval_cs = heard.interval_cs;
        match wanted {
            // The wait has begun already, and more of the same does not lengthen it.
            Some(reason) if instance.cause == reason => {}
            Some(reason) => {
                instance.cause = reason;
                instance.active_down_at = now + skew(own_priority, interval);
            }
            None => {
                instance.cause = Reason::Silence;
                instance.active_down_at = now + active_down_interval;
            }
        }
    }

    /// Priority 0: the Active releases, and the wait is the skew alone. A node releases its group
    /// in both families, so one such advertisement stands for both where its node is known.
    fn hear_release(&mut self, index: usize, heard: Heard, own_priority: u8) {
        for (other, instance) in self.instances.iter_mut().enumerate() {
            let is_same_node = heard.node_id.is_some()
                && instance.heard.is_some_and(|before| before.node_id == heard.node_id);
            let deadline = heard.at + skew(own_priority, instance.interval());
            if other == index {
                instance.heard = Some(heard);
                instance.active_down_at = deadline;
                instance.cause = Reason::Released;
            } else if is_same_node && deadline < instance.active_down_at {
                instance.active_down_at = deadline;
                instance.cause = Reason::Released;
            }
        }
    }

    /// Why this node is to take over from an Active of this priority, if it is.
    fn wants_to_take_over(&mut self, heard: Heard, effects: &mut Vec<Effect>) -> Option<Reason> {
        let reason = self.preference_over(heard);
        match reason {
            Some(reason) if reason.is_voluntary() && !self.standing.may_volunteer => {
                if self.braked.replace(reason) != Some(reason) {
                    effects.push(Effect::Note(Note::Braked { reason }));
                }
                None
            }
            _ => {
                self.braked = None;
                reason
            }
        }
    }

    fn preference_over(&mut self, heard: Heard) -> Option<Reason> {
        if self.priority() > heard.priority {
            self.better_since = self.better_since.or(Some(self.now));
        } else {
            self.better_since = None;
        }
        if self.is_left_by(heard) {
            return Some(Reason::PeerLeaving);
        }
        if self.is_fitter_than(heard) {
            return Some(Reason::PeerDegraded);
        }
        let Preempt::After { delay_ms } = self.config.preempt else { return None };
        let delay = Duration::from_millis(u64::from(delay_ms));
        let is_due = self.better_since.is_some_and(|since| self.now - since >= delay);
        is_due.then_some(Reason::Failback)
    }

    /// Whether that Active gives the group away and this node would keep it.
    fn is_left_by(&self, heard: Heard) -> bool {
        heard.priority == LEAVING_PRIORITY
            && self.priority() > LEAVING_PRIORITY
            && !self.is_foreign(heard)
    }

    /// Whether that Active is degraded and this node is not.
    fn is_fitter_than(&self, heard: Heard) -> bool {
        self.is_healthy() && heard.priority < HEALTHY_PRIORITY_MIN && !self.is_foreign(heard)
    }

    /// Whether its priority means nothing but preference: 100 is what others run at while they are
    /// perfectly well.
    fn is_foreign(&self, heard: Heard) -> bool {
        self.config.foreign_routers.contains(&heard.source)
    }

    pub(super) fn tick_backup(&mut self, effects: &mut Vec<Effect>) {
        if let Some(in_use) = self.vrid_in_use {
            if self.now < in_use.until {
                return;
            }
            self.vrid_in_use = None;
            effects.push(Effect::Note(Note::VridFree));
        }
        if self.instances.iter().any(|instance| self.now < instance.active_down_at) {
            return;
        }
        // Who was not served did not hear, either: listen for one interval before deciding.
        if self.late > LATE_INTERVALS_COUNT * self.interval() {
            self.wait_one_interval();
            return;
        }
        let reason = self.takeover_reason();
        if reason.is_preference() && !self.still_prefers_itself(reason) {
            self.wait_for_silence();
            return;
        }
        let is_silence =
            matches!(reason, Reason::Silence | Reason::NobodyHeard | Reason::PeerProcessGone);
        if is_silence && let Some((node_id, until)) = self.vetoing_peer() {
            if self.vetoed_by.replace(node_id) != Some(node_id) {
                effects.push(Effect::Note(Note::TakeoverVetoed { node_id }));
            }
            self.wait_until(until + Duration::from_micros(1));
            return;
        }
        self.become_active(reason, effects);
    }

    /// What the expiry of all timers means: the most telling of their causes.
    fn takeover_reason(&self) -> Reason {
        let weight = |reason: &Reason| match reason {
            Reason::PeerLeaving => 6,
            Reason::PeerDegraded => 5,
            Reason::Failback => 4,
            Reason::Released => 3,
            Reason::PeerProcessGone => 2,
            Reason::Silence => 1,
            _ => 0,
        };
        let causes = self.instances.iter().map(|instance| instance.cause);
        causes.max_by_key(weight).unwrap_or(Reason::NobodyHeard)
    }

    /// Whether a preference that started the wait holds at its end.
    fn still_prefers_itself(&self, reason: Reason) -> bool {
        let own = self.priority();
        let mut heard = self.instances.iter().filter(|one| one.cause == reason);
        let is_preferred = heard.all(|one| {
            one.heard.is_some_and(|heard| match reason {
                Reason::PeerDegraded => self.is_fitter_than(heard),
                Reason::PeerLeaving => self.is_left_by(heard),
                _ => own > heard.priority,
            })
        });
        is_preferred && (self.standing.may_volunteer || !reason.is_voluntary())
    }

    /// Puts every timer to the full wait.
    pub(super) fn wait_for_silence(&mut self) {
        let own_priority = self.priority();
        for instance in &mut self.instances {
            instance.active_down_at =
                self.now + active_down_interval(own_priority, instance.interval());
            instance.cause = silence(instance.heard);
        }
    }

    /// Puts every timer to one interval and the skew: long enough to hear any Active there is.
    pub(super) fn wait_one_interval(&mut self) {
        let own_priority = self.priority();
        for instance in &mut self.instances {
            instance.active_down_at =
                self.now + (instance.interval() + skew(own_priority, instance.interval()));
            instance.cause = silence(instance.heard);
        }
    }

    fn wait_until(&mut self, at: Time) {
        for instance in &mut self.instances {
            instance.active_down_at = at;
        }
    }
}

fn silence(heard: Option<Heard>) -> Reason {
    if heard.is_some() { Reason::Silence } else { Reason::NobodyHeard }
}
