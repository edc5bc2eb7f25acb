//! Which protocols a client may change to (RFC 9110 §7.8).
//!
//! Invariant: HTTP itself is never among them: what looks like a request behind such a change would
//! reach a member unseen.

use std::collections::BTreeSet;

use crate::validate::FieldErrors;

/// Most protocols of a virtual server.
const UPGRADE_MAX_COUNT: usize = 8;

pub(super) fn default_upgrades() -> Vec<String> {
    vec!["websocket".to_owned()]
}

pub(super) fn validate(errors: &mut FieldErrors, upgrades: &[String]) {
    errors.range("upgrades", upgrades.len(), 0, UPGRADE_MAX_COUNT);
    let mut seen = BTreeSet::new();
    errors.within("upgrades", |errors| {
        for (i, upgrade) in upgrades.iter().enumerate() {
            // RFC 9110 §7.8: a name, perhaps with a version.
            let is_name = (1..=64).contains(&upgrade.len())
                && upgrade.split('/').count() <= 2
                && upgrade.split('/').all(|part| !part.is_empty() && super::is_token(part));
            errors.require(is_name, i, "invalid_protocol", || {
                "must be the name of a protocol, perhaps with / and a version".to_owned()
            });
            let name = upgrade.to_ascii_lowercase();
            let is_http =
                ["http", "h2", "h2c", "tls"].contains(&name.split('/').next().unwrap_or(""));
            errors.require(!is_http, i, "not_allowed", || {
                "would hide requests from this virtual server".to_owned()
            });
            errors.require(seen.insert(name), i, "duplicate", || {
                "stands in the list already".to_owned()
            });
        }
    });
}
