//! Slows down whoever guesses passwords: after a few wrong ones in a row, each further attempt of
//! that user from that address has to wait longer; and all attempts from one source together, of
//! whatever users, have to wait once there are many.
//!
//! An attempt is counted before it is checked and forgiven when it succeeds, so that attempts side
//! by side gain nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::source::network;

/// Wrong attempts in a row that cost no wait.
const FREE_ATTEMPT_COUNT: u32 = 5;
/// The longest wait, in ms.
const WAIT_MAX_MS: u64 = 60_000;
/// After so long without an attempt, all is forgiven, in ms (15 min).
const FORGIVEN_AFTER_MS: u64 = 15 * 60 * 1_000;
/// Most pairs of user and address that are remembered; the one tried longest ago goes first.
const ENTRY_MAX_COUNT: usize = 10_000;

/// Wrong attempts of a source in a row that cost no wait, of whatever users.
const SOURCE_FREE_ATTEMPT_COUNT: u64 = 30;
/// How long it takes until a source has one more free attempt, in ms.
const SOURCE_ATTEMPT_EVERY_MS: u64 = 2_000;

/// Counts attempts by user and source address, and by source.
#[derive(Default)]
pub(crate) struct Throttle {
    entries: Mutex<HashMap<(String, String), Entry>>,
    /// When all attempts of a source will be forgiven, in ms since the Unix epoch: each adds
    /// [`SOURCE_ATTEMPT_EVERY_MS`].
    sources: Mutex<HashMap<String, u64>>,
}

#[derive(Clone, Copy)]
struct Entry {
    attempts: u32,
    last_ms: u64,
}

impl Throttle {
    /// Counts an attempt.
    ///
    /// # Errors
    /// How long to wait, in seconds; the attempt must not be made now.
    pub(crate) fn attempt(&self, user: &str, source: &str, now_ms: u64) -> Result<(), u64> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (user.to_owned(), source.to_owned());
        if !entries.contains_key(&key) && entries.len() >= ENTRY_MAX_COUNT {
            make_room(&mut entries, now_ms);
        }
        let entry = entries.entry(key).or_insert(Entry { attempts: 0, last_ms: now_ms });
        let quiet_ms = now_ms.saturating_sub(entry.last_ms);
        if quiet_ms >= FORGIVEN_AFTER_MS {
            entry.attempts = 0;
        }
        let wait_ms = wait_after(entry.attempts);
        if quiet_ms < wait_ms {
            return Err((wait_ms - quiet_ms).div_ceil(1_000));
        }
        self.attempt_from(source, now_ms)?;
        *entry = Entry { attempts: entry.attempts.saturating_add(1), last_ms: now_ms };
        Ok(())
    }

    /// Forgives all attempts of the user, and one of the source: the last one was right.
    pub(crate) fn succeeded(&self, user: &str, source: &str) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.remove(&(user.to_owned(), source.to_owned()));
        if let Some(forgiven_at_ms) = self.sources().get_mut(&source_key(source)) {
            *forgiven_at_ms = forgiven_at_ms.saturating_sub(SOURCE_ATTEMPT_EVERY_MS);
        }
    }

    fn attempt_from(&self, source: &str, now_ms: u64) -> Result<(), u64> {
        let mut sources = self.sources();
        let key = source_key(source);
        if !sources.contains_key(&key) && sources.len() >= ENTRY_MAX_COUNT {
            make_room_for_source(&mut sources, now_ms);
        }
        let forgiven_at_ms = sources.entry(key).or_default();
        let then_ms = now_ms.max(*forgiven_at_ms) + SOURCE_ATTEMPT_EVERY_MS;
        let ahead_ms = then_ms - now_ms;
        let free_ms = SOURCE_FREE_ATTEMPT_COUNT * SOURCE_ATTEMPT_EVERY_MS;
        if ahead_ms > free_ms {
            return Err((ahead_ms - free_ms).div_ceil(1_000));
        }
        *forgiven_at_ms = then_ms;
        Ok(())
    }

    fn sources(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What counts as one source.
fn source_key(source: &str) -> String {
    let address = source.parse::<IpAddr>();
    address.map_or_else(|_| source.to_owned(), |address| network(address).to_string())
}

fn make_room_for_source(sources: &mut HashMap<String, u64>, now_ms: u64) {
    sources.retain(|_, forgiven_at_ms| *forgiven_at_ms > now_ms);
    if sources.len() >= ENTRY_MAX_COUNT {
        let soonest = sources.iter().min_by_key(|(_, at_ms)| **at_ms).map(|(key, _)| key.clone());
        if let Some(soonest) = soonest {
            sources.remove(&soonest);
        }
    }
}

/// How long after the last of `attempts` the next one may come: 1 s, 2 s, 4 s …
fn wait_after(attempts: u32) -> u64 {
    match attempts.checked_sub(FREE_ATTEMPT_COUNT) {
        None => 0,
        Some(excess) => 1_000_u64.saturating_mul(1 << excess.min(16)).min(WAIT_MAX_MS),
    }
}

fn make_room(entries: &mut HashMap<(String, String), Entry>, now_ms: u64) {
    entries.retain(|_, entry| now_ms.saturating_sub(entry.last_ms) < FORGIVEN_AFTER_MS);
    if entries.len() >= ENTRY_MAX_COUNT {
        let oldest = entries.iter().min_by_key(|(_, e)| e.last_ms).map(|(key, _)| key.clone());
        if let Some(oldest) = oldest {
            entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests;
