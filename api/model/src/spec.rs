//! The kinds of resources, one module each.

pub mod certificate;
pub mod jwt_provider;
pub mod monitor;
pub mod node;
pub mod policy;
pub mod pool;
pub mod tls;
pub mod token;
pub mod traffic_group;
pub mod user;
pub mod virtual_server;

/// `true`, as a default for serde.
fn yes() -> bool {
    true
}

/// `false`, as a default for serde.
fn no() -> bool {
    false
}
