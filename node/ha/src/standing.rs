//! How fit this node is for each group: what the configuration says and what the node observes, turned
//! into a priority or a reason to take no part.
//!
//! Pure, but for what it is given.

use ballast_model::ha::Fitness;
use ballast_model::{Availability, Config};
use ballast_vrrp::{Standing, Unable};

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

/// How fit the node is for one group, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) standing: Standing,
    /// Why it can't own the group, in a sentence.
    pub(crate) unable: Option<String>,
    /// What failed of what is tracked, in sentences.
    pub(crate) degraded: Vec<String>,
}

/// Judges the node's fitness for `group`; none where it has no part in it.
pub(crate) fn judge(
    config: &Config,
    node: &str,
    group: &str,
    observed: &Observed,
    pool_up_percent: impl Fn(&str) -> Option<u8>,
) -> Option<Judgement> {
    let own = &config.nodes.get(node)?.spec;
    let spec = &config.traffic_groups.get(group)?.spec;
    let rank = config.rank(group, node)?;
    let mut failed_weights = Vec::new();
    let mut degraded = Vec::new();
    for tracked in &spec.tracking.pools {
        // Unknown is not failed: the first round is waited for elsewhere.
        let up_percent = pool_up_percent(&tracked.pool).unwrap_or(100);
        if up_percent < tracked.up_min_percent {
            failed_weights.push(tracked.weight);
            degraded.push(format!(
                "{up_percent} % of pool {} is up, {} % should be",
                tracked.pool, tracked.up_min_percent
            ));
        }
    }
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
        load_percent: load.saturating_mul(100) / own.capacity.max(1),
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
    Some(Judgement { standing, unable: why, degraded })
}

#[cfg(test)]
mod tests;
