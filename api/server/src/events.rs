//! Events: collected in a bounded ring, streamed as server-sent events, resumed by identifier.
//!
//! Changes of the configuration are everybody's; health and leader are as this node sees them, and
//! of traffic groups it tells its own part.
//! Identifiers grow by one from the time at which the process started, in µs, so that one that was
//! given out by an earlier process, or by another node, is recognised: its reader is told to read
//! everything anew.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use ballast_model::event::{Event, EventBody};
use ballast_raft_store::Change;
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::app::{App, now_ms};
use crate::auth;
use crate::call::Call;
use crate::failure::{Answer, Failure};

/// Most events kept for readers that come back.
const RING_MAX_COUNT: usize = 1_000;
/// Most events that a reader may be behind before it is told that it missed some.
const READER_BEHIND_MAX_COUNT: usize = 256;
/// How often a comment is sent, so that nobody takes the stream for dead.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// How often it is looked who the leader is.
const LEADER_INTERVAL: Duration = Duration::from_millis(500);
/// What can be asked for.
const KINDS: &[&str] = &["config", "ha", "health", "leader"];

/// The latest events of this node.
pub(crate) struct Hub {
    node: String,
    ring: Mutex<Ring>,
    live: broadcast::Sender<Arc<Event>>,
}

struct Ring {
    next_id: u64,
    events: VecDeque<Arc<Event>>,
}

/// Where a reader starts.
struct Reader {
    missed: VecDeque<Arc<Event>>,
    live: broadcast::Receiver<Arc<Event>>,
}

impl Hub {
    pub(crate) fn new(node: &str, started_at_ms: u64) -> Self {
        Self {
            node: node.to_owned(),
            ring: Mutex::new(Ring { next_id: started_at_ms * 1_000, events: VecDeque::new() }),
            live: broadcast::channel(READER_BEHIND_MAX_COUNT).0,
        }
    }

    fn publish(&self, at_ms: u64, body: EventBody) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let event = Arc::new(Event { id: ring.next_id, at_ms, node: self.node.clone(), body });
        ring.next_id += 1;
        if ring.events.len() == RING_MAX_COUNT {
            ring.events.pop_front();
        }
        ring.events.push_back(Arc::clone(&event));
        // Under the lock, so that a new reader sees each event once. No reader is no error.
        let _readers = self.live.send(event);
    }

    /// A reader that has seen everything up to `after`; without it, one that starts now.
    fn read(&self, after: Option<u64>, now_ms: u64) -> Reader {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let live = self.live.subscribe();
        let oldest = ring.events.front().map_or(ring.next_id, |event| event.id);
        let missed = match after {
            None => VecDeque::new(),
            Some(after) if (oldest..=ring.next_id).contains(&(after.saturating_add(1))) => {
                ring.events.iter().filter(|event| event.id > after).cloned().collect()
            }
            Some(_) => VecDeque::from([self.lagged(ring.next_id - 1, now_ms)]),
        };
        Reader { missed, live }
    }

    /// Tells a reader that it has to read everything anew; what comes after it has an identifier
    /// above `id`.
    fn lagged(&self, id: u64, at_ms: u64) -> Arc<Event> {
        Arc::new(Event { id, at_ms, node: self.node.clone(), body: EventBody::Lagged })
    }

    fn newest_id(&self) -> u64 {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).next_id - 1
    }
}

/// Collects events until the API stops.
pub(crate) async fn collect(app: Arc<App>) {
    let mut changes = app.store.changes();
    let mut seen = app.node.events();
    let mut leader_interval = interval(LEADER_INTERVAL);
    leader_interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut leader = leader_name(&app);
    let mut node_is_there = true;
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            change = changes.recv() => match change {
                Ok(change) => publish_change(&app.events, &change),
                Err(RecvError::Lagged(_)) => app.events.publish(now_ms(), EventBody::Lagged),
                Err(RecvError::Closed) => return,
            },
            event = seen.recv(), if node_is_there => match event {
                Ok(body) => app.events.publish(now_ms(), body),
                Err(RecvError::Lagged(_)) => app.events.publish(now_ms(), EventBody::Lagged),
                Err(RecvError::Closed) => node_is_there = false,
            },
            _ = leader_interval.tick() => {
                let present = leader_name(&app);
                if present != leader {
                    leader.clone_from(&present);
                    app.events.publish(now_ms(), EventBody::Leader { leader: present });
                }
            }
        }
    }
}

