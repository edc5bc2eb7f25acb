//! One name: which addresses it stands for, which are leaving, and when it is asked for again. Pure.
//!
//! ```text
//!   in an answer ──► present ── no longer in an answer ──► leaving ── drain_s ──► gone
//!                       ▲                                     │
//!                       └──────────── in an answer again ─────┘
//! ```
//!
//! Invariant: only a good answer moves an address, and only one of a family that it speaks of; present and leaving hold at most
//! `address_max_count` each, and no address is in both.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ballast_balance::ResolvedMember;
use ballast_model::DnsMember;
use ballast_model::status::DnsStatus;

/// First wait after a failure; doubled with each up to [`RETRY_MAX_MS`].
pub const RETRY_MIN_MS: u64 = 1_000;
/// Longest wait after a failure.
pub const RETRY_MAX_MS: u64 = 30_000;

/// A good answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Addresses, with what the records say of them.
    pub found: BTreeMap<SocketAddr, Shape>,
    /// The least time to live of its records, in s.
    pub ttl_s: u32,
    /// What no answer could be had to.
    pub unanswered: Unanswered,
}

/// Why one of the two questions for addresses was not answered, while the other was. Name servers
/// that know nothing of IPv6 and refuse to speak of it are common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unanswered {
    /// Of that for IPv4 addresses (A).
    pub ipv4: Option<String>,
    /// Of that for IPv6 addresses (AAAA).
    pub ipv6: Option<String>,
}

impl Unanswered {
    /// Why it is not known whether that address is still one.
    fn of(&self, address: &SocketAddr) -> Option<&String> {
        if address.is_ipv4() { self.ipv4.as_ref() } else { self.ipv6.as_ref() }
    }

    fn is_any(&self) -> bool {
        self.ipv4.is_some() || self.ipv6.is_some()
    }
}

/// What a record says of an address beside where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// See `weight` of members.
    pub weight: u16,
    /// See `priority` of members.
    pub priority: u32,
}

/// One name of one pool.
#[derive(Debug)]
pub struct Source {
    spec: DnsMember,
    present: BTreeMap<SocketAddr, Shape>,
    /// With the time at which each is gone.
    leaving: BTreeMap<SocketAddr, (Shape, u64)>,
    left_out_count: u32,
    ttl_s: u32,
    resolved_at_ms: Option<u64>,
    ask_at_ms: u64,
    error: Option<String>,
    failed_in_row: u32,
    answers_total: u64,
    failures_total: u64,
}

impl Source {
    /// A name of which nothing is known yet: to be asked for at once.
    pub fn new(spec: DnsMember, now_ms: u64) -> Self {
        Self {
            spec,
            present: BTreeMap::new(),
            leaving: BTreeMap::new(),
            left_out_count: 0,
            ttl_s: 0,
            resolved_at_ms: None,
            ask_at_ms: now_ms,
            error: None,
            failed_in_row: 0,
            answers_total: 0,
            failures_total: 0,
        }
    }

    /// What was declared.
    pub fn spec(&self) -> &DnsMember {
        &self.spec
    }

    /// Goes by another declaration of the same name; asks at once where it is asked otherwise.
    pub fn set_spec(&mut self, spec: DnsMember, now_ms: u64) {
        if self.spec != spec {
            self.spec = spec;
            self.ask_at_ms = now_ms;
        }
    }

    /// Whether it has been asked for with some result, good or not.
    pub fn was_asked(&self) -> bool {
        self.resolved_at_ms.is_some() || self.error.is_some()
    }

    /// When it is to be asked for next.
    pub fn ask_at_ms(&self) -> u64 {
        self.ask_at_ms
    }

    /// When the next address that leaves is gone.
    pub fn gone_at_ms(&self) -> Option<u64> {
        self.leaving.values().map(|(_, gone_at_ms)| *gone_at_ms).min()
    }

    /// Takes in what came of asking; whether members change.
    pub fn answered(&mut self, answer: Result<Answer, String>, now_ms: u64) -> bool {
        match answer {
            Ok(answer) if !answer.found.is_empty() => self.take(answer, now_ms),
            Ok(_) => {
                self.fail("it has no address".to_owned(), now_ms);
                false
            }
            Err(error) => {
                self.fail(error, now_ms);
                false
            }
        }
    }

