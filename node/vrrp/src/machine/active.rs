//! The rules of Active (RFC 9568 §6.4.3). Priority decides between two Actives, then the address
//! from which the first family advertises.

use std::net::IpAddr;
use std::time::Duration;

use super::{Conflict, GroupMachine, Heard, LATE_INTERVALS_COUNT, State};
use crate::config::centiseconds;
use crate::effect::{Effect, Note, Reason};
use crate::time::Time;
use crate::wire::{Advertisement, DropReason};

/// Two advertisements that nobody waited for are at least so far apart, whatever is heard.
const ADVERTISE_GAP: Duration = Duration::from_millis(10);
/// Announcements because of rivals are at least so far apart, whatever rivals do.
const CONFLICT_GAP: Duration = Duration::from_secs(1);

impl GroupMachine {
    pub(super) fn hear_in_active(&mut self, index: usize, heard: Heard, effects: &mut Vec<Effect>) {
        let before = self.instances[index].heard.replace(heard);
        // RFC 9568 §6.4.3: a release while we are Active is answered, so that nobody else moves.
        if heard.priority == 0 {
            self.advertise_soon(effects);
            return;
        }
        let own_priority = self.priority();
        if heard.priority > own_priority {
            self.yield_to_rival(heard, Reason::HigherPriority, effects);
        } else if heard.priority == own_priority && self.loses_tie(index, heard, before) {
            self.yield_to_rival(heard, Reason::TieLost, effects);
        } else {
            effects.push(Effect::CountDrop(DropReason::LowerPriority));
            self.outlive(heard, effects);
        }
    }

    /// Higher addresses win, compared as unsigned bytes in network order (RFC 9568 §6.4.3).
    ///
    /// The first family decides for the group, as addresses of two families can disagree. Only
    /// when it has long heard nobody does another family decide by itself: by then a rival that
    /// hears the first family has given in to it.
    fn loses_tie(&mut self, index: usize, heard: Heard, before: Option<Heard>) -> bool {
        let patience = super::active_down_interval(self.priority(), self.interval());
        let is_higher = self.instances[index].source.is_some_and(|own| heard.source > own);
        let deciding = self.instances.first().and_then(|first| first.heard);
        if index == 0 {
            return is_higher;
        }
        let is_deciding_silent = deciding.is_none_or(|last| self.now - last.at > patience);
        let is_going_on = before.is_some_and(|last| self.now - last.at <= patience);
        let now = self.now;
        let tie_since = &mut self.instances[index].tie_since;
        if !is_deciding_silent || !is_going_on {
            *tie_since = is_deciding_silent.then_some(now);
            return false;
        }
        let since = *tie_since.get_or_insert(now);
        is_higher && now - since > patience
    }

    /// Answers a router that should not be Active: at once, so that bridges learn the right port
    /// again (RFC 9568 §6.4.3), and with announcements, as its own have misled the segment.
    fn outlive(&mut self, rival: Heard, effects: &mut Vec<Effect>) {
        self.advertise_soon(effects);
        let rival_interval = centiseconds(rival.interval_cs);
        let quiet_at = self.now + self.config.interval().max(rival_interval) * 3 / 2;
        self.conflict = Some(Conflict { source: rival.source, quiet_at });
        let is_quiet = |at: Option<Time>| at.is_none_or(|at| self.now - at >= CONFLICT_GAP);
        if is_quiet(self.conflict_announced_at) && is_quiet(self.conflict_won_at) {
            self.conflict_announced_at = Some(self.now);
            self.announce(effects);
        }
    }

    pub(super) fn tick_active(&mut self, effects: &mut Vec<Effect>) {
        if self.now >= self.advertise_at {
            let due_at = self.advertise_at;
            self.advertise(effects);
            // A little lateness does not add up.
            let regular = due_at + self.config.interval();
            if regular > self.now {
                self.advertise_at = regular;
            }
        }
        self.win_conflict(effects);
        if let Some(repeat_count) = self.announcements.due(&self.config.announce, self.now) {
            effects.push(Effect::Announce { repeat_count });
        }
    }

    /// The rival is quiet: whatever it told the segment last is put right, all over again.
    fn win_conflict(&mut self, effects: &mut Vec<Effect>) {
        let Some(conflict) = self.conflict.filter(|conflict| self.now >= conflict.quiet_at) else {
            return;
        };
        let earliest = self.conflict_won_at.map(|at| at + CONFLICT_GAP);
        if let Some(earliest) = earliest.filter(|earliest| self.now < *earliest) {
            self.conflict = Some(Conflict { quiet_at: earliest, ..conflict });
            return;
        }
        self.conflict = None;
        self.conflict_won_at = Some(self.now);
        self.announcements.restart(&self.config.announce, self.now);
        self.announce(effects);
        effects.push(Effect::Note(Note::ConflictWon { source: conflict.source }));
    }

    /// Who slept so long is held for dead by the others: it must not act as Active for a moment
    /// more, and listens who took over.
    pub(super) fn step_down_if_late(&mut self, effects: &mut Vec<Effect>) {
        let late = self.now - self.advertise_at;
        if self.state != State::Active || late <= LATE_INTERVALS_COUNT * self.config.interval() {
            return;
        }
        self.late = late;
        self.become_backup(Reason::LateTick, None, effects);
        self.wait_one_interval();
    }

    /// One advertisement per family, made of what is configured and true now.
    pub(super) fn advertise(&mut self, effects: &mut Vec<Effect>) {
        self.send(self.priority(), effects);
        self.advertised_at = self.now;
        self.advertise_at = self.now + self.config.interval();
    }

    /// Advertises before its time, though not more often than [`ADVERTISE_GAP`].
    pub(super) fn advertise_soon(&mut self, effects: &mut Vec<Effect>) {
        let earliest = self.advertised_at + ADVERTISE_GAP;
        if self.now >= earliest {
            self.advertise(effects);
        } else {
            self.advertise_at = self.advertise_at.min(earliest);
        }
    }

    pub(super) fn announce(&mut self, effects: &mut Vec<Effect>) {
        effects.push(Effect::Announce { repeat_count: self.config.announce.repeat_count });
    }

    pub(super) fn send(&self, priority: u8, effects: &mut Vec<Effect>) {
        for (instance, config) in self.instances.iter().zip(&self.config.instances) {
            let Some(source) = instance.source else { continue };
            effects.push(Effect::SendAdvertisement(Advertisement {
                family: instance.family,
                source,
                vrid: self.config.vrid,
                priority,
                interval_cs: self.config.interval_cs,
                addresses: config.addresses.clone(),
            }));
        }
    }

    pub(super) fn all_addresses(&self) -> Vec<IpAddr> {
        self.config.instances.iter().flat_map(|instance| instance.addresses.clone()).collect()
    }
}
