//! The control side: judges how fit the node is, keeps the timeline, tells of events.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ballast_model::event::EventBody;
use ballast_model::ha::{GroupState, HaStep, HaTransition};
use ballast_model::{Config, TrackedPool};
use ballast_vrrp::{Gateways, State, Transition};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::engine::{Command, Published, Report};
use crate::standing::{Judgement, Observed, Sight, Tracked, judge};
use crate::tracking::{Seen, Sighting, Target, targets};
use crate::{Attached, Inner};

mod notes;

use notes::Noted;

/// How often the node judges itself: the data plane's death must show within half a second.
const JUDGE_INTERVAL: Duration = Duration::from_millis(100);
/// Longest wait for the disk when the node stops.
const LAST_WRITE_LIMIT: Duration = Duration::from_secs(1);
/// Longest time that a node holds itself down after its start.
const HOLD_DOWN_LIMIT: Duration = Duration::from_secs(30);

/// How fit the node is for each group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judgements {
    pub(crate) held_down: Option<String>,
    pub(crate) groups: BTreeMap<String, Judgement>,
    /// When the hold-down began; it does not come back once it has ended.
    began: Option<Instant>,
    has_ended: bool,
}

impl Judgements {
    /// Of a process that goes on where another was: nothing is waited for.
    pub(crate) fn resumed() -> Self {
        Self { has_ended: true, ..Self::default() }
    }

    /// Holds the node down after its start until everything is ready, or for long enough.
    fn hold_down(&mut self, index: u64, ready: impl FnOnce() -> Result<(), String>) {
        if self.has_ended {
            return;
        }
        let began = *self.began.get_or_insert_with(Instant::now);
        match ready() {
            Ok(()) => self.has_ended = index > 0,
            Err(_) if began.elapsed() > HOLD_DOWN_LIMIT => {
                tracing::warn!("not held down any longer, though not everything is ready");
                self.has_ended = true;
            }
            Err(why) => self.held_down = Some(why),
        }
    }
}

