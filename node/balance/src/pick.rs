//! Choosing the member for a request or connection.
//!
//! Invariant: a member that is down, not admitted by the operator, or excluded is never chosen; the
//! only exception is a pool that fails open while all its members are down. One of which nothing is
//! known yet is chosen only while none is up. Nothing here locks, and nothing allocates but the first
//! pick of a [`PickState`] after its pool was compiled.

use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ballast_model::Algorithm;
use ballast_model::status::Health;

use crate::eject::trial::Trial;
use crate::hash::{Draws, hash_address, mix, neg_log2};
use crate::key::KeyHash;
use crate::member::{InFlight, Member, MemberState};
use crate::persistence::MemberKey;
use crate::pool::Pool;

mod consistent;
mod ramp;
mod turns;

use ramp::Ramp;
use turns::Turns;

/// What one worker remembers of one pool between picks. It fits itself to whatever pool it is used
/// with; keep one per pool, or turns start anew each time.
#[derive(Debug, Default)]
pub struct PickState {
    turns: Turns,
}

/// What a pick depends on.
#[derive(Clone, Copy, Debug)]
pub struct PickInput<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// The key that [`Pool::hash_key`] asks for; none: the client's address is taken.
    pub key: Option<KeyHash>,
    /// A fresh random number.
    pub random: u64,
    /// The time, in ms since the Unix epoch.
    pub now_ms: u64,
    /// The member that the client belongs to, if it says so.
    pub persistent: Option<MemberKey>,
    /// Members not to be chosen, by index: those that were tried already.
    pub exclude: &'a [u32],
}

/// The chosen member.
#[derive(Clone, Copy, Debug)]
pub struct Picked<'a> {
    /// Its position in the pool; what goes into [`PickInput::exclude`] if it fails.
    pub index: u32,
    /// The member.
    pub member: &'a Arc<Member>,
    /// Whether it was chosen because the client belongs to it.
    pub persistent: bool,
    /// Whether it has to prove itself with this.
    is_trial: bool,
}

impl Picked<'_> {
    /// Counts the request or connection that `worker` sends to the member; none where others were
    /// faster, so that it has no room any more, or proves itself already.
    pub fn begin(&self, worker: usize) -> Option<InFlight> {
        let state = &self.member.state;
        if !self.is_trial {
            return state.begin(worker);
        }
        let trial = Trial::begin(state)?;
        Some(state.begin(worker)?.on_trial(trial))
    }
}

/// Why there is no member to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMember {
    /// The pool has none.
    NoMembers,
    /// None takes new requests: all are disabled, draining, forced offline or of weight 0.
    AllDisabled,
    /// Every member that could take the request is down.
    AllDown,
    /// Every member that could take the request was tried already.
    AllTried,
    /// Every member that could take the request is at its connection limit: it may wait, see
    /// [`PoolQueue`](crate::PoolQueue).
    AllBusy,
    /// The member that the client belongs to is at its connection limit.
    PersistentBusy,
    /// As many requests are in flight to the pool as its circuit breaker lets through.
    CircuitOpen,
    /// As many requests are in flight to the pool as it can do, by how long members take.
    ConcurrencyLimit,
}

impl NoMember {
    /// The same in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoMembers => "no members",
            Self::AllDisabled => "all disabled",
            Self::AllDown => "all down",
            Self::AllTried => "every available member was tried",
            Self::AllBusy => "all at their connection limit",
            Self::PersistentBusy => "the client's member is at its connection limit",
            Self::CircuitOpen => "the circuit breaker is open",
            Self::ConcurrencyLimit => "the adaptive limit is reached",
        }
    }
}

impl fmt::Display for NoMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for NoMember {}

/// Whom room at a member may be given.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Grants {
    /// Those that belong to it.
    pub(crate) to_own: bool,
    /// Those that take any member.
    pub(crate) to_any: bool,
}

