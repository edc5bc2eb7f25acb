//! HTTP/2 to members (RFC 9113): few connections of this worker to each, many requests on each of them.
//!
//! ```text
//!   Exchange ─ HTTP/1.1 ─► Http2Stream ┐
//!   Exchange ─ HTTP/1.1 ─► Http2Stream ┼─ h2 ─► one connection      its task: drives it, and ends with it
//!   Exchange ─ HTTP/1.1 ─► Http2Stream ┘
//! ```
//! Everything above sees a stream of bytes that speaks HTTP/1.1, and so holds for both versions.
//!
//! Invariant: a connection carries at most as many streams as the member and the pool allow; one that
//! the member is about to close gets no further ones.

pub(crate) mod head;
pub(crate) mod stream;
mod wire;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ballast_model::PoolHttp2;
use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Ping, PingPong};
use tokio::sync::Notify;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::codec::response::HEADER_MAX_BYTES;
use crate::member::http2::wire::Wire;
use crate::member::{ConnectError, MemberStream};

pub(crate) use stream::{Fault, Http2Stream};

/// What a member may send of one response before the client has taken it, in bytes. Each stream has its
/// window to itself: clients that read slowly hold up no others.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// What a stream may have waiting for the member, in bytes.
const SEND_BUFFER_MAX_BYTES: usize = 64 * 1024;

/// A connection gets no further requests once some have waited so long on it, one after another or at
/// once, and were given up while nothing at all came from the member.
const SUSPICIOUS_SILENCE: Duration = Duration::from_secs(1);

/// This worker's HTTP/2 connections to a member.
#[derive(Debug, Default)]
pub(crate) struct Http2Connections {
    open: RefCell<Vec<Rc<Connection>>>,
    /// Whether one is being opened: others wait for it rather than open one each.
    is_opening: Cell<bool>,
    /// Told when a stream or a connection comes free.
    changed: Rc<Notify>,
}

/// A connection. It is closed once nobody holds it: the task that drives it then says goodbye.
#[derive(Debug)]
pub(crate) struct Connection {
    send: SendRequest<Bytes>,
    is_tls: bool,
    vitals: Rc<Vitals>,
    /// Since when it carries no stream, in ms of the worker's clock; none while it does.
    idle_since_ms: Cell<Option<u64>>,
    changed: Rc<Notify>,
}

/// What a connection and its task share.
#[derive(Debug, Default)]
struct Vitals {
    stream_count: Cell<u32>,
    /// Gets no further streams.
    is_closing: Cell<bool>,
    /// Whether the first frame that the member sends, its SETTINGS, has been read from the connection.
    is_settings_read: Cell<bool>,
    /// Whether what it says is known.
    has_settings: Cell<bool>,
    /// Told when it is, and at the end.
    told: Notify,
    /// Reads that brought anything.
    read_count: Cell<u64>,
    /// How long requests that were given up have waited since the last of them.
    silence: Cell<Duration>,
    /// Until when that is counted.
    silent_until: Cell<Option<Instant>>,
}

impl Vitals {
    fn read(&self) {
        self.read_count.set(self.read_count.get() + 1);
        self.silence.set(Duration::ZERO);
    }

    /// Takes in that a request was given up for which nothing came since `asked`. Time in which no
    /// request waited does not count, and that in which several did counts once.
    fn given_up(&self, asked: Instant) {
        let now = Instant::now();
        let from = self.silent_until.replace(Some(now)).map_or(asked, |until| until.max(asked));
        let silence = self.silence.get() + now.saturating_duration_since(from);
        self.silence.set(silence.max(now.saturating_duration_since(asked)));
        if self.silence.get() >= SUSPICIOUS_SILENCE {
            // Nothing says that anybody is there.
            self.is_closing.set(true);
        }
    }
}

impl Http2Connections {
    /// A stream on a connection that is there, if one has room.
    pub(crate) fn stream(&self, settings: &PoolHttp2) -> Option<Http2Stream> {
        let mut open = self.open.borrow_mut();
        open.retain(|connection| connection.is_usable());
        let found = open.iter().find(|connection| connection.has_room(settings))?;
        Some(Http2Stream::new(Rc::clone(found)))
    }

