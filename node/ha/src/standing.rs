//! How fit this node is for each group: what the configuration says and what the node observes, turned
//! into a priority or a reason to take no part.
//!
//! Pure, but for what it is given.

use std::net::IpAddr;
use std::time::Duration;

use ballast_model::ha::{Fitness, TrackedKind, TrackedState};
use ballast_model::{Availability, Config, NodeSpec, TrackedPool};
use ballast_vrrp::{Gateways, Standing, Unable};

use crate::tracking::Sighting;

/// How much longer than others the owner of a group holds what it tracks for well, and how much sooner
/// it does so again; at least, and for pools [`pool_grace`]. What fails for all nodes fails for the owner last: nobody is fit to
/// take over by then, and the group stays where it is. Longer than the nodes' views can be apart.
const OWNER_GRACE: Duration = Duration::from_secs(1);

/// What the node observes of itself.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    /// Why it owns nothing yet after its start.
    pub(crate) held_down: Option<String>,
    /// Why the data plane does not forward.
    pub(crate) data_plane: Option<String>,
    /// Whether its configuration may be older than the cluster's.
    pub(crate) is_behind: bool,
    /// Groups that it owns now.
    pub(crate) owned: Vec<String>,
}

/// What the node sees of what is tracked.
pub(crate) trait Sight {
    /// Whether enough members of a pool are up.
    fn pool(&self, pool: &TrackedPool) -> Sighting;
    /// How a gateway is found from the device that a group is on.
    fn gateway(&self, group: &str, address: IpAddr) -> Sighting;
    /// Whether a device has a link.
    fn link(&self, device: &str) -> Sighting;
}

/// How fit the node is for one group, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) standing: Standing,
    /// Why it can't own the group, in a sentence.
    pub(crate) unable: Option<String>,
    /// What failed of what is tracked, in sentences.
    pub(crate) degraded: Vec<String>,
    /// Everything that is tracked.
    pub(crate) tracked: Vec<Tracked>,
}

/// Something that is tracked, and how it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tracked {
    pub(crate) kind: TrackedKind,
    pub(crate) name: String,
    pub(crate) state: TrackedState,
    pub(crate) weight: u8,
    /// Why it counts as failed.
    pub(crate) reason: Option<String>,
    /// Since when it is in that state, in ms since the Unix epoch; set by who compares it with before.
    pub(crate) since_ms: u64,
}

impl Judgement {
    /// What other nodes are told of the gateways.
    pub(crate) fn gateways(&self) -> Gateways {
        let mut gateways =
            self.tracked.iter().filter(|tracked| tracked.kind == TrackedKind::Gateway).peekable();
        if gateways.peek().is_some() && gateways.clone().all(|it| it.state == TrackedState::Failed)
        {
            Gateways::Failed
        } else if gateways.any(|gateway| gateway.state == TrackedState::Well) {
            Gateways::Reachable
        } else {
            Gateways::Unknown
        }
    }
}

/// Judges the node's fitness for `group`; none where it has no part in it.
pub(crate) fn judge(
    config: &Config,
    node: &str,
    group: &str,
    observed: &Observed,
    sight: &impl Sight,
) -> Option<Judgement> {
    let own = &config.nodes.get(node)?.spec;
    let spec = &config.traffic_groups.get(group)?.spec;
    let rank = config.rank(group, node)?;
    let owns = observed.owned.iter().any(|owned| owned == group);
    let tracked = track(config, group, own, owns, sight);
    let failed = || tracked.iter().filter(|tracked| tracked.state == TrackedState::Failed);
    let mut failed_weights: Vec<_> = failed().map(|tracked| tracked.weight).collect();
    let mut degraded: Vec<_> = failed().filter_map(|tracked| tracked.reason.clone()).collect();
    if observed.is_behind {
        // It takes over where nobody serves, but from nobody who does.
        failed_weights.push(1);
        degraded.push("its configuration may be old: it has not heard from the cluster".to_owned());
    }
    if own.availability == Availability::Maintenance {
        degraded.push("the node is in maintenance".to_owned());
    }
    let others = observed.owned.iter().filter(|owned| *owned != group);
    let load: u32 = others
        .filter_map(|owned| config.traffic_groups.get(owned))
        .map(|owned| owned.spec.load_factor)
        .sum();
    let fitness = Fitness {
        placement: spec.placement,
        rank,
        load_percent: load.saturating_add(spec.load_factor).saturating_mul(100)
            / own.capacity.max(1),
        failed_weights: &failed_weights,
        in_maintenance: own.availability == Availability::Maintenance,
    };
    let (unable, why) = if own.availability == Availability::Offline {
        (Some(Unable::Offline), Some("the node is forced offline".to_owned()))
    } else if let Some(why) = &observed.data_plane {
        (Some(Unable::DataPlaneDead), Some(format!("the data plane does not forward: {why}")))
    } else if let Some(why) = &observed.held_down {
        (Some(Unable::Starting), Some(format!("the node is starting: {why}")))
    } else {
        (None, None)
    };
    let standing = Standing { unable, priority: fitness.priority(), may_volunteer: true };
    Some(Judgement { standing, unable: why, degraded, tracked })
}

