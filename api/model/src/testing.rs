//! Configurations for tests: that of a cluster as it is when it is made, with nodes, which edits by
//! users can't add.

use crate::command::{Command, CommandBody, Edit, Origin, Outcome};
use crate::config::Config;
use crate::spec::certificate::Sealed;
use crate::state::State;

/// The configuration of a cluster that these edits made.
///
/// # Panics
/// When they are refused.
pub fn config(edits: impl IntoIterator<Item = Edit>) -> Config {
    let body = CommandBody::Bootstrap {
        cluster_name: "edge".to_owned(),
        cluster_uid: "uid".to_owned(),
        ca_certificate_pem: String::new(),
        ca_key_sealed: Sealed { key_id: 1, nonce: String::new(), ciphertext: String::new() },
        setup_code_hash: None,
        edits: edits.into_iter().collect(),
    };
    let command = Command { origin: Origin::default(), at_ms: 1, idempotency: None, body };
    let mut state = State::default();
    let outcome = state.apply(1, &command);
    assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
    state.config
}
