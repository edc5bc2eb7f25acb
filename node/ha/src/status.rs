//! What this node says of its traffic groups: status and metrics.

use std::sync::PoisonError;
use std::time::{SystemTime, UNIX_EPOCH};

use ballast_model::Availability;
use ballast_model::ha::{
    GroupState, GroupStatus, HaStatus, TakeoverWait, TrackedState, TrackedStatus, WaitKind,
};
use ballast_telemetry::Metrics;
use ballast_telemetry::prometheus::MetricKind;
use ballast_vrrp::Idle;

use crate::Ha;
use crate::control::{Judgements, group_state};
use crate::engine::{GroupPublished, Published, TAKEOVER_MAX_COUNT, Wait};
use crate::standing::Tracked;
use crate::tracking::{GATEWAY_MAX_COUNT, targets};

impl Ha {
    /// What this node says of high availability.
    pub fn status(&self) -> HaStatus {
        let published = self.0.published.load();
        let judgements = self.0.judgements.load();
        let scheduling = self.0.scheduling.load();
        let snapshot = self.0.snapshot.load();
        let own = snapshot.state.config.nodes.get(&self.0.node_name);
        let mut problems: Vec<_> =
            scheduling.problem().into_iter().chain(published.problems.iter().cloned()).collect();
        if let Some(Err(why)) = &scheduling.realtime {
            problems.push(format!(
                "the VRRP thread has no real-time priority ({why}): give the process CAP_SYS_NICE, \
                 or a busy machine may be taken for dead"
            ));
        }
        let seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        problems.extend(seen.obstacles());
        drop(seen);
        let targets = targets(&snapshot.state.config, &published).len();
        if targets > GATEWAY_MAX_COUNT {
            problems.push(format!(
                "{targets} gateways are tracked here; the first {GATEWAY_MAX_COUNT} are watched"
            ));
        }
        let node_called = |id| self.0.node_called(id).unwrap_or_else(|| format!("number {id}"));
        let groups = published.groups.iter();
        let groups = groups.map(|group| group_status(group, &judgements, &node_called));
        HaStatus {
            availability: own.map_or(Availability::Available, |own| own.spec.availability),
            held_down: judgements.held_down.clone(),
            realtime: matches!(scheduling.realtime, Some(Ok(()))),
            memory_locked: scheduling.memory_locked,
            groups: groups.collect(),
            heartbeats: self.0.heartbeat_statuses(),
            problems,
        }
    }

    /// Writes the metrics of everything here.
    pub fn write_metrics(&self, metrics: &mut Metrics) {
        let published = self.0.published.load();
        let states = [GroupState::Active, GroupState::Backup, GroupState::Initialize];
        let mut family = metrics.family(
            "ballast_ha_group_state",
            MetricKind::Gauge,
            "1 for the part that this node has in a traffic group.",
        );
        for group in &published.groups {
            for state in states {
                let is = u8::from(group_state(group.view.state) == state);
                family.sample(&[("group", &group.name), ("state", state.as_str())], is);
            }
        }
        let mut family = metrics.family(
            "ballast_ha_group_priority",
            MetricKind::Gauge,
            "VRRP priority of this node in a traffic group.",
        );
        for group in &published.groups {
            family.sample(&[("group", &group.name)], group.view.priority);
        }
        write_tracked(metrics, &self.0.judgements.load());
        write_counters(metrics, &published);
        metrics.single(
            "ballast_ha_lateness_max_seconds",
            MetricKind::Gauge,
            "Longest time by which the VRRP thread was late since the process started.",
            std::time::Duration::from_micros(published.late_max_us).as_secs_f64(),
        );
        metrics.single(
            "ballast_ha_unknown_vrid_total",
            MetricKind::Counter,
            "VRRP messages of routers that no traffic group here belongs to.",
            published.unknown_vrid_total,
        );
        metrics.single(
            "ballast_ha_thread_failures_total",
            MetricKind::Counter,
            "How often the VRRP thread failed and was started again.",
            self.0.scheduling.load().failures_total,
        );
        metrics.single(
            "ballast_ha_device_lookups_total",
            MetricKind::Counter,
            "How often the VRRP thread listed the machine's devices and addresses.",
            published.lookups_total,
        );
    }
}