/// Runs until the node stops.
pub(crate) async fn run(inner: Arc<Inner>, mut reports: mpsc::Receiver<Report>) {
    let mut ticks = interval(JUDGE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut noted = Noted::default();
    loop {
        // Cancel-safe: all branches only wait.
        tokio::select! {
            () = inner.stop.cancelled() => break,
            _ = ticks.tick() => {
                judge_all(&inner);
            }
            report = reports.recv() => match report {
                Some(report) => take(&inner, report, &mut noted),
                None => break,
            },
        }
    }
    // What the thread does at the very end belongs into the timeline too.
    let last = tokio::time::timeout(LAST_WRITE_LIMIT, async {
        while let Some(report) = reports.recv().await {
            take(&inner, report, &mut noted);
        }
    });
    if last.await.is_err() {
        tracing::debug!("the VRRP thread ends later than its reports are waited for");
    }
    inner.reports_taken.cancel();
}

/// Learns once after the start up to where the configuration of the cluster goes.
pub(crate) async fn catch_up(inner: Arc<Inner>, attached: Arc<Attached>) {
    let store = &attached.store;
    loop {
        // Cancel-safe: asking again is harmless.
        let asked = tokio::select! {
            () = attached.stop.cancelled() => return,
            asked = store.read_barrier() => asked,
        };
        if asked.is_ok() {
            // Set already where this node had caught up before.
            let _set = inner.caught_up.set(store.snapshot().index);
            return;
        }
        tokio::select! {
            () = attached.stop.cancelled() => return,
            () = tokio::time::sleep(JUDGE_INTERVAL) => {}
        }
    }
}

/// Writes the timeline whenever it has changed, on a thread that may block: a disk that stalls must
/// not keep the node from judging itself.
pub(crate) async fn write_timeline(inner: Arc<Inner>) {
    let mut images = inner.image.subscribe();
    loop {
        let is_last = tokio::select! {
            changed = images.changed() => changed.is_err(),
            () = inner.reports_taken.cancelled() => true,
        };
        let image = images.borrow_and_update().clone();
        if let Some(image) = image {
            let write = tokio::task::spawn_blocking(move || image.write());
            let limit = if is_last { LAST_WRITE_LIMIT } else { Duration::MAX };
            if let Ok(Ok(Err(error))) = tokio::time::timeout(limit, write).await {
                tracing::warn!(%error, "the timeline of traffic groups can't be written");
            }
        }
        if is_last {
            return;
        }
    }
}

/// Judges the node for each group and tells the thread what has changed.
pub(crate) fn judge_all(inner: &Inner) {
    let snapshot = inner.snapshot.load();
    let config = &snapshot.state.config;
    let before = inner.judgements.load();
    let mut next =
        Judgements { began: before.began, has_ended: before.has_ended, ..Judgements::default() };
    let published = inner.published.load();
    let eyes = Eyes::open(inner, config, &published);
    let now_ms = millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    next.hold_down(snapshot.index, || inner.view.ready().and_then(|()| eyes.first_look(config)));
    // Taken before the commands are given: one that is refused asks for the next round.
    let is_out_of_step = inner.is_out_of_step.swap(false, Ordering::AcqRel);
    if is_out_of_step && snapshot.index > 0 {
        inner.command(Command::Apply(Arc::clone(&snapshot)));
    }
    let active = published.groups.iter().filter(|group| group.view.state == State::Active);
    let observed = Observed {
        held_down: next.held_down.clone(),
        is_behind: inner.store_failure.get().is_some()
            || inner.caught_up.get().is_none_or(|index| snapshot.index < *index),
        data_plane: inner.view.data_plane_alive().err(),
        owned: active.map(|group| group.name.clone()).collect(),
    };
    for group in config.traffic_groups.iter() {
        let judged = judge(config, &inner.node_name, &group.name, &observed, &eyes);
        let Some(mut judgement) = judged else { continue };
        date(&mut judgement.tracked, before.groups.get(&group.name), now_ms);
        let told = before.groups.get(&group.name).map(|j| j.standing);
        if is_out_of_step || told != Some(judgement.standing) {
            let (group, standing) = (group.name.clone(), judgement.standing);
            inner.command(Command::Standing { group, standing });
        }
        next.groups.insert(group.name.clone(), judgement);
    }
    inner.judgements.store(Arc::new(next));
}

/// Writes down since when each tracked thing is as it is.
fn date(tracked: &mut [Tracked], before: Option<&Judgement>, now_ms: u64) {
    for one in tracked {
        let mut known = before.iter().flat_map(|before| &before.tracked);
        let same = known.find(|known| known.kind == one.kind && known.name == one.name);
        let is_as_before = same.filter(|same| same.state == one.state);
        one.since_ms = is_as_before.map_or(now_ms, |same| same.since_ms);
    }
}

/// What the node sees at one moment.
struct Eyes<'a> {
    inner: &'a Inner,
    published: &'a Published,
    seen: MutexGuard<'a, Seen>,
    now: Instant,
}

impl<'a> Eyes<'a> {
    fn open(inner: &'a Inner, config: &Config, published: &'a Published) -> Self {
        let now = Instant::now();
        let mut seen = inner.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.note_links(config, &inner.node_name, &published.devices, now);
        seen.note_pools(config, |pool| inner.view.pool_up_percent(pool), now);
        Self { inner, published, seen, now }
    }

    /// Whether every gateway has had the time to answer once.
    ///
    /// # Errors
    /// What is being waited for, in a sentence.
    fn first_look(&self, config: &Config) -> Result<(), String> {
        let mut groups = config
            .traffic_groups
            .iter()
            .filter(|group| group.spec.enabled && group.spec.may_run_on(&self.inner.node_name));
        if groups.all(|group| group.spec.tracking.gateways.is_empty()) {
            return Ok(());
        }
        let is_awaited = |target: &Target| self.seen.is_awaited(target);
        if *self.inner.applied.borrow() == 0
            || targets(config, self.published).iter().any(is_awaited)
        {
            return Err("the gateways are asked for the first time".to_owned());
        }
        Ok(())
    }
}

