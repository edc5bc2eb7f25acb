//! Differences between two documents, field by field.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldDiff {
    /// JSON pointer (RFC 6901) to the field.
    pub pointer: String,
    /// What it was; absent where it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What it becomes; absent where it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// Every field in which `after` differs from `before`, deepest first found, in document order.
pub fn diff(before: &Value, after: &Value) -> Vec<FieldDiff> {
    let mut found = Vec::new();
    walk(&mut String::new(), Some(before), Some(after), &mut found);
    found
}

fn walk(
    pointer: &mut String,
    before: Option<&Value>,
    after: Option<&Value>,
    found: &mut Vec<FieldDiff>,
) {
    match (before, after) {
        (Some(before), Some(after)) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            for key in before.keys().chain(after.keys().filter(|key| !before.contains_key(*key))) {
                deeper(pointer, key, before.get(key), after.get(key), found);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            for i in 0..before.len().max(after.len()) {
                deeper(pointer, &i.to_string(), before.get(i), after.get(i), found);
            }
        }
        (before, after) => found.push(FieldDiff {
            pointer: pointer.clone(),
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}

fn deeper(
    pointer: &mut String,
    key: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    found: &mut Vec<FieldDiff>,
) {
    let length = pointer.len();
    pointer.push('/');
    pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
    walk(pointer, before, after, found);
    pointer.truncate(length);
}

#[cfg(test)]
mod tests;