fn write_counters(metrics: &mut Metrics, published: &Published) {
    type Count = fn(&GroupPublished) -> u64;
    let counters: [(&'static str, &str, Count); 5] = [
        ("ballast_ha_transitions_total", "Changes of this node's part in a traffic group.", |g| {
            g.counters.transitions_total
        }),
        ("ballast_ha_adverts_sent_total", "VRRP advertisements sent.", |g| g.counters.sent_total),
        ("ballast_ha_adverts_received_total", "VRRP advertisements understood.", |g| {
            g.counters.received_total
        }),
        (
            "ballast_ha_announcements_total",
            "Gratuitous ARPs and unsolicited neighbour advertisements sent.",
            |g| g.counters.announcements_total,
        ),
        (
            "ballast_ha_kernel_failures_total",
            "Addresses and packets that the kernel refused.",
            |g| g.counters.failures_total,
        ),
    ];
    for (name, help, count) in counters {
        let mut family = metrics.family(name, MetricKind::Counter, help);
        for group in &published.groups {
            family.sample(&[("group", &group.name)], count(group));
        }
    }
    let mut family = metrics.family(
        "ballast_ha_adverts_dropped_total",
        MetricKind::Counter,
        "VRRP advertisements that were not acted on, by reason.",
    );
    for group in &published.groups {
        for (reason, count) in &group.counters.dropped_total {
            family.sample(&[("group", &group.name), ("reason", reason)], count);
        }
    }
}

fn tracked_status(tracked: &Tracked) -> TrackedStatus {
    TrackedStatus {
        kind: tracked.kind,
        name: tracked.name.clone(),
        state: tracked.state,
        since_ms: tracked.since_ms,
        weight: tracked.weight,
        reason: tracked.reason.clone(),
    }
}

fn write_tracked(metrics: &mut Metrics, judgements: &Judgements) {
    let mut family = metrics.family(
        "ballast_ha_tracked_failed",
        MetricKind::Gauge,
        "1 for a gateway, network or pool that a traffic group tracks and that makes this node less fit.",
    );
    for (group, judgement) in &judgements.groups {
        for tracked in &judgement.tracked {
            let (kind, name) = (tracked.kind.as_str(), tracked.name.as_str());
            let is_failed = u8::from(tracked.state == TrackedState::Failed);
            family.sample(&[("group", group), ("kind", kind), ("name", name)], is_failed);
        }
    }
}

fn wait_status(wait: Wait, node_called: &dyn Fn(u64) -> String) -> TakeoverWait {
    let (kind, message, left) = match wait {
        Wait::Braked => (
            WaitKind::Brake,
            format!(
                "it would take the group over, but {TAKEOVER_MAX_COUNT} moved here within a minute"
            ),
            None,
        ),
        Wait::Failback { left } => (
            WaitKind::Failback,
            "it is preferred, and waits for the failback delay".to_owned(),
            Some(left),
        ),
        Wait::Listening => {
            (WaitKind::Listening, "it listens whether somebody owns the group".to_owned(), None)
        }
        Wait::Vetoed { by } => {
            let message = format!(
                "node {} is not heard on the segment, but reports that it serves: it keeps the group",
                node_called(by)
            );
            (WaitKind::Veto, message, None)
        }
    };
    let ends_in_ms = left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
    TakeoverWait { kind, message, ends_in_ms }
}

fn group_status(
    group: &GroupPublished,
    judgements: &Judgements,
    node_called: &dyn Fn(u64) -> String,
) -> GroupStatus {
    let view = &group.view;
    let judgement = judgements.groups.get(&group.name);
    let judged = judgement.and_then(|judgement| judgement.unable.clone());
    let idle = view.idle.map(|idle| match idle {
        // Where nothing else says why, such as before the node was judged.
        Idle::Unable(unable) => unable.to_string(),
        Idle::LinkDown => format!("{} has no link", group.device),
        Idle::NoSource(_) => format!("{} has no address of its own", group.device),
        Idle::ShutDown => "the node is stopping".to_owned(),
    });
    let unable = group.missing.clone().or(judged).or(idle);
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
    let state = group_state(view.state);
    GroupStatus {
        group: group.name.clone(),
        state,
        since_ms: now_ms.saturating_sub(view.state_lasts_us / 1_000),
        reason: view.reason.map(|reason| reason.as_str().to_owned()).unwrap_or_default(),
        priority: if state == GroupState::Initialize { 0 } else { view.priority },
        manual: view.is_manual,
        unable,
        degraded: judgement.map(|judgement| judgement.degraded.clone()).unwrap_or_default(),
        tracked: judgement
            .map(|j| j.tracked.iter().map(tracked_status).collect())
            .unwrap_or_default(),
        clash: view.vrid_in_use.map(|clash| format!("its VRID is in use by {}", clash.by)),
        device: Some(group.device.clone()),
        addresses: group.held.iter().map(ToString::to_string).collect(),
        heard: group.heard.as_ref().map(|(name, _)| name.clone()),
        heard_priority: group.heard.as_ref().map(|(_, priority)| *priority),
        unheard_owner: group.unheard.clone(),
        wait: group.wait.map(|wait| wait_status(wait, node_called)),
        transitions_total: group.counters.transitions_total,
        adverts_sent_total: group.counters.sent_total,
        adverts_received_total: group.counters.received_total,
        announcements_total: group.counters.announcements_total,
        dropped_total: group
            .counters
            .dropped_total
            .iter()
            .map(|(reason, count)| ((*reason).to_owned(), *count))
            .collect(),
    }
}
