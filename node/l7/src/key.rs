//! Finds in a request what its pool's algorithm goes by.
//!
//! Invariant: what is not there is none, and never an empty key: requests without it must not all go
//! to one member.

use ballast_balance::{KeyHash, key};
use ballast_model::HashKey;

use crate::codec::head::{Field, FieldName};
use crate::codec::request::RequestHead;

/// The hash of what `wanted` names in the request whose head is `raw`; none where it is not there, or
/// where the client's address is wanted.
pub(crate) fn of_request(
    wanted: &HashKey,
    raw: &[u8],
    head: &RequestHead,
    fields: &[Field],
) -> Option<KeyHash> {
    let target = head.target.of_head(raw);
    let value = match wanted {
        HashKey::SourceAddress => return None,
        HashKey::Path => key::path(target),
        HashKey::Query { name } => key::query_value(target, name.as_bytes())?,
        HashKey::Cookie { name } => {
            let cookies = fields.iter().filter(|field| field.name == FieldName::Cookie);
            let mut values = cookies.map(|field| field.value.of_head(raw));
            values.find_map(|value| key::cookie_value(value, name.as_bytes()))?
        }
        HashKey::Header { name } => {
            let is_wanted =
                |field: &&Field| field.name_of(raw).eq_ignore_ascii_case(name.as_bytes());
            fields.iter().find(is_wanted)?.value.of_head(raw)
        }
    };
    (!value.is_empty()).then(|| KeyHash::of_bytes(value))
}
