//! Floating addresses under load: moved by hand, then their owner is killed. What that costs is what a
//! client measures that opens a new connection every 5 ms.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ballast_client::HaEventsQuery;
use ballast_model::ha::{GroupState, HaTransition};
use ballast_test_support::cluster::READY_LIMIT;
use ballast_test_support::probe::{self, Gap};
use ballast_test_support::wait::wait_for_some;
use ballast_test_support::{Kind, Load, LoadOptions, Probe, Topology, wait_for};

use crate::configuration::{self, GROUP};
use crate::script::CONNECTIONS;
use crate::stage::{Stage, note};

/// Where the virtual server of the floating addresses listens.
pub(crate) const PORT: u16 = 80;

/// Longest gap that a dead owner may cost at 200 ms adverts, in ms.
const DEATH_GAP_MAX_MS: f64 = 1_000.0;

/// Longest gap that a planned move may cost, in ms.
const MOVE_GAP_MAX_MS: f64 = 200.0;

/// Requests per second over keep-alive connections, beside the new ones: as people ask, with pauses.
const RATE: f64 = 400.0;

/// Requests after which that load has seen enough of a situation.
const SOME_REQUESTS: u64 = 300;

/// Answers in a row after which all is as it was.
const CALM_COUNT: usize = 200;

/// Longest time for groups to settle: a node that starts takes no part for a while.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);

/// Who asks for the floating addresses.
struct Audience {
    addresses: [IpAddr; 2],
    probes: [Probe; 2],
    load: Load,
}

impl Audience {
    async fn gather(topology: &Topology, addresses: [IpAddr; 2]) -> Result<Self> {
        let start = |ip| Probe::start(&topology.client, SocketAddr::new(ip, PORT));
        let probes = [start(addresses[0])?, start(addresses[1])?];
        for probe in &probes {
            probe.wait_for_answers(CALM_COUNT, SETTLE_LIMIT).await?;
        }
        let url = format!("http://{}:{PORT}/", addresses[0]);
        let options =
            LoadOptions { connections: CONNECTIONS, rate: Some(RATE), ..LoadOptions::new(url) };
        let mut load = Load::start(&topology.client, &options).await?;
        load.wait_for_requests(SOME_REQUESTS).await?;
        Ok(Self { addresses, probes, load })
    }

    /// Waits until every address is answered again without a failure, and tells each one's gap. Nothing
    /// may have failed but what was under way from `since_us` until the gap ended, or `until_us`.
    async fn expect_gap(
        &self,
        since_us: u64,
        until_us: Option<u64>,
        max_ms: f64,
        stage: &Stage,
    ) -> Result<()> {
        for (probe, address) in self.probes.iter().zip(self.addresses) {
            probe.wait_for_answers(CALM_COUNT, SETTLE_LIMIT).await?;
            let gap = probe.longest_gap(since_us);
            let text = format!(
                "{address}: {:.0} ms without an answer (at most {max_ms:.0}), {}",
                gap.ms(),
                lost(probe, since_us)
            );
            stage.expect(gap.ms() <= max_ms, &text);
            let price = Gap { begin_us: since_us, end_us: until_us.unwrap_or(gap.end_us) };
            expect_nothing_else(probe, since_us, price, stage);
        }
        Ok(())
    }
}

/// Declares the addresses and plays the scenes.
pub(crate) async fn run(topology: &mut Topology, stage: &Stage) -> Result<()> {
    if topology.client.lab().kind() == Kind::Loopback {
        stage.chapter("floating addresses: left out, loopback addresses cannot move between hosts");
        return Ok(());
    }
    stage.chapter("floating addresses, IPv4 and IPv6, shared by node-1 and node-2");
    topology.cluster.use_node(0).await?;
    let addresses = configuration::float(topology, stage).await?;
    let owner = one_owner(topology, addresses).await?;
    wait_for_next(topology).await?;
    stage.saw(&format!("{} owns both; the other is ready to take over", name(topology, owner)));
    show(topology, &["ha", "status"]).await?;
    let mut audience = Audience::gather(topology, addresses).await?;
    move_by_hand(topology, &mut audience, owner, stage).await?;
    kill_owner(topology, &mut audience, 1 - owner, stage).await?;
    drop(audience.load.stop().await?);
    stage.chapter("what became of it: `ballastctl ha events`");
    show(topology, &["ha", "events", "--limit", "8"]).await
}

async fn move_by_hand(
    topology: &Topology,
    audience: &mut Audience,
    owner: usize,
    stage: &Stage,
) -> Result<()> {
    let to = name(topology, 1 - owner);
    stage.chapter(&format!("`ballastctl ha failover {GROUP} --to {to}`, under load"));
    let since_us = probe::now_us();
    let before = audience.load.snapshot().await?;
    show(topology, &["ha", "failover", GROUP, "--to", to]).await?;
    let moved_us = probe::now_us();
    let now = one_owner(topology, audience.addresses).await?;
    stage.expect(now == 1 - owner, &format!("{} owns both addresses", name(topology, now)));
    // Its longest pause may have come from anywhere: what counts is the time that the move took.
    audience.expect_gap(since_us, Some(moved_us), MOVE_GAP_MAX_MS, stage).await?;
    let after = audience.load.wait_for_requests(SOME_REQUESTS).await?;
    let failed = after.failed_count() - before.failed_count();
    // A request that the old owner works on as the address leaves has no way back.
    let text = format!(
        "{CONNECTIONS} keep-alive connections: of {} requests, {failed} were under way as the \
         addresses moved, and died (at most one a connection can)",
        after.sent - before.sent,
    );
    stage.expect(failed <= u64::from(CONNECTIONS), &text);
    for failure in after.first_failures.iter().take(3) {
        note(failure);
    }
    Ok(())
}