/// Looks at everything that a group tracks.
fn track(
    config: &Config,
    group: &str,
    own: &NodeSpec,
    owns: bool,
    sight: &impl Sight,
) -> Vec<Tracked> {
    let Some(tracking) = config.traffic_groups.get(group).map(|group| &group.spec.tracking) else {
        return Vec::new();
    };
    let gateways = tracking.gateways.iter().map(|gateway| {
        let name = gateway.address.to_string();
        let (state, why) = weigh(sight.gateway(group, gateway.address), owns, OWNER_GRACE);
        let reason = why.map(|why| format!("gateway {name} {why}"));
        Tracked {
            kind: TrackedKind::Gateway,
            name,
            state,
            weight: gateway.weight,
            reason,
            since_ms: 0,
        }
    });
    let networks = tracking.networks.iter().map(|network| {
        let name = network.network.clone();
        let (state, why) = match own.interface(&name) {
            Some(interface) => weigh(sight.link(&interface.device), owns, OWNER_GRACE),
            None => (TrackedState::Failed, Some("the node names no device on it".to_owned())),
        };
        let reason = why.map(|why| format!("network {name}: {why}"));
        Tracked {
            kind: TrackedKind::Network,
            name,
            state,
            weight: network.weight,
            reason,
            since_ms: 0,
        }
    });
    let pools = tracking.pools.iter().map(|pool| {
        // Unknown is not failed: the first round is waited for elsewhere.
        let (state, why) = weigh(sight.pool(pool), owns, pool_grace(config, &pool.pool));
        let reason = why.map(|why| format!("pool {} {why}", pool.pool));
        let name = pool.pool.clone();
        Tracked { kind: TrackedKind::Pool, name, state, weight: pool.weight, reason, since_ms: 0 }
    });
    gateways.chain(networks).chain(pools).collect()
}

/// How far apart two nodes can find that a pool's members went or came back: each begins its probes at
/// a moment of its own, and shifts each of those that it takes by up to a tenth of the interval.
fn pool_grace(config: &Config, pool: &str) -> Duration {
    let monitors = config.pools.get(pool).into_iter().flat_map(|pool| &pool.spec.monitors);
    let monitors = monitors.filter_map(|name| config.monitors.get(name));
    let apart_ms = monitors.map(|monitor| {
        let monitor = &monitor.spec;
        let shifts =
            u64::from(monitor.fall.max(monitor.rise)).saturating_mul(monitor.interval_ms / 5);
        monitor.interval_ms.saturating_add(shifts).saturating_add(monitor.timeout_ms)
    });
    OWNER_GRACE.max(Duration::from_millis(apart_ms.max().unwrap_or_default()))
}

/// What something that is seen so counts as.
fn weigh(sighting: Sighting, owns: bool, grace: Duration) -> (TrackedState, Option<String>) {
    match sighting {
        Sighting::Unknown => (TrackedState::Unknown, None),
        Sighting::Well { lasts } if owns || lasts >= grace => (TrackedState::Well, None),
        Sighting::Well { .. } => {
            (TrackedState::Failed, Some("is well again, but has not been for long".to_owned()))
        }
        Sighting::Lost { lasts, .. } if owns && lasts < grace => (TrackedState::Well, None),
        Sighting::Lost { why, .. } => (TrackedState::Failed, Some(why)),
    }
}

#[cfg(test)]
mod tests;