    /// A stream for a WebSocket on a connection that is there, if one has room and its member has said
    /// that it can.
    pub(crate) fn tunnel(&self, settings: &PoolHttp2) -> Option<Http2Stream> {
        let mut open = self.open.borrow_mut();
        open.retain(|connection| connection.is_usable());
        let can = |connection: &&Rc<Connection>| {
            connection.has_room(settings) && connection.send.is_extended_connect_protocol_enabled()
        };
        Some(Http2Stream::new(Rc::clone(open.iter().find(can)?)).tunneling())
    }

    /// A stream on whichever connection has room, or on one that `connect` makes. `fresh` prefers the
    /// latter: a stream on one that was there has just failed. `is_crowded` tells why it waits, if it
    /// does: whether for a stream that others have, rather than for the member.
    pub(crate) async fn open(
        &self,
        settings: &PoolHttp2,
        fresh: bool,
        is_crowded: &Cell<bool>,
        connect: impl AsyncFn() -> Result<MemberStream, ConnectError>,
    ) -> Result<Http2Stream, ConnectError> {
        let max_count = settings.connection_max_count as usize;
        loop {
            let may_open = self.open.borrow().len() < max_count;
            if !(fresh && may_open)
                && let Some(stream) = self.stream(settings)
            {
                return Ok(stream);
            }
            if may_open && !self.is_opening.get() {
                let _opening = Opening::new(self);
                let connection = self.establish(connect().await?, settings).await?;
                self.open.borrow_mut().push(Rc::clone(&connection));
                return Ok(Http2Stream::new(connection));
            }
            is_crowded.set(!self.is_opening.get());
            self.changed.notified().await;
            is_crowded.set(false);
        }
    }

    async fn establish(
        &self,
        stream: MemberStream,
        settings: &PoolHttp2,
    ) -> Result<Rc<Connection>, ConnectError> {
        let vitals = Rc::<Vitals>::default();
        let is_tls = matches!(stream, MemberStream::Tls(_));
        let wire = Wire::new(stream, Rc::clone(&vitals));
        let (send, connection) =
            builder(settings).handshake(wire).await.map_err(|error| ConnectError::http2(&error))?;
        let pings = settings.ping_interval_ms.map(Duration::from_millis);
        let driven = drive(connection, pings, Rc::clone(&vitals), Rc::clone(&self.changed));
        // Ends by itself once nobody holds the connection, or with the worker.
        drop(tokio::task::spawn_local(driven));
        let changed = Rc::clone(&self.changed);
        let idle_since_ms = Cell::new(None);
        Ok(Rc::new(Connection { send, is_tls, vitals, idle_since_ms, changed }))
    }

    /// Closes what is not used any more, or has been idle for `timeout_ms`. Whether any is left.
    pub(crate) fn sweep(&self, now_ms: u64, timeout_ms: u64) -> bool {
        let mut open = self.open.borrow_mut();
        open.retain(|connection| connection.is_usable() && !connection.is_old(now_ms, timeout_ms));
        !open.is_empty()
    }

    /// Closes all, once what is under way on them has ended.
    pub(crate) fn close(&self) {
        self.open.borrow_mut().clear();
    }
}

impl Connection {
    /// Waits until the member's first SETTINGS are here, or the connection's end: whether it can be asked
    /// for WebSockets (RFC 8441 §3).
    async fn can_tunnel(&self) -> bool {
        while !self.vitals.has_settings.get() && !self.vitals.is_closing.get() {
            self.vitals.told.notified().await;
        }
        self.send.is_extended_connect_protocol_enabled()
    }

    fn is_usable(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        // An error: it has failed, or the member has said that it closes it (`GOAWAY`).
        let is_gone = matches!(self.send.clone().poll_ready(&mut cx), Poll::Ready(Err(_)));
        !is_gone && !self.vitals.is_closing.get()
    }

    fn has_room(&self, settings: &PoolHttp2) -> bool {
        let allowed = self.send.current_max_send_streams().min(settings.stream_max_count as usize);
        (self.vitals.stream_count.get() as usize) < allowed
    }