impl Pool {
    /// Chooses a member.
    ///
    /// # Errors
    /// Why no member can be chosen.
    pub fn pick(
        &self,
        state: &mut PickState,
        input: &PickInput<'_>,
    ) -> Result<Picked<'_>, NoMember> {
        let mut candidates = Candidates {
            pool: self,
            exclude: input.exclude,
            now_ms: input.now_ms,
            standard: self.standard(input.now_ms),
            priority_min: 0,
            ramp: None,
            has_trials: self.spec().outlier_ejection.is_some(),
        };
        let persistent = input.persistent.and_then(|key| self.index_of(key));
        if let Some(index) = persistent.filter(|i| candidates.holds_persistent(*i, input.now_ms)) {
            if !self.members()[index as usize].state.has_room() {
                return Err(NoMember::PersistentBusy);
            }
            let is_trial = candidates.is_trial(index);
            return Ok(self.picked(index, true, is_trial));
        }
        candidates.priority_min = candidates.lowest_priority();
        candidates.ramp = Ramp::new(self.spec(), input);
        let mut chosen = candidates.choose(state, input);
        if chosen.is_none() && candidates.ramp.take().is_some() {
            // All that can serve have come up a moment ago.
            chosen = candidates.choose(state, input);
        }
        if chosen.is_none() && candidates.has_trials && !candidates.is_any_sound() {
            // Nobody else is there to serve: better than not at all. Members that are only at their limit
            // are worth waiting for: too much work may be why this one was ejected.
            candidates.has_trials = false;
            chosen = candidates.choose(state, input);
        }
        match chosen {
            Some(index) => Ok(self.picked(index, false, candidates.is_trial(index))),
            None if candidates.is_any_busy() => Err(NoMember::AllBusy),
            None => Err(self.why_none(input.exclude)),
        }
    }

    /// Whom a member that has room may serve at `now_ms`: as [`pick`](Self::pick) would choose.
    pub(crate) fn grants(&self, state: &MemberState, now_ms: u64) -> Grants {
        let index = self.index_of(state.key());
        // Its state may be of a member that is no more, or that has moved.
        let is_same = |index: &u32| std::ptr::eq(&*self.members()[*index as usize].state, state);
        let Some(index) = index.filter(is_same) else { return Grants::default() };
        let standard = self.standard(now_ms);
        let mut candidates = Candidates {
            pool: self,
            exclude: &[],
            now_ms,
            standard,
            priority_min: 0,
            ramp: None,
            has_trials: self.spec().outlier_ejection.is_some(),
        };
        if candidates.is_trial(index) {
            // It is given one request by choice, and none by line.
            return Grants::default();
        }
        let to_own = candidates.holds_persistent(index, now_ms);
        candidates.priority_min = candidates.lowest_priority();
        Grants { to_own, to_any: candidates.would_hold(index) }
    }

    fn picked(&self, index: u32, persistent: bool, is_trial: bool) -> Picked<'_> {
        Picked { index, member: &self.members()[index as usize], persistent, is_trial }
    }

    /// How healthy a member must be now. Without a panic threshold it ends at the first member that
    /// can serve.
    fn standard(&self, now_ms: u64) -> Standard {
        let threshold = self.spec().panic_threshold_percent;
        let mut is_any_checking = false;
        let (mut known_count, mut up_count) = (0_usize, 0_usize);
        for member in self.members() {
            if member.weight > 0 && member.state.takes_new() {
                match member.state.health() {
                    Health::Unmonitored | Health::Up if member.state.is_ejected(now_ms) => {}
                    Health::Unmonitored | Health::Up => {
                        if threshold.is_none() {
                            return Standard::Up;
                        }
                        up_count += 1;
                    }
                    Health::Checking => {
                        is_any_checking = true;
                        continue;
                    }
                    Health::Down => {}
                }
                known_count += 1;
            }
        }
        if let Some(percent) = threshold
            && known_count > 0
            && !is_any_checking
            && up_count * 100 < known_count * usize::from(percent)
        {
            return Standard::Any;
        }
        if up_count > 0 {
            return Standard::Up;
        }
        if is_any_checking {
            Standard::NotDown
        } else if self.spec().fail_open {
            Standard::Any
        } else {
            Standard::Up
        }
    }

    /// Why nothing can be chosen, given that nothing can. Off the fast path.
    fn why_none(&self, exclude: &[u32]) -> NoMember {
        if self.members().is_empty() {
            return NoMember::NoMembers;
        }
        let mut reason = NoMember::AllDisabled;
        for (member, index) in self.members().iter().zip(0..) {
            if !member.state.takes_new() || member.weight == 0 {
                continue;
            }
            if exclude.contains(&index) {
                return NoMember::AllTried;
            }
            reason = NoMember::AllDown;
        }
        reason
    }
}

/// How healthy a member must be to be chosen.
#[derive(Clone, Copy)]
enum Standard {
    /// Known to be up, or not watched at all.
    Up,
    /// None is up: one that has not been probed yet may be.
    NotDown,
    /// All are down, and the pool fails open; or too few are up.
    Any,
}

impl Standard {
    fn is_met(self, state: &MemberState, now_ms: u64) -> bool {
        match self {
            Self::Up => state.is_available(now_ms),
            Self::NotDown => state.health() != Health::Down,
            Self::Any => true,
        }
    }
}

