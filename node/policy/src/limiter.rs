//! Rate limits: the generic cell rate algorithm (ITU-T I.371, Annex A) over a table of bounded size,
//! and how several limiters count as one.
//!
//! A key's state is one instant, its *theoretical arrival time*: when all that it has been let
//! through would have come, had it come evenly. A request passes if that instant is not further
//! ahead than the burst allows, and moves it on by one interval.
//!
//! # Several limiters, one limit
//!
//! Nodes, or threads of a node, each have a limiter and decide without asking. Each now and then
//! [publishes](Limiter::publish) what it has let through, and the others [absorb](Limiter::absorb)
//! that: it moves the instant on as if they had let it through themselves. Let `N` be the number of
//! limiters, `R` the rate, `B` the burst, and `L` the longest time from a request until all others
//! have absorbed it (the time between two publications, and the way). Then in every span of time
//! `W`, all limiters together let through at most
//!
//! ```text
//! B + R·W  +  (N − 1)·(B + R·L)
//! ```
//!
//! that is the limit itself and an excess that does not grow with `W`. Why: at the last request let
//! through, by limiter `i`, `i` has counted all requests of the span but those that others let
//! through within the last `L`, and what it has counted is at most `B + R·W`; each of the others
//! let through at most `B + R·L` within `L`. The excess is made up for: after it, all limiters
//! refuse until the rate has caught up. It takes clients that ask all nodes at the same time to
//! reach it; a client that asks one node gets `B + R·W`. A limiter that hears nothing from others
//! limits alone.
//!
//! The table forgets the key that would first be without effect. Under more keys with effect than it
//! has places, limits are looser for those forgotten, which is counted; it never grows.

/// Places that a key can have in the table.
pub(crate) const WAY_COUNT: usize = 8;
/// How far what others publish moves an instant ahead at most, in bursts and seconds, so that a
/// fault elsewhere can't lock a key for long. The bound above stays below it for as many limiters,
/// as long as `L` is at most a second.
pub(crate) const DEBT_MAX_FACTOR: u64 = 64;
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// How much a limit lets through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Time between two requests at the full rate, in ns.
    pub(crate) emission_ns: u64,
    /// How far ahead the instant may be after a request, in ns: the burst at the full rate.
    pub(crate) tolerance_ns: u64,
}

impl Rate {
    /// `requests` in `interval_s` seconds, of which `burst` may come at once. Each is at least 1; the
    /// time between two requests is rounded down to ns, so that no less than this passes.
    pub fn new(requests: u32, interval_s: u32, burst: u32) -> Self {
        let interval_ns = u64::from(interval_s.max(1)) * SECOND_NS;
        let emission_ns = (interval_ns / u64::from(requests.max(1))).max(1);
        Self { emission_ns, tolerance_ns: emission_ns.saturating_mul(u64::from(burst.max(1))) }
    }
}

/// What others are told that a limiter has let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consumption {
    /// The key, see [`Decision::limit_key`](crate::Decision::limit_key).
    pub key: u128,
    /// How far the requests move the instant on, in ns.
    pub charge_ns: u64,
    /// The burst of the limit at its full rate, in ns.
    pub tolerance_ns: u64,
}

/// Whether a request passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It does.
    Passed,
    /// It does not.
    Refused {
        /// When one would, in ns from now.
        retry_after_ns: u64,
    },
}

/// What a limiter has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimiterCounts {
    /// Requests let through.
    pub passed_count: u64,
    /// Requests refused.
    pub refused_count: u64,
    /// Keys that were forgotten while they had an effect.
    pub forgotten_count: u64,
    /// Of those, the ones whose last consumption was not published yet.
    pub unpublished_count: u64,
}

/// A table of keys and their instants.
#[derive(Debug)]
pub struct Limiter {
    slots: Box<[Slot]>,
    /// Slots that have something to publish, each once.
    dirty: Vec<u32>,
    counts: LimiterCounts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    key: u128,
    /// 0 while the slot was never used.
    instant_ns: u64,
    rate: Rate,
    unpublished_count: u32,
    is_dirty: bool,
}

