//! What a pool is asked at once through this node: the limits of its circuit breaker, and the one that is
//! found out.
//!
//! Invariant: what was let in is counted until its permit goes, for the adaptive limit until it waits no
//! more for what that limit is found by, the beginning of a response; pools without limits have no gate, and their
//! requests touch nothing here.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};

use ballast_model::{AdaptiveConcurrency, CircuitBreaker, PoolSpec};

use crate::adaptive::Gradient;
use crate::padded::Padded;
use crate::pick::NoMember;
use crate::pool::Pool;

/// What is in flight to a pool, and how much may be. Outlives recompilation.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    requests: Padded<AtomicU32>,
    /// Those of them that the adaptive limit counts.
    awaited: Padded<AtomicU32>,
    retries: Padded<AtomicU32>,
    /// What the adaptive limit is now; 0: there is none.
    adaptive_limit: AtomicU32,
    /// Tried only: where another worker is at it, what this one has to say is left out.
    adaptive: Mutex<Option<(AdaptiveConcurrency, Gradient)>>,
    refused_requests: AtomicU64,
    refused_retries: AtomicU64,
    refused_adaptive: AtomicU64,
}

/// What a gate has to say for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GateFacts {
    /// Requests in flight that were counted.
    pub request_count: u32,
    /// Requests that are being sent again.
    pub retry_count: u32,
    /// Requests refused by the limit on requests.
    pub refused_requests: u64,
    /// Requests not sent again by the limit on those.
    pub refused_retries: u64,
    /// Requests refused by the adaptive limit.
    pub refused_adaptive: u64,
    /// What that is, where there is one.
    pub adaptive_limit: Option<u32>,
}

/// Keeps a request counted. Dropping it ends that, on any thread.
#[derive(Debug)]
pub struct Permit {
    gate: Arc<Gate>,
    is_retry: bool,
    /// Whether the adaptive limit counts it.
    is_awaited: bool,
}

impl Permit {
    /// The response has begun, or will never be measured: the adaptive limit counts it no more.
    pub(crate) fn response_began(&mut self) {
        if self.is_awaited {
            self.is_awaited = false;
            self.gate.awaited.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.response_began();
        let count = if self.is_retry { &self.gate.retries } else { &self.gate.requests };
        count.fetch_sub(1, Relaxed);
    }
}

impl Gate {
    /// The gate of a pool with that specification, where it has limits; `kept` is the one that it had.
    pub(crate) fn of(spec: &PoolSpec, kept: Option<&Arc<Self>>) -> Option<Arc<Self>> {
        if spec.circuit_breaker.is_none() && spec.adaptive_concurrency.is_none() {
            return None;
        }
        let gate = kept.map_or_else(Arc::default, Arc::clone);
        let mut adaptive = gate.adaptive.lock().unwrap_or_else(PoisonError::into_inner);
        let held = adaptive.as_ref().map(|(settings, _)| *settings);
        if held != spec.adaptive_concurrency {
            *adaptive = spec.adaptive_concurrency.map(|settings| {
                // It measures first: when that begins does not matter.
                (settings, Gradient::new(settings, 0))
            });
            let limit = adaptive.as_ref().map_or(0, |(_, gradient)| gradient.limit());
            gate.adaptive_limit.store(limit, Relaxed);
        }
        drop(adaptive);
        Some(gate)
    }

    fn facts(&self) -> GateFacts {
        let limit = self.adaptive_limit.load(Relaxed);
        GateFacts {
            request_count: self.requests.load(Relaxed),
            retry_count: self.retries.load(Relaxed),
            refused_requests: self.refused_requests.load(Relaxed),
            refused_retries: self.refused_retries.load(Relaxed),
            refused_adaptive: self.refused_adaptive.load(Relaxed),
            adaptive_limit: (limit > 0).then_some(limit),
        }
    }
}

/// Counts one more, unless there are `limit`.
fn take(count: &AtomicU32, limit: u32) -> bool {
    // As others may count at the same time: over the limit for a moment, and never let in.
    if count.fetch_add(1, Relaxed) < limit {
        return true;
    }
    count.fetch_sub(1, Relaxed);
    false
}

impl Pool {
    /// Lets a request in, if as much may be in flight; a pool without limits has no permits.
    ///
    /// # Errors
    /// [`NoMember::CircuitOpen`] and [`NoMember::ConcurrencyLimit`].
    pub fn enter(&self) -> Result<Option<Permit>, NoMember> {
        match self.gate() {
            None => Ok(None),
            Some(gate) => self.enter_gate(gate, gate.adaptive_limit.load(Relaxed)),
        }
    }

    /// The same for a connection or datagrams, of which no answers are measured: without the adaptive
    /// limit.
    ///
    /// # Errors
    /// [`NoMember::CircuitOpen`].
    pub fn enter_stream(&self) -> Result<Option<Permit>, NoMember> {
        self.gate().map_or(Ok(None), |gate| self.enter_gate(gate, 0))
    }

    fn enter_gate(&self, gate: &Arc<Gate>, found: u32) -> Result<Option<Permit>, NoMember> {
        let set = self.spec().circuit_breaker.and_then(|breaker| breaker.request_max_count);
        if !take(&gate.requests, set.unwrap_or(u32::MAX)) {
            gate.refused_requests.fetch_add(1, Relaxed);
            return Err(NoMember::CircuitOpen);
        }
        let mut permit = Permit { gate: Arc::clone(gate), is_retry: false, is_awaited: false };
        if found != 0 {
            permit.is_awaited = take(&gate.awaited, found);
            if !permit.is_awaited {
                gate.refused_adaptive.fetch_add(1, Relaxed);
                return Err(NoMember::ConcurrencyLimit);
            }
        }
        Ok(Some(permit))
    }

    /// Lets a request be sent again, if as many may be at once. None where they may not; a pool without that
    /// limit has no permits.
    pub fn enter_retry(&self) -> Option<Option<Permit>> {
        let limit = |breaker: CircuitBreaker| breaker.retry_max_count;
        let Some(limit) = self.spec().circuit_breaker.and_then(limit) else { return Some(None) };
        let gate = self.gate()?;
        if take(&gate.retries, limit) {
            let gate = Arc::clone(gate);
            return Some(Some(Permit { gate, is_retry: true, is_awaited: false }));
        }
        gate.refused_retries.fetch_add(1, Relaxed);
        None
    }

    /// Takes in how long a member took to begin to answer, for the adaptive limit. Waits for nobody.
    pub(crate) fn sample_time(&self, took_us: u64, now_ms: u64) {
        let Some(gate) = self.gate().filter(|_| self.spec().adaptive_concurrency.is_some()) else {
            return;
        };
        let Ok(mut adaptive) = gate.adaptive.try_lock() else { return };
        if let Some((_, gradient)) = &mut *adaptive {
            // Only draws the jitter.
            let random = took_us.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            gradient.sample(took_us, now_ms, random);
            gate.adaptive_limit.store(gradient.limit(), Relaxed);
        }
    }

    /// What its limits have to say; none where it has none.
    pub fn gate_facts(&self) -> Option<GateFacts> {
        self.gate().map(|gate| gate.facts())
    }
}

#[cfg(test)]
mod tests;