    fn is_old(&self, now_ms: u64, timeout_ms: u64) -> bool {
        if self.vitals.stream_count.get() > 0 {
            self.idle_since_ms.set(None);
            return false;
        }
        let since_ms = self.idle_since_ms.get().unwrap_or(now_ms);
        self.idle_since_ms.set(Some(since_ms));
        now_ms.saturating_sub(since_ms) >= timeout_ms
    }
}

/// Counts a stream as open on its connection.
#[derive(Debug)]
struct StreamGuard {
    connection: Rc<Connection>,
    /// When the request was sent and what had been read by then; none before, and once it is answered.
    asked: Option<(Instant, u64)>,
}

impl StreamGuard {
    fn new(connection: Rc<Connection>) -> Self {
        let vitals = &connection.vitals;
        vitals.stream_count.set(vitals.stream_count.get() + 1);
        Self { connection, asked: None }
    }

    fn asked(&mut self) {
        self.asked = Some((Instant::now(), self.connection.vitals.read_count.get()));
    }

    fn answered(&mut self) {
        self.asked = None;
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        let Connection { vitals, changed, .. } = &*self.connection;
        vitals.stream_count.set(vitals.stream_count.get() - 1);
        if let Some((at, read_count)) = self.asked
            && read_count == vitals.read_count.get()
        {
            vitals.given_up(at);
        }
        changed.notify_one();
    }
}

/// Keeps others from opening a connection too.
struct Opening<'a>(&'a Http2Connections);

impl<'a> Opening<'a> {
    fn new(connections: &'a Http2Connections) -> Self {
        connections.is_opening.set(true);
        Self(connections)
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.is_opening.set(false);
        // Whether it was opened or not: who waits looks for itself.
        self.0.changed.notify_waiters();
    }
}

fn builder(settings: &PoolHttp2) -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(STREAM_WINDOW_BYTES * settings.stream_max_count)
        .max_header_list_size(HEADER_MAX_BYTES as u32)
        .max_send_buffer_size(SEND_BUFFER_MAX_BYTES);
    builder
}

/// Drives a connection to its end: that of the connection, or an unanswered `PING`.
async fn drive(
    mut connection: h2::client::Connection<Wire, Bytes>,
    ping_interval: Option<Duration>,
    vitals: Rc<Vitals>,
    changed: Rc<Notify>,
) {
    let mut pings =
        ping_interval.and_then(|every| Some(Pings::new(connection.ping_pong()?, every)));
    std::future::poll_fn(|cx| {
        if Pin::new(&mut connection).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        // What was read is taken in by the time that there is nothing more to do.
        if vitals.is_settings_read.get() && !vitals.has_settings.replace(true) {
            vitals.told.notify_waiters();
        }
        match &mut pings {
            Some(pings) => pings.poll_dead(cx, vitals.stream_count.get() > 0),
            None => Poll::Pending,
        }
    })
    .await;
    vitals.is_closing.set(true);
    vitals.told.notify_waiters();
    // Streams that are left are told by this.
    drop(connection);
    changed.notify_waiters();
}

/// Tests whether a member is still there (RFC 9113 §6.7).
struct Pings {
    ping_pong: PingPong,
    ticks: Interval,
    is_awaited: bool,
}

impl Pings {
    fn new(ping_pong: PingPong, every: Duration) -> Self {
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ping_pong, ticks, is_awaited: false }
    }

    /// Ready when a ping was not answered until the next was due.
    fn poll_dead(&mut self, cx: &mut Context<'_>, is_in_use: bool) -> Poll<()> {
        if self.is_awaited && self.ping_pong.poll_pong(cx).is_ready() {
            self.is_awaited = false;
        }
        while self.ticks.poll_tick(cx).is_ready() {
            if self.is_awaited {
                return Poll::Ready(());
            }
            if is_in_use && self.ping_pong.send_ping(Ping::opaque()).is_ok() {
                self.is_awaited = self.ping_pong.poll_pong(cx).is_pending();
            }
        }
        Poll::Pending
    }
}