impl Sight for Eyes<'_> {
    fn pool(&self, pool: &TrackedPool) -> Sighting {
        self.seen.pool(pool, self.now)
    }

    fn gateway(&self, group: &str, address: IpAddr) -> Sighting {
        let Some(running) = self.published.groups.iter().find(|running| running.name == group)
        else {
            return Sighting::Unknown;
        };
        let target = Target { device: running.device.clone(), gateway: address };
        self.seen.gateway(&target, self.now)
    }

    fn link(&self, device: &str) -> Sighting {
        self.seen.link(device, self.now)
    }
}

fn take(inner: &Inner, report: Report, noted: &mut Noted) {
    match report {
        Report::Applied { index } => {
            inner.applied.send_replace(index);
        }
        Report::Note { group, note } => {
            let what = notes::sentence(inner, &note);
            tracing::warn!(group, "{what}");
            if let Some(code) = notes::code(&note)
                && noted.is_time(&group, code, Instant::now())
            {
                keep(inner, notes::entry(inner, &group, code, what));
            }
        }
        Report::Transition { group, transition, steps, at } => {
            let ago = crate::kernel::monotonic().since(at);
            let told = told(inner, &group, &transition, ago, &steps);
            tracing::info!(
                target: "audit",
                group,
                from = told.from.as_str(),
                to = told.to.as_str(),
                reason = told.reason,
                "{}",
                told.message
            );
            keep(inner, told);
        }
    }
}

/// Adds to the timeline and tells who follows.
fn keep(inner: &Inner, told: HaTransition) {
    let image = {
        let mut timeline = inner.timeline.lock().unwrap_or_else(PoisonError::into_inner);
        timeline.push(told.clone());
        timeline.image()
    };
    inner.image.send_replace(Some(Arc::new(image)));
    // No reader is no error.
    let _readers = inner.events.send(EventBody::Ha { transition: told });
}

fn told(
    inner: &Inner,
    group: &str,
    transition: &Transition,
    ago: Duration,
    steps: &[crate::engine::Step],
) -> HaTransition {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = since_epoch.saturating_sub(ago);
    let facts = &transition.facts;
    let heard = facts.heard.map(|heard| {
        let node = heard.node_id.and_then(|id| inner.node_called(id));
        node.unwrap_or_else(|| heard.source.to_string())
    });
    HaTransition {
        at_ms: millis(at),
        node: inner.node_name.clone(),
        group: group.to_owned(),
        from: group_state(transition.from),
        to: group_state(transition.to),
        reason: transition.reason.as_str().to_owned(),
        message: transition.sentence(),
        priority: facts.own_priority,
        heard,
        heard_priority: facts.heard.map(|heard| heard.priority),
        silence_us: facts.heard.map(|heard| heard.ago_us),
        heartbeat: facts
            .reported_by
            .and_then(|id| inner.node_called(id))
            .map(|node| format!("the report of node {node} decided")),
        late_us: facts.late_us,
        steps: steps
            .iter()
            .map(|step| HaStep {
                step: step.what.to_owned(),
                after_us: u64::try_from(step.after.as_micros()).unwrap_or(u64::MAX),
                error: step.error.clone(),
            })
            .collect(),
    }
}

impl Inner {
    /// What this node finds of the gateways of a group.
    pub(crate) fn gateways_of(&self, group: &str) -> Gateways {
        let judgements = self.judgements.load();
        judgements.groups.get(group).map_or(Gateways::Unknown, Judgement::gateways)
    }

    /// The name of the node with that number.
    pub(crate) fn node_called(&self, id: u64) -> Option<String> {
        let snapshot = self.snapshot.load();
        let mut nodes = snapshot.state.config.nodes.iter();
        nodes.find(|node| node.spec.node_id == id).map(|node| node.name.clone())
    }
}

pub(crate) fn group_state(state: State) -> GroupState {
    match state {
        State::Active => GroupState::Active,
        State::Backup => GroupState::Backup,
        State::Initialize => GroupState::Initialize,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