async fn kill_owner(
    topology: &mut Topology,
    audience: &mut Audience,
    owner: usize,
    stage: &Stage,
) -> Result<()> {
    let (dead, heir) = (name(topology, owner).to_owned(), 1 - owner);
    stage.chapter(&format!("killing {dead}, which owns the addresses (SIGKILL), under load"));
    topology.cluster.use_node(heir).await?;
    let since_us = probe::now_us();
    topology.cluster.nodes[owner].sigkill()?;
    audience.expect_gap(since_us, None, DEATH_GAP_MAX_MS, stage).await?;
    let now = one_owner(topology, audience.addresses).await?;
    stage.expect(now == heir, &format!("{} owns both addresses", name(topology, now)));
    let change = newest_takeover(topology, heir).await?;
    stage.saw(&format!("{} says why: {}", change.node, change.message));
    note(&describe(&change));
    let before = audience.load.snapshot().await?;
    let after = audience.load.wait_for_requests(SOME_REQUESTS).await?;
    let failed = after.failed_count() - before.failed_count();
    let text = format!("then of {} requests, {failed} failed", after.sent - before.sent);
    stage.expect(failed == 0, &text);

    let (started, since_us) = (Instant::now(), probe::now_us());
    topology.cluster.nodes[owner].restart(READY_LIMIT).await?;
    wait_for_next(topology).await?;
    let seconds = started.elapsed().as_secs_f64();
    stage.saw(&format!("{dead} is back and ready to take over after {seconds:.1} s"));
    let stays = one_owner(topology, audience.addresses).await? == heir;
    stage.expect(stays, "the addresses stay where they are: failback is off");
    for probe in &audience.probes {
        probe.wait_for_answers(CALM_COUNT, SETTLE_LIMIT).await?;
        let gap = Gap { begin_us: since_us, end_us: since_us };
        expect_nothing_else(probe, since_us, gap, stage);
    }
    show(topology, &["ha", "status"]).await
}

/// Fails where a client suffered outside the gap: the gap is to be the whole price.
fn expect_nothing_else(probe: &Probe, since_us: u64, gap: Gap, stage: &Stage) {
    let outside = probe.failed_outside(since_us, gap);
    if let Some(first) = outside.first() {
        let after_ms = (first.begun_us.saturating_sub(since_us)) / 1_000;
        let why = first.outcome.as_ref().err().map_or("", String::as_str);
        let count = outside.len();
        stage.expect(false, &format!("{count} more failed, the first after {after_ms} ms: {why}"));
    }
}

/// How many of how many connections had no answer.
fn lost(probe: &Probe, since_us: u64) -> String {
    let attempts = probe.attempts_since(since_us);
    let mut reasons = BTreeMap::new();
    for reason in attempts.iter().filter_map(|attempt| attempt.outcome.as_ref().err()) {
        *reasons.entry(reason).or_insert(0) += 1;
    }
    let failed: u32 = reasons.values().sum();
    let mut text = format!("{failed} of {} new connections failed", attempts.len());
    for (reason, count) in reasons {
        text += &format!("; {count} × {reason}");
    }
    text
}

/// The one node whose kernel holds all addresses; a dead node's addresses go within seconds.
pub(crate) async fn one_owner(topology: &Topology, addresses: [IpAddr; 2]) -> Result<usize> {
    let waited = wait_for_some("one owner of the addresses", SETTLE_LIMIT, async || {
        let nodes = topology.cluster.nodes.iter().enumerate();
        let holders = |address| -> Vec<usize> {
            let holding = |host: &ballast_test_support::Host| host.holds(address).unwrap_or(false);
            nodes.clone().filter(|(_, node)| holding(node.host())).map(|(i, _)| i).collect()
        };
        match (holders(addresses[0]).as_slice(), holders(addresses[1]).as_slice()) {
            ([one], [other]) if one == other => Some(*one),
            _ => None,
        }
    });
    waited.await
}

/// Waits until somebody is ready to take the group over.
pub(crate) async fn wait_for_next(topology: &Topology) -> Result<()> {
    let client = topology.cluster.client();
    wait_for("a node that is ready to take over", SETTLE_LIMIT, async || {
        let Ok(overview) = client.ha().await else { return false };
        overview.groups.iter().any(|group| group.group == GROUP && group.next.is_some())
    })
    .await
}

/// The newest change that made the node at `index` the owner.
async fn newest_takeover(topology: &Topology, index: usize) -> Result<HaTransition> {
    let node = Some(name(topology, index).to_owned());
    let query = HaEventsQuery { limit: Some(20), group: Some(GROUP.to_owned()), node };
    let timeline = topology.cluster.client_of(index).ha_events(&query).await?;
    let mut takeovers = timeline.items.into_iter().filter(|item| item.to == GroupState::Active);
    takeovers.next().context("the new owner tells of no takeover")
}

/// What it saw, and how long its steps took.
fn describe(change: &HaTransition) -> String {
    let steps = change.steps.iter();
    let steps: Vec<_> =
        steps.map(|s| format!("{} after {:.1} ms", s.step, s.after_us as f64 / 1_000.0)).collect();
    let silence_ms = change.silence_us.unwrap_or(0) / 1_000;
    format!("nothing heard for {silence_ms} ms; {}", steps.join(", "))
}

/// Prints what `ballastctl` prints.
async fn show(topology: &Topology, arguments: &[&str]) -> Result<()> {
    for line in topology.cluster.ctl().run(arguments).await?.lines() {
        note(line);
    }
    Ok(())
}

fn name(topology: &Topology, index: usize) -> &str {
    topology.cluster.nodes[index].name()
}
