//! `GET /tail`: records of requests as they are made on all traffic nodes, as server-sent events.
//!
//! ```text
//!   this node's feed ──────────────────────────┐
//!   other nodes' feeds ── asked in turns ──────┴─► Stream ─► client
//!                         (peer.rs, sessions)
//! ```
//! Invariant: nobody waits for the reader: what it can't take is left out where it is made, counted, and
//! the reader is told how much.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use ballast_model::tail::{RATE_DEFAULT_PER_S, RATE_MAX_PER_S, TEXT_MAX_BYTES, TailFilter};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use crate::app::{App, random_id};
use crate::auth;
use crate::call::Call;
use crate::failure::{Answer, Failure};
use crate::peer::{self, TailAsk};
use crate::route::TAIL_ROLE;
use crate::status::chain;

/// How often the reader is told what was left out.
const TELL_INTERVAL: Duration = Duration::from_secs(1);
/// How many of those intervals there are between two looks whether the reader may still read, with a
/// comment so that nobody takes the stream for dead.
const CHECK_TICKS: u32 = 15;
/// How long another node may take to answer, besides the time that it waits for records.
const PEER_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a node that does not answer is left alone.
const PEER_PAUSE: Duration = Duration::from_secs(2);
/// Events of other nodes on their way to the reader.
const MERGED_MAX_COUNT: usize = 256;

/// Records of one node as they are made.
pub trait TailFeed: Send {
    /// The next record, as a JSON object; none when the node has ended. Safe to cancel.
    fn next(&mut self) -> BoxFuture<'_, Option<String>>;

    /// How many records were left out since this was last asked.
    fn take_left_out(&self) -> u64;
}

