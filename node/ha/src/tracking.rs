//! What this node sees of what traffic groups track: gateways, which it asks, and devices of further
//! networks, of which the VRRP thread knows whether they have a link.
//!
//! Invariant: what can't be looked at is unknown, never lost: it takes nothing from the node.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use ballast_model::{Config, TrackedPool};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::Inner;
use crate::engine::Published;
use crate::kernel::{Device, NeighbourSocket};

mod solicit;
mod verdict;

pub(crate) use verdict::{Sighting, Verdict};

/// How often a gateway is asked.
const ASK_INTERVAL: Duration = Duration::from_millis(500);
/// How long it may take to answer; less than the interval, so that answers belong to their question.
const ANSWER_LIMIT: Duration = Duration::from_millis(400);
/// How often it is looked which gateways are to be asked.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Most gateways that are asked.
pub(crate) const GATEWAY_MAX_COUNT: usize = 64;
/// Longest frame that is an answer, with options.
const FRAME_MAX_BYTES: usize = 256;
/// Frames that are read at a time.
const BURST_MAX_COUNT: usize = 256;

/// A gateway as seen from a device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) device: String,
    pub(crate) gateway: IpAddr,
}

/// What is seen of the gateways that are asked, and of devices.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    gateways: BTreeMap<Target, Asked>,
    /// By the device's name.
    links: BTreeMap<String, Link>,
    /// By the pool's name and the share of it that should be up.
    pools: BTreeMap<(String, u8), Pool>,
}

#[derive(Debug)]
struct Asked {
    verdict: Verdict,
    /// Why it can't be asked, in a sentence.
    obstacle: Option<String>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Link {
    is_up: bool,
    /// None: since it was seen first.
    since: Option<Instant>,
}

#[derive(Debug)]
struct Pool {
    up_percent: u8,
    /// Since when there is enough of it, or not; none: since it was seen first.
    since: Option<Instant>,
}

impl Seen {
    /// How a gateway is found from a device. The first question may be under way.
    pub(crate) fn gateway(&self, target: &Target, now: Instant) -> Sighting {
        let Some(asked) = self.gateways.get(target) else { return Sighting::Unknown };
        let question = if target.gateway.is_ipv4() { "ARP" } else { "neighbour discovery" };
        asked.verdict.sighting(now, &format!("does not answer {question} on {}", target.device))
    }

    /// Whether the first verdict about a gateway is still to come, and will come.
    pub(crate) fn is_awaited(&self, target: &Target) -> bool {
        match self.gateways.get(target) {
            Some(asked) => asked.obstacle.is_none() && asked.verdict == Verdict::default(),
            None => self.gateways.len() < GATEWAY_MAX_COUNT,
        }
    }

    /// Whether a device has a link, for how long.
    pub(crate) fn link(&self, device: &str, now: Instant) -> Sighting {
        let Some(link) = self.links.get(device) else { return Sighting::Unknown };
        let lasts = link.since.map_or(Duration::MAX, |since| now.saturating_duration_since(since));
        if link.is_up {
            Sighting::Well { lasts }
        } else {
            Sighting::Lost { lasts, why: format!("{device} has no link") }
        }
    }

    /// Takes in which of the devices that matter have a link.
    pub(crate) fn note_links(
        &mut self,
        config: &Config,
        node: &str,
        devices: &[Device],
        now: Instant,
    ) {
        let Some(own) = config.nodes.get(node).filter(|_| !devices.is_empty()) else { return };
        let mut links = BTreeMap::new();
        for interface in &own.spec.interfaces {
            let is_up = devices.iter().any(|device| device.name == interface.device && device.up);
            let since = match self.links.get(&interface.device) {
                None => None,
                Some(link) if link.is_up == is_up => link.since,
                Some(_) => Some(now),
            };
            links.insert(interface.device.clone(), Link { is_up, since });
        }
        self.links = links;
    }

    /// Whether enough members of a pool are up, for how long.
    pub(crate) fn pool(&self, pool: &TrackedPool, now: Instant) -> Sighting {
        let wanted = pool.up_min_percent;
        let Some(seen) = self.pools.get(&(pool.pool.clone(), wanted)) else {
            return Sighting::Unknown;
        };
        let lasts = seen.since.map_or(Duration::MAX, |since| now.saturating_duration_since(since));
        if seen.up_percent >= wanted {
            Sighting::Well { lasts }
        } else {
            let why = format!("has {} % of its members up, {wanted} % should be", seen.up_percent);
            Sighting::Lost { lasts, why }
        }
    }

    /// Takes in how much of each tracked pool is up; none where that is unknown.
    pub(crate) fn note_pools(
        &mut self,
        config: &Config,
        up_percent: impl Fn(&str) -> Option<u8>,
        now: Instant,
    ) {
        let mut pools = BTreeMap::new();
        let groups = config.traffic_groups.iter();
        for tracked in groups.flat_map(|group| &group.spec.tracking.pools) {
            let Some(up_percent) = up_percent(&tracked.pool) else { continue };
            let wanted = tracked.up_min_percent;
            let key = (tracked.pool.clone(), wanted);
            let since = match self.pools.get(&key) {
                None => None,
                Some(seen) if (seen.up_percent >= wanted) == (up_percent >= wanted) => seen.since,
                Some(_) => Some(now),
            };
            pools.insert(key, Pool { up_percent, since });
        }
        self.pools = pools;
    }

