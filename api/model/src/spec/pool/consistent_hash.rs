//! What consistent hashing goes by.
//!
//! Invariant: the table's size is prime, without which a member's preferences would not reach every
//! slot (Eisenbud et al., "Maglev", NSDI 2016, §3.4).

use serde::{Deserialize, Serialize};

use crate::validate::FieldErrors;

/// Smallest lookup table, in slots.
pub const HASH_TABLE_SIZE_MIN: u32 = 251;
/// Largest lookup table, in slots; a slot takes two bytes.
pub const HASH_TABLE_SIZE_MAX: u32 = 655_373;
/// Longest name of a header, cookie or query parameter, in bytes.
const KEY_NAME_MAX_BYTES: usize = 128;

/// Settings of the algorithm `consistent_hash`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ConsistentHash {
    /// What of a request decides; default: the client's address. Requests without it go by the
    /// client's address, as do TCP connections.
    pub key: HashKey,
    /// Slots of the lookup table: a prime from 251 to 655373, default 65537. About a hundred for
    /// each unit of weight spread the load evenly to one percent.
    pub table_size: u32,
    /// How far above its fair share of the requests in flight a member may get, in percent, 1 to
    /// 1000 (Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2018).
    /// What would go beyond goes to the next member of its key. Absent: no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_excess_percent: Option<u32>,
}

/// What of a request decides where it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", tag = "type", deny_unknown_fields)]
pub enum HashKey {
    /// The value of a cookie.
    Cookie {
        /// The cookie's name.
        name: String,
    },
    /// The value of a header field; the first, where there are several.
    Header {
        /// The field's name, upper or lower case.
        name: String,
    },
    /// The path, without the query.
    Path,
    /// The value of a query parameter as it stands in the target, not decoded.
    Query {
        /// The parameter's name as it stands in the target.
        name: String,
    },
    /// The client's address.
    #[default]
    SourceAddress,
}

impl Default for ConsistentHash {
    fn default() -> Self {
        Self { key: HashKey::default(), table_size: 65_537, load_excess_percent: None }
    }
}

impl ConsistentHash {
    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        errors.range("table_size", self.table_size, HASH_TABLE_SIZE_MIN, HASH_TABLE_SIZE_MAX);
        errors.require(is_prime(self.table_size), "table_size", "not_prime", || {
            format!("{} is no prime number; 65537 is one", self.table_size)
        });
        if let Some(percent) = self.load_excess_percent {
            errors.range("load_excess_percent", percent, 1, 1_000);
        }
        errors.within("key", |errors| self.key.validate(errors));
    }
}

impl HashKey {
    fn validate(&self, errors: &mut FieldErrors) {
        let (Self::Cookie { name } | Self::Header { name } | Self::Query { name }) = self else {
            return;
        };
        let is_plain = name.bytes().all(|b| b.is_ascii_graphic() && !b";,=:&#".contains(&b));
        let fits = (1..=KEY_NAME_MAX_BYTES).contains(&name.len());
        errors.require(is_plain && fits, "name", "invalid_key_name", || {
            format!("must be 1 to {KEY_NAME_MAX_BYTES} visible ASCII characters but ; , = : & #")
        });
    }
}

/// Trial division: at most 405 steps at [`HASH_TABLE_SIZE_MAX`].
fn is_prime(number: u32) -> bool {
    let is_odd_or_two = number == 2 || !number.is_multiple_of(2);
    let odd = (3..).step_by(2).take_while(|d: &u32| d.saturating_mul(*d) <= number);
    number > 1 && is_odd_or_two && odd.into_iter().all(|d| !number.is_multiple_of(d))
}

#[cfg(test)]
mod tests;
