//! Slows down whoever guesses passwords: after a few wrong ones in a row, each further attempt of
//! that user from that address has to wait longer.
//!
//! An attempt is counted before it is checked and forgiven when it succeeds, so that attempts side
//! by side gain nothing.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Wrong attempts in a row that cost no wait.
const FREE_ATTEMPT_COUNT: u32 = 5;
/// The longest wait, in ms.
const WAIT_MAX_MS: u64 = 60_000;
/// After so long without an attempt, all is forgiven, in ms (15 min).
const FORGIVEN_AFTER_MS: u64 = 15 * 60 * 1_000;
/// Most pairs of user and address that are remembered; the one tried longest ago goes first.
const ENTRY_MAX_COUNT: usize = 10_000;

/// Counts attempts by user and source address.
#[derive(Default)]
pub(crate) struct Throttle {
    entries: Mutex<HashMap<(String, String), Entry>>,
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
        *entry = Entry { attempts: entry.attempts.saturating_add(1), last_ms: now_ms };
        Ok(())
    }

    /// Forgives all attempts: the last one was right.
    pub(crate) fn succeeded(&self, user: &str, source: &str) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.remove(&(user.to_owned(), source.to_owned()));
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
