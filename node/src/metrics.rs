//! Metrics of what no plane knows by itself: the build, and the replication.

use ballast_model::status::{DnsStatus, NodeStatus, PlaneStatus};
use ballast_telemetry::prometheus::{MetricKind, Metrics};

/// Writes the families of the node as a whole.
pub(crate) fn write_node(metrics: &mut Metrics, status: &NodeStatus) {
    metrics
        .family("ballast_build_info", MetricKind::Gauge, "Version, role and name of the node; 1.")
        .sample(
            &[("version", &status.version), ("role", status.role.as_str()), ("node", &status.name)],
            1,
        );
    metrics.single(
        "process_start_time_seconds",
        MetricKind::Gauge,
        "When the process started, since the Unix epoch.",
        status.started_at_ms as f64 / 1_000.0,
    );
    write_raft(metrics, status);
    write_planes(metrics, &status.planes);
    let failed = status.listeners.iter().filter(|listener| !listener.listening).count();
    let listening = status.listeners.len() - failed;
    let mut listeners = metrics.family(
        "ballast_listeners",
        MetricKind::Gauge,
        "Addresses and ports of virtual servers, by whether the node listens on them.",
    );
    listeners.sample(&[("state", "listening")], listening);
    listeners.sample(&[("state", "failed")], failed);
}

fn write_raft(metrics: &mut Metrics, status: &NodeStatus) {
    let raft = &status.raft;
    let mut gauge = |name, help: &str, value: u64| {
        metrics.single(name, MetricKind::Gauge, help, value);
    };
    gauge("ballast_raft_term", "The Raft term.", raft.term);
    gauge("ballast_raft_last_log_index", "The last entry in the log.", raft.last_log_index);
    gauge("ballast_raft_applied_index", "The last entry that was applied.", raft.applied_index);
    gauge("ballast_raft_voters", "Nodes that vote.", raft.voters.len() as u64);
    gauge(
        "ballast_raft_is_leader",
        "1 where this node leads.",
        u64::from(raft.leader_id == Some(status.node_id)),
    );
    gauge(
        "ballast_raft_has_quorum",
        "1 while a quorum answers, so that the configuration can be changed.",
        u64::from(raft.has_quorum),
    );
}

/// A column of the families of host names.
type DnsFamily = (&'static str, MetricKind, &'static str, fn(&DnsStatus) -> u64);

/// Writes the families of members' host names.
pub(crate) fn write_dns(metrics: &mut Metrics, names: &[DnsStatus]) {
    let families: [DnsFamily; 5] = [
        (
            "ballast_dns_addresses",
            MetricKind::Gauge,
            "Addresses of a host name that are members.",
            |name| name.addresses.len() as u64,
        ),
        (
            "ballast_dns_leaving",
            MetricKind::Gauge,
            "Addresses that are no longer in the answer and are being drained.",
            |name| name.leaving.len() as u64,
        ),
        (
            "ballast_dns_stale",
            MetricKind::Gauge,
            "1 where a host name could not be resolved the last time: the last good answer is used.",
            |name| u64::from(name.error.is_some()),
        ),
        (
            "ballast_dns_answers_total",
            MetricKind::Counter,
            "Good answers of name servers.",
            |name| name.answers_total,
        ),
        (
            "ballast_dns_failures_total",
            MetricKind::Counter,
            "Questions to name servers without a good answer.",
            |name| name.failures_total,
        ),
    ];
    for (family, kind, help, value) in families {
        let mut family = metrics.family(family, kind, help);
        for name in names {
            let port = name.port.map(|port| port.to_string()).unwrap_or_default();
            let labels = [("pool", &*name.pool), ("host", &*name.host), ("port", &*port)];
            family.sample(&labels, value(name));
        }
    }
}

fn write_planes(metrics: &mut Metrics, planes: &[PlaneStatus]) {
    let mut applied = metrics.family(
        "ballast_plane_applied_index",
        MetricKind::Gauge,
        "The index of the configuration that a plane carries out.",
    );
    for plane in planes {
        applied.sample(&[("plane", &plane.plane)], plane.applied_index);
    }
    let mut errors = metrics.family(
        "ballast_plane_error",
        MetricKind::Gauge,
        "1 where a plane can't carry out all of the configuration; the status says why.",
    );
    for plane in planes {
        errors.sample(&[("plane", &plane.plane)], u8::from(plane.error.is_some()));
    }
}
