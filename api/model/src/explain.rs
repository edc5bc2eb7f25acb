//! Why a request would get what it gets: asked of a node, answered by its live engine.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::status::MemberStatus;

/// A described request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// The virtual server that it would come to.
    pub virtual_server: String,
    /// Its method.
    #[serde(default = "get")]
    pub method: String,
    /// The host that it asks for, with or without a port.
    #[serde(default)]
    pub host: String,
    /// Path and query.
    #[serde(default = "root")]
    pub path: String,
    /// Header fields.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Cookies.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cookies: BTreeMap<String, String>,
    /// The client's address.
    #[serde(default = "localhost")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub source: IpAddr,
}

/// What would become of a described request on the node that answers, and why. Nothing is counted or
/// used up by asking.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExplainReport {
    /// The index of the configuration that this node carries out.
    pub index: u64,
    /// The host as rules compare it.
    pub host: String,
    /// The path as rules compare it.
    pub path: String,
    /// Rules in order, up to the one that decides. Many that host or path alone rule out are left
    /// out and counted in `untold_count`.
    pub steps: Vec<ExplainStep>,
    /// Rules that are not among the steps.
    pub untold_count: usize,
    /// What finally becomes of the request, in words. Rate limits and tokens come before it.
    pub verdict: String,
    /// The pool that would serve it; none where no member would be asked. Of a split that is drawn
    /// anew for each request, one that could be drawn.
    pub pool: Option<String>,
    /// The member that would serve it, by name; where the algorithm draws or takes turns, one that
    /// could be next.
    pub member: Option<String>,
    /// Why that member, or why none.
    pub why: String,
    /// The pool's members as this node sees them now.
    pub members: Vec<MemberStatus>,
}

/// What became of one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExplainStep {
    /// The policy that has it.
    pub policy: String,
    /// The rule.
    pub rule: String,
    /// Its position in the policy, from 0.
    pub position: usize,
    /// Whether it matches.
    pub matched: bool,
    /// The condition that failed, as a JSON pointer into the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// What it failed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What it does, where it matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub does: Vec<String>,
}

impl ExplainRequest {
    /// A `GET` of `path` at `host` by a client of this machine.
    pub fn new(virtual_server: &str, host: &str, path: &str) -> Self {
        Self {
            virtual_server: virtual_server.to_owned(),
            method: get(),
            host: host.to_owned(),
            path: path.to_owned(),
            headers: BTreeMap::new(),
            cookies: BTreeMap::new(),
            source: localhost(),
        }
    }
}

fn get() -> String {
    "GET".to_owned()
}

fn root() -> String {
    "/".to_owned()
}

fn localhost() -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}