fn publish_change(hub: &Hub, change: &Change) {
    if change.changed.is_empty() {
        return;
    }
    let (index, changed, origin) = (change.index, change.changed.clone(), change.origin.clone());
    hub.publish(change.at_ms, EventBody::Config { index, changed, origin });
}

/// The leader's name, as this node knows it.
pub(crate) fn leader_name(app: &App) -> Option<String> {
    let leader_id = app.store.status().leader_id?;
    let snapshot = app.snapshot();
    let mut nodes = snapshot.state.config.nodes.iter();
    nodes.find(|node| node.spec.node_id == leader_id).map(|node| node.name.clone())
}

/// `GET /events`.
pub(crate) fn stream(call: &Call) -> Answer {
    let kinds = kinds(call)?;
    let after = match call.header("last-event-id").or(call.parameter("last_event_id")) {
        None | Some("") => None,
        // What is no identifier of ours can't be resumed after.
        Some(id) => Some(id.parse().unwrap_or(u64::MAX)),
    };
    let permit = Arc::clone(&call.app.event_streams)
        .try_acquire_owned()
        .map_err(|_| Failure::busy("too many event streams are open"))?;
    let mut keep_alive = interval(KEEP_ALIVE_INTERVAL);
    keep_alive.reset();
    let reader = Stream {
        reader: call.app.events.read(after, now_ms()),
        app: Arc::clone(&call.app),
        headers: call.headers.clone(),
        kinds,
        keep_alive,
        // At once, so that the client sees the stream open.
        preamble: Some(Bytes::from_static(b"retry: 1000\n\n")),
        _permit: permit,
    };
    let body = Body::from_stream(stream::unfold(reader, |mut reader| async move {
        let bytes = reader.next().await?;
        Some((Ok::<_, Infallible>(bytes), reader))
    }));
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, body).into_response())
}

fn kinds(call: &Call) -> Answer<Vec<String>> {
    let Some(list) = call.parameter("kinds") else { return Ok(Vec::new()) };
    let kinds: Vec<String> = list.split(',').map(|kind| kind.trim().to_owned()).collect();
    match kinds.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
        None => Ok(kinds),
        Some(unknown) => {
            let known = KINDS.join(", ");
            Err(Failure::parameter("kinds", format!("holds {unknown:?}; known are {known}")))
        }
    }
}

/// One open stream.
struct Stream {
    app: Arc<App>,
    headers: HeaderMap,
    kinds: Vec<String>,
    reader: Reader,
    keep_alive: Interval,
    preamble: Option<Bytes>,
    _permit: OwnedSemaphorePermit,
}

impl Stream {
    /// The next bytes to send; none when the stream ends.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(preamble) = self.preamble.take() {
            return Some(preamble);
        }
        loop {
            let event = match self.reader.missed.pop_front() {
                Some(event) => event,
                None => tokio::select! {
                    () = self.app.shutdown.cancelled() => return None,
                    _ = self.keep_alive.tick() => {
                        // Whoever may no longer read is not told more.
                        let caller = auth::authenticate(&self.app, &self.headers);
                        return caller.ok().flatten().map(|_| Bytes::from_static(b": alive\n\n"));
                    }
                    event = self.reader.live.recv() => match event {
                        Ok(event) => event,
                        Err(RecvError::Lagged(_)) => {
                            self.app.events.lagged(self.app.events.newest_id(), now_ms())
                        }
                        Err(RecvError::Closed) => return None,
                    },
                },
            };
            let kind = event.body.kind();
            let is_wanted = self.kinds.is_empty()
                || event.body == EventBody::Lagged
                || self.kinds.iter().any(|wanted| wanted == kind);
            if is_wanted {
                let data = serde_json::to_string(&*event).unwrap_or_default();
                return Some(format!("id: {}\nevent: {kind}\ndata: {data}\n\n", event.id).into());
            }
        }
    }
}

#[cfg(test)]
mod tests;
