//! The kinds of resources, one module each.

pub mod certificate;
pub mod monitor;
pub mod node;
pub mod pool;
pub mod token;
pub mod user;
pub mod virtual_server;

/// `true`, as a default for serde.
fn yes() -> bool {
    true
}