/// The members among which an algorithm chooses.
#[derive(Clone, Copy)]
struct Candidates<'a> {
    pool: &'a Pool,
    exclude: &'a [u32],
    now_ms: u64,
    standard: Standard,
    /// The lowest priority that serves.
    priority_min: u32,
    ramp: Option<Ramp>,
    /// Whether members that come back from an ejection get one request at a time.
    has_trials: bool,
}

impl<'a> Candidates<'a> {
    /// Whether it has to prove itself first.
    fn is_trial(self, index: u32) -> bool {
        let is_required = || self.pool.members()[index as usize].state.trial().is_required();
        // Where members are chosen that are down, what they did before does not matter.
        self.has_trials && !matches!(self.standard, Standard::Any) && is_required()
    }

    /// Whether it is at that, and gets nothing else meanwhile.
    fn is_being_tried(self, index: u32) -> bool {
        self.is_trial(index) && self.pool.members()[index as usize].state.trial().is_under_way()
    }

    fn choose(self, state: &mut PickState, input: &PickInput<'_>) -> Option<u32> {
        match self.pool.spec().algorithm {
            Algorithm::ConsistentHash => self.consistent_hash(input),
            Algorithm::LeastConnections => self.least(input.random, |index| self.load(index)),
            Algorithm::LeastTime => {
                self.least(input.random, |index| self.timed_load(index, input.now_ms))
            }
            Algorithm::P2c => self.better_of_two(input.random, |index| self.load(index)),
            Algorithm::PeakEwma => {
                self.better_of_two(input.random, |index| self.timed_load(index, input.now_ms))
            }
            Algorithm::Random => self.draw(&mut Draws::new(input.random), None),
            Algorithm::RoundRobin => {
                state.turns.fit(self.pool, input.random);
                state.turns.next(|index| self.holds(index))
            }
            Algorithm::SourceHash => self.rendezvous(hash_address(input.client), |_| true),
        }
    }

    fn holds(self, index: u32) -> bool {
        let member = &self.pool.members()[index as usize];
        self.would_hold(index)
            && member.state.has_room()
            && !self.is_being_tried(index)
            && self.ramp.is_none_or(|ramp| ramp.admits(member))
    }

    /// The lowest priority that serves: groups join, the highest first, until enough members can.
    fn lowest_priority(self) -> u32 {
        let Some(wanted_count) = self.pool.spec().priority_min_members else { return 0 };
        let mut count = 0;
        let mut lowest = 0;
        for index in self.pool.by_priority() {
            let priority = self.pool.members()[*index as usize].priority;
            if count >= wanted_count && priority < lowest {
                break;
            }
            if self.would_hold(*index) {
                count += 1;
                lowest = priority;
            }
        }
        lowest
    }

    /// Whether it could be chosen, if it had room.
    fn would_hold(self, index: u32) -> bool {
        let member = &self.pool.members()[index as usize];
        let state = &member.state;
        member.weight > 0
            && member.priority >= self.priority_min
            && state.takes_new()
            && self.standard.is_met(state, self.now_ms)
            && !self.exclude.contains(&index)
    }

    /// Whether one could be chosen but for its limit. Off the fast path.
    fn is_any_busy(self) -> bool {
        (0..self.pool.members().len() as u32).any(|index| self.would_hold(index))
    }

    /// Whether one could be chosen but for its limit that need not prove itself. Off the fast path.
    fn is_any_sound(self) -> bool {
        let mut all = 0..self.pool.members().len() as u32;
        all.any(|index| self.would_hold(index) && !self.is_trial(index))
    }

    fn holds_persistent(self, index: u32, now_ms: u64) -> bool {
        let state = &self.pool.members()[index as usize].state;
        state.takes_persistent(now_ms)
            && self.standard.is_met(state, self.now_ms)
            && !self.is_being_tried(index)
            && !self.exclude.contains(&index)
    }