    /// What keeps gateways from being asked, in sentences.
    pub(crate) fn obstacles(&self) -> Vec<String> {
        let obstacles = self.gateways.iter().filter_map(|(target, asked)| {
            let why = asked.obstacle.as_ref()?;
            Some(format!("gateway {} can't be watched: {why}", target.gateway))
        });
        obstacles.collect()
    }
}

/// The gateways that the groups on this node track, from the devices that the groups are on.
pub(crate) fn targets(config: &Config, published: &Published) -> Vec<Target> {
    let mut targets = Vec::new();
    for running in &published.groups {
        let Some(group) = config.traffic_groups.get(&running.name) else { continue };
        for gateway in &group.spec.tracking.gateways {
            targets.push(Target { device: running.device.clone(), gateway: gateway.address });
        }
    }
    targets.sort();
    targets.dedup();
    targets
}

/// Asks every gateway that is tracked until the node stops; each on its own.
pub(crate) async fn run(inner: Arc<Inner>) {
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Cancel-safe: both branches only wait.
        tokio::select! {
            () = inner.stop.cancelled() => return,
            _ = looks.tick() => {}
        }
        let snapshot = inner.snapshot.load();
        let mut targets = targets(&snapshot.state.config, &inner.published.load());
        targets.truncate(GATEWAY_MAX_COUNT);
        let mut seen = inner.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.gateways.retain(|target, asked| {
            let is_kept = targets.contains(target);
            if !is_kept {
                asked.stop.cancel();
            }
            is_kept
        });
        for target in targets {
            if seen.gateways.contains_key(&target) {
                continue;
            }
            let stop = inner.stop.child_token();
            inner.tasks.spawn(ask_again_and_again(
                Arc::clone(&inner),
                target.clone(),
                stop.clone(),
            ));
            let asked = Asked { verdict: Verdict::default(), obstacle: None, stop };
            seen.gateways.insert(target, asked);
        }
    }
}

async fn ask_again_and_again(inner: Arc<Inner>, target: Target, stop: CancellationToken) {
    let mut line = None;
    let mut ticks = interval(ASK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Cancel-safe: both branches only wait.
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let devices = Arc::clone(&inner.published.load().devices);
        let device = devices.iter().find(|device| device.name == target.device);
        // Cancel-safe: a question that is given up leaves nothing behind.
        let answered = tokio::select! {
            () = stop.cancelled() => return,
            answered = ask(&mut line, device, target.gateway) => answered,
        };
        let mut seen = inner.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(asked) = seen.gateways.get_mut(&target).filter(|_| !stop.is_cancelled()) else {
            return;
        };
        match answered {
            Ok(is_answered) => {
                asked.verdict.note(is_answered, Instant::now());
                asked.obstacle = None;
            }
            Err(why) => asked.obstacle = Some(why),
        }
    }
}

/// A socket on a device, with what the device was when it was opened.
struct Line {
    device: u32,
    mac: [u8; 6],
    socket: NeighbourSocket,
}

/// Asks once; whether there was an answer. An error is of this node: it says nothing of the gateway.
async fn ask(
    line: &mut Option<Line>,
    device: Option<&Device>,
    gateway: IpAddr,
) -> Result<bool, String> {
    // Nothing is reached through a device that is away.
    let Some(device) = device.filter(|device| device.up) else { return Ok(false) };
    let question = solicit::question(device, gateway)?;
    let is_current = |line: &Line| line.device == device.index && line.mac == device.mac;
    if !line.as_ref().is_some_and(is_current) {
        let refused = |error: io::Error| {
            format!("no packet socket on {}: {error}; the process needs CAP_NET_RAW", device.name)
        };
        let socket = NeighbourSocket::open(device, gateway).map_err(refused)?;
        *line = Some(Line { device: device.index, mac: device.mac, socket });
    }
    let Some(Line { socket, .. }) = line else { return Ok(false) };
    let answered = question_and_answer(socket, &question, gateway).await;
    if answered.is_err() {
        // The device goes or comes back; a socket of before may be of no use.
        *line = None;
    }
    Ok(answered.unwrap_or(false))
}

async fn question_and_answer(
    socket: &NeighbourSocket,
    question: &[u8],
    gateway: IpAddr,
) -> io::Result<bool> {
    // Late answers to earlier questions.
    is_answered(socket, gateway)?;
    socket.send(question)?;
    let mut buffer = [0; FRAME_MAX_BYTES];
    let answer = async {
        loop {
            let length = socket.next(&mut buffer).await?;
            if solicit::is_answer(&buffer[..length], gateway) {
                return Ok(true);
            }
        }
    };
    match timeout(ANSWER_LIMIT, answer).await {
        Ok(answered) => answered,
        // What came while this task had to wait for its turn came in time.
        Err(_) => is_answered(socket, gateway),
    }
}

/// Reads what waits; whether the gateway's answer was among it.
fn is_answered(socket: &NeighbourSocket, gateway: IpAddr) -> io::Result<bool> {
    let mut buffer = [0; FRAME_MAX_BYTES];
    let mut answered = false;
    for _ in 0..BURST_MAX_COUNT {
        let Some(length) = socket.receive(&mut buffer)? else { break };
        answered |= solicit::is_answer(&buffer[..length], gateway);
    }
    Ok(answered)
}

#[cfg(test)]
mod tests;
