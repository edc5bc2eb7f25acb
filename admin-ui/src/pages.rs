//! The pages, one module each.

mod ha;
mod member;
mod nodes;
mod overview;
mod pool;
mod pool_form;
mod pools;
mod saving;
mod sign_in;
mod virtual_servers;

use leptos::prelude::*;

use crate::i18n::texts;

pub(crate) use ha::{GroupLines, HighAvailability, grave_concern};
pub(crate) use nodes::Nodes;
pub(crate) use overview::Overview;
pub(crate) use pool::Pool;
pub(crate) use pools::Pools;
pub(crate) use sign_in::{SetUp, SignIn};
pub(crate) use virtual_servers::VirtualServers;

/// Names the page in the browser's tab.
fn name_page(name: &str) {
    document().set_title(&format!("{name} · Ballast"));
}

/// The words for an algorithm.
fn algorithm_text(algorithm: ballast_model::Algorithm) -> &'static str {
    use ballast_model::Algorithm;
    let t = texts();
    match algorithm {
        Algorithm::ConsistentHash => t.consistent_hash,
        Algorithm::LeastConnections => t.least_connections,
        Algorithm::LeastTime => t.least_time,
        Algorithm::P2c => t.p2c,
        Algorithm::PeakEwma => t.peak_ewma,
        Algorithm::Random => t.random,
        Algorithm::RoundRobin => t.round_robin,
        Algorithm::SourceHash => t.source_hash,
    }
}

/// The words for a node's role.
fn role_text(role: ballast_model::NodeRole) -> &'static str {
    use ballast_model::NodeRole;
    match role {
        NodeRole::Traffic => texts().role_traffic,
        NodeRole::Witness => texts().role_witness,
    }
}
