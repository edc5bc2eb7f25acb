//! What a group's machine was told and did lately, so that a takeover in the field can be played again.
//!
//! ```text
//! before: machine, up to 256 inputs ─► now: machine, up to 256 inputs ─► taken at a transition
//! ```
//!
//! Invariant: memory is bounded, and what is taken begins with a machine and misses no input since.

use ballast_vrrp::record;
use ballast_vrrp::{Effect, GroupMachine, Input, Time};

/// Inputs after which the machine is kept anew: some ten seconds of a group with 100 ms adverts.
const SEGMENT_INPUT_COUNT: usize = 256;

/// The latest of a group.
pub(super) struct Recorder {
    before: Option<Segment>,
    now: Segment,
}

#[derive(Clone)]
struct Segment {
    machine: GroupMachine,
    entries: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    at: Time,
    input: Input,
    effects: Vec<Effect>,
}

/// What was taken from a recorder; written down elsewhere.
pub(crate) struct Recording {
    pub(crate) group: String,
    /// When it ends.
    pub(crate) at: Time,
    /// It ends with a note, not with a transition or a failure.
    pub(crate) is_of_note: bool,
    machine: GroupMachine,
    entries: Vec<Entry>,
}

impl Recorder {
    pub(super) fn new(machine: &GroupMachine) -> Self {
        Self { before: None, now: Segment::new(machine) }
    }

    /// Takes an input in before the machine does: if it panics, that is the last one of the recording.
    pub(super) fn begin(&mut self, at: Time, input: &Input) {
        self.now.entries.push(Entry { at, input: input.clone(), effects: Vec::new() });
    }

    /// Adds what came of it. `machine`: as it is then.
    pub(super) fn end(&mut self, effects: &[Effect], machine: &GroupMachine) {
        if let Some(entry) = self.now.entries.last_mut() {
            entry.effects = effects.to_vec();
        }
        if self.now.entries.len() >= SEGMENT_INPUT_COUNT {
            self.before = Some(std::mem::replace(&mut self.now, Segment::new(machine)));
        }
    }

    /// Hands out what there is, and begins anew. `machine`: as it is now.
    pub(super) fn take(&mut self, group: &str, at: Time, machine: &GroupMachine) -> Recording {
        let now = std::mem::replace(&mut self.now, Segment::new(machine));
        let Segment { machine, entries } = match self.before.take() {
            Some(mut before) => {
                before.entries.extend(now.entries);
                before
            }
            None => now,
        };
        Recording { group: group.to_owned(), at, is_of_note: false, machine, entries }
    }

    /// What there is, which the next transition's recording has, too.
    pub(super) fn copy(&self, group: &str, at: Time) -> Recording {
        let first = self.before.as_ref().unwrap_or(&self.now);
        let mut entries = first.entries.clone();
        if self.before.is_some() {
            entries.extend(self.now.entries.iter().cloned());
        }
        let machine = first.machine.clone();
        Recording { group: group.to_owned(), at, is_of_note: true, machine, entries }
    }
}

impl Segment {
    fn new(machine: &GroupMachine) -> Self {
        Self { machine: machine.clone(), entries: Vec::new() }
    }
}

impl Recording {
    /// As lines of JSON, which [`record::replay`] reads.
    pub(crate) fn lines(&self) -> Result<String, serde_json::Error> {
        let mut text = record::first_line(&self.machine)?;
        text.push('\n');
        for entry in &self.entries {
            text += &record::line(entry.at, &entry.input, &entry.effects)?;
            text.push('\n');
        }
        Ok(text)
    }
}

#[cfg(test)]
pub(crate) use tests::recording_of_nothing;

#[cfg(test)]
mod tests;