    /// The indices of all candidates.
    fn indices(self) -> impl Iterator<Item = u32> + use<'a> {
        (0..self.pool.members().len() as u32).filter(move |index| self.holds(*index))
    }

    /// The one with the least load; among equals one drawn by weight.
    fn least(self, random: u64, load: impl Fn(u32) -> Load) -> Option<u32> {
        let mut draws = Draws::new(random);
        let mut best: Option<(Load, u32)> = None;
        let mut weight_of_equals = 0;
        for index in self.indices() {
            let load = load(index);
            let order = best.map(|(least, _)| load.compare(least));
            match order {
                Some(Ordering::Greater) => {}
                Some(Ordering::Equal) => {
                    // Reservoir sampling: each of the equals ends up chosen in proportion.
                    weight_of_equals += load.weight;
                    if draws.below(weight_of_equals) < load.weight {
                        best = Some((load, index));
                    }
                }
                Some(Ordering::Less) | None => {
                    weight_of_equals = load.weight;
                    best = Some((load, index));
                }
            }
        }
        best.map(|(_, index)| index)
    }

    /// Draws two by weight and takes the less loaded. Idle members thus get requests by weight, and
    /// under load the requests in flight even out relative to it.
    fn better_of_two(self, random: u64, load: impl Fn(u32) -> Load) -> Option<u32> {
        let mut draws = Draws::new(random);
        let first = self.draw(&mut draws, None)?;
        let Some(second) = self.draw(&mut draws, Some(first)) else { return Some(first) };
        let second_is_less_loaded = load(second).compare(load(first)).is_lt();
        Some(if second_is_less_loaded { second } else { first })
    }

    /// Draws a candidate other than `not`, in proportion to weight.
    fn draw(self, draws: &mut Draws, not: Option<u32>) -> Option<u32> {
        let total = self.pool.total_weight();
        if total == 0 {
            return None;
        }
        let is_wanted = |index: u32| Some(index) != not && self.holds(index);
        // Where most members are candidates, a few attempts find one without looking at all.
        for _ in 0..DRAW_ATTEMPT_MAX_COUNT {
            let index = self.pool.index_at_weight(draws.below(total));
            if is_wanted(index) {
                return Some(index);
            }
        }
        let weight = |index: u32| u64::from(self.pool.members()[index as usize].weight);
        let all = || self.indices().filter(|index| Some(*index) != not);
        let wanted_total: u64 = all().map(weight).sum();
        if wanted_total == 0 {
            return None;
        }
        let mut point = draws.below(wanted_total);
        // A member may have become a candidate, or ceased to be one, between the two looks at it.
        let mut last = None;
        for index in all() {
            last = Some(index);
            match point.checked_sub(weight(index)) {
                Some(rest) => point = rest,
                None => break,
            }
        }
        last
    }

    /// Weighted rendezvous hashing (Schindelhauer and Schomaker, 2005): the member with the highest
    /// weight / -log(hash) wins, of those that are `wanted`.
    fn rendezvous(self, hash: u64, wanted: impl Fn(u32) -> bool) -> Option<u32> {
        let mut best: Option<(Load, u32)> = None;
        for index in self.indices().filter(|index| wanted(*index)) {
            let member = &self.pool.members()[index as usize];
            let hash = mix(hash ^ member.hash_seed);
            let score = Load { amount: neg_log2(hash), weight: u64::from(member.weight) };
            if best.is_none_or(|(least, _)| score.compare(least).is_lt()) {
                best = Some((score, index));
            }
        }
        best.map(|(_, index)| index)
    }

    fn load(self, index: u32) -> Load {
        let member = &self.pool.members()[index as usize];
        Load { amount: member.state.in_flight(), weight: u64::from(member.weight) }
    }

    /// Time times load: what a request would wait, if all that are in flight come first.
    ///
    /// One of which nothing is known gets a request, and no second before that has told something.
    fn timed_load(self, index: u32, now_ms: u64) -> Load {
        let Load { amount: in_flight, weight } = self.load(index);
        let state = &self.pool.members()[index as usize].state;
        let time = match state.latency_us(self.pool.spec().algorithm, now_ms) {
            Some(time_us) => comparable(time_us),
            None if in_flight == 0 => 0,
            None => TIME_MAX_US,
        };
        Load { amount: time * (weight + in_flight.min(IN_FLIGHT_MAX_COUNT)), weight }
    }
}

/// Longest time that is told from longer ones, in µs: 2^32, which is 71 minutes.
const TIME_MAX_US: u64 = 1 << 32;
/// Beyond this, requests in flight make no difference; keeps products within 64 bits.
const IN_FLIGHT_MAX_COUNT: u64 = 1 << 20;

/// A time without what lies below its three leading bits: times that differ by less than an eighth
/// are taken as equal, or noise would decide between members that are as fast as each other.
fn comparable(time_us: u64) -> u64 {
    let time_us = time_us.clamp(1, TIME_MAX_US);
    let noise_bits = (64 - time_us.leading_zeros()).saturating_sub(3);
    time_us >> noise_bits << noise_bits
}

/// Attempts at drawing a candidate before all members are looked at.
const DRAW_ATTEMPT_MAX_COUNT: usize = 8;

/// An amount relative to a weight.
#[derive(Clone, Copy)]
struct Load {
    amount: u64,
    weight: u64,
}

impl Load {
    /// Compares `amount / weight` without dividing. Amounts stay below 2^54 and weights below 2^9.
    fn compare(self, other: Self) -> Ordering {
        (self.amount * other.weight).cmp(&(other.amount * self.weight))
    }
}

#[cfg(test)]
pub(crate) mod tests;