/// `GET /tail`.
pub(crate) fn stream(call: &Call) -> Answer {
    let filter = filter(call)?;
    let app = &call.app;
    let nodes = nodes(call)?;
    let permit = Arc::clone(&app.event_streams)
        .try_acquire_owned()
        .map_err(|_| Failure::busy("too many event streams are open"))?;
    let own_name = app.store.node_name().to_owned();
    let own_id = app.store.node_id();
    let feed = match nodes.iter().any(|(_, id)| *id == own_id) {
        true => Some(app.node.tail(filter.clone()).map_err(|why| Failure::busy(&why))?),
        false => None,
    };
    let (sender, others) = mpsc::channel(MERGED_MAX_COUNT);
    let mut followers = JoinSet::new();
    for (name, id) in nodes.into_iter().filter(|(_, id)| *id != own_id) {
        let follow = Follow { app: Arc::clone(app), name, id, session: random_id() };
        followers.spawn(follow.run(filter.clone(), sender.clone()));
    }
    let mut tick = interval(TELL_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.reset();
    let reader = Stream {
        app: Arc::clone(app),
        headers: call.headers.clone(),
        own_name,
        feed,
        others,
        _followers: followers,
        _sender: sender,
        tick,
        tick_count: 0,
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

fn filter(call: &Call) -> Answer<TailFilter> {
    let text = |name: &str| match call.parameter(name) {
        None | Some("") => Ok(None),
        Some(text) if text.len() <= TEXT_MAX_BYTES => Ok(Some(text.to_owned())),
        Some(_) => Err(Failure::parameter(name, format!("is longer than {TEXT_MAX_BYTES} bytes"))),
    };
    let status = text("status")?.map(|text| text.parse()).transpose();
    let client = text("client")?.map(|text| text.parse()).transpose();
    let (rate, most) = (u64::from(RATE_DEFAULT_PER_S), u64::from(RATE_MAX_PER_S));
    Ok(TailFilter {
        virtual_server: text("virtual_server")?,
        pool: text("pool")?,
        member: text("member")?,
        status: status.map_err(|why| Failure::parameter("status", why))?,
        reason: text("reason")?,
        path_prefix: text("path_prefix")?,
        client: client.map_err(|why: String| Failure::parameter("client", why))?,
        min_duration_ms: call.number("min_duration_ms", 0, 0, u64::from(u32::MAX))?,
        // In range by the check.
        rate_max_per_s: call.number("rate_max_per_s", rate, 1, most)? as u32,
    })
}

/// The traffic nodes that are wanted, by name and number: those that are given, or all.
fn nodes(call: &Call) -> Answer<Vec<(String, u64)>> {
    let snapshot = call.app.snapshot();
    let all = snapshot.state.config.nodes.iter();
    let mut nodes: Vec<_> = all
        .filter(|node| node.spec.role == ballast_model::NodeRole::Traffic)
        .map(|node| (node.name.clone(), node.spec.node_id))
        .collect();
    if let Some(wanted) = call.parameter("node").filter(|wanted| !wanted.is_empty()) {
        nodes.retain(|(name, _)| name == wanted);
        if nodes.is_empty() {
            return Err(Failure::parameter("node", format!("{wanted:?} is no traffic node")));
        }
    }
    Ok(nodes)
}

/// An event of the stream.
enum Told {
    Record(String),
    LeftOut(u64),
    Unreachable(String),
}

impl Told {
    /// As it is sent. What a record is made of is JSON in one line.
    fn bytes(&self, node: &str) -> Bytes {
        let node = json!(node);
        let text = match self {
            Self::Record(record) => {
                let rest = record.strip_prefix('{').unwrap_or(record);
                format!("event: record\ndata: {{\"node\":{node},{rest}\n\n")
            }
            Self::LeftOut(count) => {
                let told = json!({ "node": node, "left_out_count": count });
                format!("event: left_out\ndata: {told}\n\n")
            }
            Self::Unreachable(why) => {
                let told = json!({ "node": node, "why": why });
                format!("event: unreachable\ndata: {told}\n\n")
            }
        };
        text.into()
    }
}

/// Follows another node.
struct Follow {
    app: Arc<App>,
    name: String,
    id: u64,
    session: String,
}

impl Follow {
    /// Ends with the reader.
    async fn run(self, filter: TailFilter, events: mpsc::Sender<Bytes>) {
        let ask = TailAsk { session: self.session.clone(), filter };
        let mut is_told = false;
        loop {
            let asked = peer::peer_tail(&self.app.store, self.id, &ask, PEER_TIMEOUT).await;
            let told = match asked {
                Ok(batch) => {
                    is_told = false;
                    let left_out =
                        (batch.left_out_count > 0).then_some(Told::LeftOut(batch.left_out_count));
                    let error = batch.error.map(Told::Unreachable);
                    let is_refused = error.is_some();
                    for told in
                        batch.records.into_iter().map(Told::Record).chain(left_out).chain(error)
                    {
                        if events.send(told.bytes(&self.name)).await.is_err() {
                            return;
                        }
                    }
                    if !is_refused {
                        continue;
                    }
                    None
                }
                Err(error) => Some(Told::Unreachable(chain(&error))),
            };
            if let Some(told) = told.filter(|_| !is_told)
                && events.send(told.bytes(&self.name)).await.is_err()
            {
                return;
            }
            is_told = true;
            sleep(PEER_PAUSE).await;
        }
    }
}

/// One open stream.
struct Stream {
    app: Arc<App>,
    headers: HeaderMap,
    own_name: String,
    /// None where this node's records are not wanted.
    feed: Option<Box<dyn TailFeed>>,
    others: mpsc::Receiver<Bytes>,
    /// End when this is dropped.
    _followers: JoinSet<()>,
    /// So that `others` does not end where there are none.
    _sender: mpsc::Sender<Bytes>,
    tick: Interval,
    tick_count: u32,
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
            let has_feed = self.feed.is_some();
            let feed = &mut self.feed;
            let own = async {
                match feed {
                    Some(feed) => feed.next().await,
                    None => None,
                }
            };
            // Cancel-safe: all branches only wait.
            tokio::select! {
                () = self.app.shutdown.cancelled() => return None,
                record = own, if has_feed => {
                    return Some(Told::Record(record?).bytes(&self.own_name));
                }
                event = self.others.recv() => return event,
                _ = self.tick.tick() => {}
            }
            self.tick_count += 1;
            let left_out_count = self.feed.as_ref().map_or(0, |feed| feed.take_left_out());
            if left_out_count > 0 {
                return Some(Told::LeftOut(left_out_count).bytes(&self.own_name));
            }
            if self.tick_count >= CHECK_TICKS {
                self.tick_count = 0;
                // Whoever may no longer read is not told more.
                let caller = auth::authenticate(&self.app, &self.headers).ok().flatten();
                caller.filter(|caller| caller.role >= TAIL_ROLE)?;
                return Some(Bytes::from_static(b": alive\n\n"));
            }
        }
    }
}
