//! The live tail: which records of requests somebody wants to see as they are made.
//!
//! Invariant: what is not set lets every record pass.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::spec::policy::Cidr;

/// Most records of a node in a second that a reader may ask for.
pub const RATE_MAX_PER_S: u32 = 1_000;
/// Records of a node in a second where nothing else is said.
pub const RATE_DEFAULT_PER_S: u32 = 100;
/// Longest text to compare with, in bytes.
pub const TEXT_MAX_BYTES: usize = 1_024;
/// The reason that stands for each.
pub const ANY_REASON: &str = "any";

/// Which records a reader wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TailFilter {
    /// Of this virtual server.
    pub virtual_server: Option<String>,
    /// Of this pool.
    pub pool: Option<String>,
    /// Of the member of that name.
    pub member: Option<String>,
    /// With such a status.
    pub status: Option<StatusFilter>,
    /// That failed for this reason; [`ANY_REASON`] stands for each.
    pub reason: Option<String>,
    /// Whose target begins so.
    pub path_prefix: Option<String>,
    /// Of clients in this network.
    pub client: Option<Cidr>,
    /// That took at least so long, in ms.
    pub min_duration_ms: u64,
    /// Most records of a node in a second, 1 to [`RATE_MAX_PER_S`]; of further ones only the number
    /// is told.
    pub rate_max_per_s: u32,
}

impl Default for TailFilter {
    fn default() -> Self {
        Self {
            virtual_server: None,
            pool: None,
            member: None,
            status: None,
            reason: None,
            path_prefix: None,
            client: None,
            min_duration_ms: 0,
            rate_max_per_s: RATE_DEFAULT_PER_S,
        }
    }
}

/// Statuses from the first to the last, both included; 0 stands for none, as of TCP connections.
///
/// Written `503`, `5xx`, `400-499` or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusFilter {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl StatusFilter {
    /// Whether that status is among them.
    pub fn contains(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

/// What is no filter of statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be such as 503, 5xx, 400-499 or none")]
pub struct NoStatus;

impl FromStr for StatusFilter {
    type Err = NoStatus;

    fn from_str(text: &str) -> Result<Self, NoStatus> {
        let one = |text: &str| -> Result<u16, NoStatus> {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            let status = text.parse().ok().filter(|_| is_number);
            status.filter(|status| (100..=599).contains(status)).ok_or(NoStatus)
        };
        if text == "none" {
            return Ok(Self { first: 0, last: 0 });
        }
        if let [class @ b'1'..=b'5', b'x', b'x'] = text.as_bytes() {
            let first = u16::from(class - b'0') * 100;
            return Ok(Self { first, last: first + 99 });
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (one(first)?, one(last)?);
        if first <= last { Ok(Self { first, last }) } else { Err(NoStatus) }
    }
}

impl fmt::Display for StatusFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.last) {
            (0, _) => f.write_str("none"),
            (first, last) if first == last => write!(f, "{first}"),
            (first, last) if first % 100 == 0 && last == first + 99 => {
                write!(f, "{}xx", first / 100)
            }
            (first, last) => write!(f, "{first}-{last}"),
        }
    }
}

#[cfg(test)]
mod tests;
