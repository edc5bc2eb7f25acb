//! The envelope of every stored value: version, checksum, body.
//!
//! ```text
//! 0         1                 5
//! +---------+-----------------+------ … ------+
//! | version | CRC32C, LE      | body          |
//! +---------+-----------------+------ … ------+
//! ```
//!
//! Invariant: the checksum covers the key, the version and the body, so that neither a flipped bit
//! nor a value found under another's key passes.

use super::StorageError;

/// The version that is written now.
pub(crate) const VERSION: u8 = 1;
/// Bytes that the envelope adds.
pub(crate) const OVERHEAD_BYTES: usize = 5;

/// Wraps `body`, to be stored under `key`.
pub(crate) fn encode(key: &[u8], body: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(OVERHEAD_BYTES + body.len());
    value.push(VERSION);
    value.extend_from_slice(&checksum(key, VERSION, body).to_le_bytes());
    value.extend_from_slice(body);
    value
}

/// Unwraps what was stored under `key`.
///
/// # Errors
/// Where it is damaged, or a newer version wrote it.
pub(crate) fn decode<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], StorageError> {
    let damaged = |why: &str| {
        StorageError::corrupt(format!("the value under key {} {why}", key.escape_ascii()))
    };
    let (&version, rest) = value.split_first().ok_or_else(|| damaged("is empty"))?;
    let (sum, body) = rest.split_first_chunk::<4>().ok_or_else(|| damaged("is cut off"))?;
    if u32::from_le_bytes(*sum) != checksum(key, version, body) {
        return Err(damaged("fails its checksum"));
    }
    match version {
        VERSION => Ok(body),
        newer => Err(StorageError::Newer(format!("a value has version {newer}"))),
    }
}

fn checksum(key: &[u8], version: u8, body: &[u8]) -> u32 {
    let sum = crc32c::crc32c(key);
    crc32c::crc32c_append(crc32c::crc32c_append(sum, &[version]), body)
}

#[cfg(test)]
mod tests;