    fn fail(&mut self, error: String, now_ms: u64) {
        self.failures_total += 1;
        let wait_ms = RETRY_MIN_MS << self.failed_in_row.min(16);
        self.failed_in_row = self.failed_in_row.saturating_add(1);
        self.ask_at_ms = now_ms.saturating_add(wait_ms.min(RETRY_MAX_MS));
        self.error = Some(error);
    }

    fn take(&mut self, answer: Answer, now_ms: u64) -> bool {
        let before = self.members();
        self.answers_total += 1;
        self.failed_in_row = 0;
        self.error = None;
        self.resolved_at_ms = Some(now_ms);
        self.ttl_s = answer.ttl_s.clamp(self.spec.ttl_min_s, self.spec.ttl_max_s);
        let mut wait_ms = u64::from(self.ttl_s) * 1_000;
        let Answer { mut found, unanswered, .. } = answer;
        if unanswered.is_any() {
            wait_ms = wait_ms.min(RETRY_MAX_MS);
            self.keep_unanswered(&mut found, &unanswered);
        }
        self.ask_at_ms = now_ms.saturating_add(wait_ms);
        let max_count = self.spec.address_max_count as usize;
        self.left_out_count =
            u32::try_from(found.len().saturating_sub(max_count)).unwrap_or(u32::MAX);
        let is_known = |address: &SocketAddr| self.present.contains_key(address);
        // Those that serve already first: which of too many are members shall not change each time.
        let (known, new): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|(address, _)| is_known(address));
        let present: BTreeMap<_, _> = known.into_iter().chain(new).take(max_count).collect();
        let gone_at_ms = now_ms.saturating_add(u64::from(self.spec.drain_s) * 1_000);
        for (address, shape) in std::mem::replace(&mut self.present, present) {
            if !self.present.contains_key(&address) {
                self.leaving.insert(address, (shape, gone_at_ms));
            }
        }
        self.leaving.retain(|address, _| !self.present.contains_key(address));
        self.forget_gone(now_ms);
        self.members() != before
    }

    /// Adds what the last answer had of a family that was not answered this time; notes why if that is
    /// anything.
    fn keep_unanswered(
        &mut self,
        found: &mut BTreeMap<SocketAddr, Shape>,
        unanswered: &Unanswered,
    ) {
        for (address, shape) in &self.present {
            if let Some(why) = unanswered.of(address) {
                found.entry(*address).or_insert(*shape);
                self.error = Some(why.clone());
            }
        }
    }

    /// Lets go of addresses that have left; whether members change.
    pub fn expire(&mut self, now_ms: u64) -> bool {
        let before = self.leaving.len();
        self.forget_gone(now_ms);
        self.leaving.len() != before
    }

    fn forget_gone(&mut self, now_ms: u64) {
        self.leaving.retain(|_, (_, gone_at_ms)| *gone_at_ms > now_ms);
        while self.leaving.len() > self.spec.address_max_count as usize {
            let first = self.leaving.iter().min_by_key(|(_, (_, gone_at_ms))| *gone_at_ms);
            let Some(address) = first.map(|(address, _)| *address) else { break };
            self.leaving.remove(&address);
        }
    }

    /// The members that it stands for.
    pub fn members(&self) -> Vec<ResolvedMember> {
        let present = self.present.iter().map(|(address, shape)| (address, shape, false));
        let leaving = self.leaving.iter().map(|(address, (shape, _))| (address, shape, true));
        let all = present.chain(leaving).map(|(address, shape, leaving)| ResolvedMember {
            address: *address,
            weight: shape.weight,
            priority: shape.priority,
            leaving,
        });
        all.collect()
    }

    /// What is told of it.
    pub fn status(&self, pool: &str) -> DnsStatus {
        DnsStatus {
            pool: pool.to_owned(),
            host: self.spec.host.clone(),
            port: self.spec.port,
            addresses: self.present.keys().map(SocketAddr::to_string).collect(),
            leaving: self.leaving.keys().map(SocketAddr::to_string).collect(),
            left_out_count: self.left_out_count,
            ttl_s: self.ttl_s,
            resolved_at_ms: self.resolved_at_ms,
            next_at_ms: self.ask_at_ms,
            error: self.error.clone(),
            answers_total: self.answers_total,
            failures_total: self.failures_total,
        }
    }
}

#[cfg(test)]
mod tests;