impl Limiter {
    /// A table for that many keys, rounded up to a power of two and at least 8; each takes 48 bytes.
    pub fn new(key_max_count: usize) -> Self {
        let count = key_max_count.clamp(WAY_COUNT, 1 << 28).next_power_of_two();
        Self {
            slots: vec![Slot::default(); count].into(),
            dirty: Vec::new(),
            counts: LimiterCounts::default(),
        }
    }

    /// Whether a request with that key passes now. `now_ns` is above 0 and of a clock that does not go
    /// back; any will do, since what limiters tell each other are spans, not instants.
    pub fn check(&mut self, key: u128, rate: Rate, now_ns: u64) -> Admission {
        let at = self.place(key, now_ns);
        let slot = &mut self.slots[at];
        let instant_ns = slot.instant_ns.max(now_ns).saturating_add(rate.emission_ns);
        let ahead_ns = instant_ns - now_ns;
        if ahead_ns > rate.tolerance_ns {
            self.counts.refused_count += 1;
            return Admission::Refused { retry_after_ns: ahead_ns - rate.tolerance_ns };
        }
        slot.key = key;
        slot.instant_ns = instant_ns;
        slot.rate = rate;
        slot.unpublished_count = slot.unpublished_count.saturating_add(1);
        if !slot.is_dirty {
            slot.is_dirty = true;
            self.dirty.push(at as u32);
        }
        self.counts.passed_count += 1;
        Admission::Passed
    }

    /// Appends what has been let through since it was last told, of at most `max_count` keys; the
    /// rest is told next time. True if there is a rest.
    pub fn publish(&mut self, max_count: usize, out: &mut Vec<Consumption>) -> bool {
        for _ in 0..max_count {
            let Some(at) = self.dirty.pop() else { return false };
            let slot = &mut self.slots[at as usize];
            let count = std::mem::take(&mut slot.unpublished_count);
            slot.is_dirty = false;
            if count > 0 {
                out.push(Consumption {
                    key: slot.key,
                    charge_ns: slot.rate.emission_ns.saturating_mul(u64::from(count)),
                    tolerance_ns: slot.rate.tolerance_ns,
                });
            }
        }
        !self.dirty.is_empty()
    }

    /// Counts what another limiter has let through.
    pub fn absorb(&mut self, consumption: &Consumption, now_ns: u64) {
        let at = self.place(consumption.key, now_ns);
        let slot = &mut self.slots[at];
        let debt_max_ns =
            consumption.tolerance_ns.saturating_add(SECOND_NS).saturating_mul(DEBT_MAX_FACTOR);
        let instant_ns = slot.instant_ns.max(now_ns).saturating_add(consumption.charge_ns);
        // What the slot already owes by its own doing stays owed.
        let ceiling_ns = now_ns.saturating_add(debt_max_ns).max(slot.instant_ns);
        slot.key = consumption.key;
        slot.instant_ns = instant_ns.min(ceiling_ns);
    }

    /// What it has done so far.
    pub fn counts(&self) -> LimiterCounts {
        self.counts
    }

    /// The slot of a key, or the one that it takes over: emptied, its key still to be set.
    fn place(&mut self, key: u128, now_ns: u64) -> usize {
        let set = (key as usize % (self.slots.len() / WAY_COUNT)) * WAY_COUNT;
        let ways = &mut self.slots[set..set + WAY_COUNT];
        if let Some(way) = ways.iter().position(|slot| slot.instant_ns > 0 && slot.key == key) {
            return set + way;
        }
        let oldest = ways.iter().enumerate().min_by_key(|(_, slot)| slot.instant_ns);
        // A set has ways.
        let way = oldest.map_or(0, |(way, _)| way);
        let slot = &mut ways[way];
        if slot.instant_ns > now_ns {
            self.counts.forgotten_count += 1;
        }
        if slot.unpublished_count > 0 {
            self.counts.unpublished_count += 1;
        }
        *slot = Slot { is_dirty: slot.is_dirty, ..Slot::default() };
        set + way
    }
}

#[cfg(test)]
mod tests;
