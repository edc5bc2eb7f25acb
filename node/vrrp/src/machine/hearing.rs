//! Whose advertisement it is: of the group, of a stranger, or of nobody's concern. Only what belongs
//! to the group reaches the rules of Backup and Active.

use std::net::IpAddr;
use std::time::Duration;

use super::{GroupMachine, Heard, State, VridInUse, active_down_interval};
use crate::config::centiseconds;
use crate::effect::{Effect, Note};
use crate::time::Time;
use crate::wire::{self, Advertisement, DropReason, Received, Signature, is_link_local};

/// A standing misconfiguration is told once in this time.
const NOTE_AGAIN_AFTER: Duration = Duration::from_secs(60);

impl GroupMachine {
    pub(super) fn hear(&mut self, received: Received, effects: &mut Vec<Effect>) {
        let index = match self.whose(&received.advertisement) {
            Ok(index) => index,
            Err(reason) => return effects.push(Effect::CountDrop(reason)),
        };
        let advertisement = received.advertisement;
        let node_id = match received.signature {
            Signature::Good { node_id } => Some(node_id),
            _ if !self.config.signed => None,
            Signature::Bad(reason) => return self.hear_stranger(&advertisement, reason, effects),
            Signature::Absent | Signature::Unchecked => {
                return self.hear_stranger(&advertisement, DropReason::Unsigned, effects);
            }
        };
        let own = &self.config.instances[index].addresses;
        if are_disjoint(own, &advertisement.addresses) && !self.is_joined {
            return self.hear_stranger(&advertisement, DropReason::VridClash, effects);
        }
        self.note_differences(index, &advertisement, effects);
        self.is_joined = true;
        if self.vrid_in_use.take().is_some() {
            effects.push(Effect::Note(Note::VridFree));
        }
        let heard = Heard {
            source: advertisement.source,
            node_id,
            priority: advertisement.priority,
            interval_cs: advertisement.interval_cs,
            at: self.now,
        };
        match self.state {
            State::Initialize => {}
            State::Backup => self.hear_in_backup(index, heard, effects),
            State::Active => self.hear_in_active(index, heard, effects),
        }
    }

    /// The instance that an advertisement is for. What the codec has checked is checked again:
    /// inputs come from recordings and tests, too.
    fn whose(&self, advertisement: &Advertisement) -> Result<usize, DropReason> {
        wire::check_content(advertisement)?;
        if advertisement.vrid != self.config.vrid {
            return Err(DropReason::UnknownVrid);
        }
        let index = self
            .instances
            .iter()
            .position(|instance| instance.family == advertisement.family)
            .ok_or(DropReason::UnknownFamily)?;
        if self.instances[index].source == Some(advertisement.source) {
            return Err(DropReason::Own);
        }
        // RFC 9568 §6.4.1: what still waited in a buffer when the group stopped is nothing.
        if self.state == State::Initialize {
            return Err(DropReason::NotTakingPart);
        }
        Ok(index)
    }

    /// RFC 9568 §7.1: differing addresses and intervals are worth a line in the log, and no reason
    /// to drop.
    fn note_differences(
        &mut self,
        index: usize,
        advertisement: &Advertisement,
        effects: &mut Vec<Effect>,
    ) {
        let (source, interval_cs) = (advertisement.source, advertisement.interval_cs);
        let own = &self.config.instances[index].addresses;
        if !are_alike(own, &advertisement.addresses)
            && is_time_to_note(&mut self.difference_noted_at, self.now)
        {
            effects.push(Effect::Note(Note::AddressListDiffers { source }));
        }
        if interval_cs != self.config.interval_cs
            && is_time_to_note(&mut self.interval_noted_at, self.now)
        {
            effects.push(Effect::Note(Note::IntervalDiffers { source, interval_cs }));
        }
    }

    /// Somebody who does not belong to the group uses its VRID. A node that has not joined stays
    /// away as long as that lasts; one that has goes on, and says so.
    fn hear_stranger(
        &mut self,
        advertisement: &Advertisement,
        reason: DropReason,
        effects: &mut Vec<Effect>,
    ) {
        let by = advertisement.source;
        if self.is_joined {
            effects.push(Effect::CountDrop(reason));
            if is_time_to_note(&mut self.clash_noted_at, self.now) {
                effects.push(Effect::Note(Note::VridClash { by }));
            }
            return;
        }
        effects.push(Effect::CountDrop(DropReason::VridClash));
        let is_release = advertisement.priority == 0;
        match self.vrid_in_use {
            Some(in_use) if is_release && in_use.by == by => {
                self.vrid_in_use = Some(VridInUse { by, until: self.now });
                return;
            }
            None if !is_release => effects.push(Effect::Note(Note::VridInUse { by })),
            _ => {}
        }
        if !is_release {
            let interval = centiseconds(advertisement.interval_cs);
            let until = self.now + active_down_interval(self.priority(), interval);
            self.vrid_in_use = Some(VridInUse { by, until });
        }
    }
}

/// Whether two lists have nothing in common. Link-local addresses are made from the VRID, so that
/// strangers share them: they count only where there is nothing else.
fn are_disjoint(own: &[IpAddr], other: &[IpAddr]) -> bool {
    let (own, other) = (telling(own), telling(other));
    !own.iter().any(|address| other.contains(address))
}

fn telling(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let global: Vec<IpAddr> =
        addresses.iter().copied().filter(|address| !is_link_local(*address)).collect();
    if global.is_empty() { addresses.to_vec() } else { global }
}

/// Whether two lists are the same, whatever their order.
fn are_alike(own: &[IpAddr], other: &[IpAddr]) -> bool {
    own.len() == other.len() && own.iter().all(|address| other.contains(address))
}

pub(super) fn is_time_to_note(noted_at: &mut Option<Time>, now: Time) -> bool {
    let is_time = noted_at.is_none_or(|at| now - at >= NOTE_AGAIN_AFTER);
    if is_time {
        *noted_at = Some(now);
    }
    is_time
}
