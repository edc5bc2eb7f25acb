//! How fast clients have to be: bounds and defaults.
//!
//! Invariant: the defaults are below what the slowest line of today does (240 bytes are 2,400 bit/s with
//! their framing), so that they only meet those who are slow on purpose.

use super::HttpSettings;
use crate::validate::FieldErrors;

/// Least rate of clients unless told otherwise, in bytes per second.
pub(super) const DEFAULT_BYTES_PER_S: u32 = 240;
/// How long they may be below it unless told otherwise, in ms.
pub(super) const DEFAULT_GRACE_MS: u64 = 30_000;
const MAX_BYTES_PER_S: u32 = 1_000_000;
const GRACE_MIN_MS: u64 = 1_000;
const GRACE_MAX_MS: u64 = 600_000;

pub(super) fn validate(errors: &mut FieldErrors, http: &HttpSettings) {
    let rates = [
        ("body_min_bytes_per_s", http.body_min_bytes_per_s),
        ("response_min_bytes_per_s", http.response_min_bytes_per_s),
    ];
    for (field, rate) in rates {
        errors.range(field, rate, 0, MAX_BYTES_PER_S);
    }
    errors.range("min_rate_grace_ms", http.min_rate_grace_ms, GRACE_MIN_MS, GRACE_MAX_MS);
}

#[cfg(test)]
mod tests;
