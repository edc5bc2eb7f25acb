//! The cluster as it is now: status by polling, events as they happen, and the configuration that
//! both are about.
//!
//! Invariant: what is shown is what the server said last; when it has stopped saying anything, that
//! is shown too.

use std::cell::RefCell;
use std::rc::Rc;

use ballast_client::{Client, ClientError, HaEventsQuery};
use ballast_model::event::{Event, EventBody};
use ballast_model::status::ClusterStatus;
use ballast_model::{
    MonitorSpec, NodeSpec, PoolSpec, Problem, Resource, TrafficGroupSpec, VirtualServerSpec,
};
use gloo_timers::callback::{Interval, Timeout};
use leptos::prelude::*;
use leptos::task::spawn_local;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::js_sys::Date;
use web_sys::{EventSource, MessageEvent};

use crate::ha::Timeline;
use crate::rates::Meter;
use crate::session::{Session, explain, unreachable};
use crate::summary;

/// How often the status is read, in ms. Counters have no events; everything else comes earlier.
const POLL_MS: u32 = 2_000;
/// Longest wait for an answer to that, in ms. A node waits 1.5 s for each other node.
const READ_MAX_MS: u64 = 6_000;
/// First wait before the stream of events is opened again, in ms; doubles up to the next one.
const RECONNECT_MIN_MS: u32 = 500;
/// Longest such wait, in ms.
const RECONNECT_MAX_MS: u32 = 10_000;
/// How many transitions of traffic groups are read.
const TIMELINE_COUNT: u32 = 100;
/// Kinds of events, as the stream names them.
const KINDS: [&str; 5] = ["config", "ha", "health", "lagged", "leader"];

/// How the console hears of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// Not yet.
    Connecting,
    /// Events come as they happen.
    Live,
    /// The stream is broken; the status is polled.
    Polling,
    /// Neither answers.
    Lost,
}

/// The declared resources.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Declared {
    pub(crate) index: u64,
    pub(crate) pools: Vec<Resource<PoolSpec>>,
    pub(crate) virtual_servers: Vec<Resource<VirtualServerSpec>>,
    pub(crate) monitors: Vec<Resource<MonitorSpec>>,
    pub(crate) nodes: Vec<Resource<NodeSpec>>,
    pub(crate) traffic_groups: Vec<Resource<TrafficGroupSpec>>,
}

/// Everything that pages show.
#[derive(Clone, Copy)]
pub(crate) struct Live {
    session: Session,
    pub(crate) status: RwSignal<Option<ClusterStatus>>,
    pub(crate) declared: RwSignal<Option<Declared>>,
    pub(crate) meter: RwSignal<Meter>,
    /// Transitions of traffic groups: those heard of, and once a page has asked for it, all.
    pub(crate) timeline: RwSignal<Timeline>,
    /// Why that could not be read.
    pub(crate) timeline_problem: RwSignal<Option<Problem>>,
    pub(crate) problem: RwSignal<Option<Problem>>,
    /// When the server answered last, in ms since the Unix epoch; 0 before it ever did.
    pub(crate) heard_ms: RwSignal<u64>,
    /// Now, as often as polled, for ages.
    pub(crate) now_ms: RwSignal<u64>,
    stream_open: RwSignal<bool>,
    status_works: RwSignal<bool>,
    /// The read that is under way.
    reading: StoredValue<Option<Reading>>,
    again: StoredValue<bool>,
    next: StoredValue<u64>,
}

/// A read of status and configuration.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Reading {
    number: u64,
    since_ms: u64,
}

impl Live {
    /// The page's news.
    pub(crate) fn here() -> Self {
        expect_context()
    }

    /// Starts to listen; stops with the present owner.
    pub(crate) fn start(session: Session) -> Self {
        let live = Self {
            session,
            status: RwSignal::new(None),
            declared: RwSignal::new(None),
            meter: RwSignal::new(Meter::default()),
            timeline: RwSignal::new(Timeline::default()),
            timeline_problem: RwSignal::new(None),
            problem: RwSignal::new(None),
            heard_ms: RwSignal::new(0),
            now_ms: RwSignal::new(now_ms()),
            stream_open: RwSignal::new(false),
            status_works: RwSignal::new(true),
            reading: StoredValue::new(None),
            again: StoredValue::new(false),
            next: StoredValue::new(0),
        };
        live.refresh();
        let poll = Interval::new(POLL_MS, move || {
            live.now_ms.try_set(now_ms());
            live.give_up_reading();
            if !document().hidden() {
                live.refresh();
            }
        });
        let stream = Stream::open(live);
        let kept = StoredValue::new_local(Some((poll, stream)));
        on_cleanup(move || {
            if let Some(Some((_, stream))) = kept.try_update_value(Option::take) {
                stream.close();
            }
        });
        live
    }

    /// How the console hears of news.
    pub(crate) fn link(self) -> Link {
        match (self.stream_open.get(), self.status_works.get()) {
            (_, false) => Link::Lost,
            (_, true) if self.heard_ms.get() == 0 => Link::Connecting,
            (true, true) => Link::Live,
            (false, true) => Link::Polling,
        }
    }

    /// Reads status and configuration now, or once more if that is under way.
    pub(crate) fn refresh(self) {
        let Some(reading) = self.reading.try_get_value() else { return };
        if reading.is_some() {
            self.again.set_value(true);
            return;
        }
        let number = self.next.get_value();
        self.next.set_value(number + 1);
        let reading = Some(Reading { number, since_ms: now_ms() });
        self.reading.set_value(reading);
        let client = self.session.client();
        spawn_local(async move {
            let read = self.read(&client).await;
            // The page is gone, or this read was given up and another has begun.
            if self.reading.try_get_value() != Some(reading) {
                return;
            }
            self.reading.set_value(None);
            match read {
                Ok(()) => {
                    self.status_works.set(true);
                    self.problem.set(None);
                }
                Err(error) if error.status() == Some(401) => self.session.expired(),
                Err(error) => self.lost(explain(&error)),
            }
            if self.again.try_get_value() == Some(true) {
                self.again.set_value(false);
                self.refresh();
            }
        });
    }

    /// Reads what all nodes remember of their traffic groups.
    pub(crate) fn read_timeline(self) {
        let client = self.session.client();
        spawn_local(async move {
            let query = HaEventsQuery { limit: Some(TIMELINE_COUNT), ..HaEventsQuery::default() };
            match client.ha_events(&query).await {
                Ok(read) => {
                    self.timeline_problem.try_set(None);
                    self.timeline.try_update(|timeline| timeline.read(read));
                }
                Err(error) => {
                    self.timeline_problem.try_set(Some(explain(&error)));
                }
            }
        });
    }

    /// Reads it once more, where a page has asked for it: events may have been missed.
    fn read_timeline_again(self) {
        if self.timeline.try_with_untracked(|timeline| timeline.is_read) == Some(true) {
            self.read_timeline();
        }
    }

    /// A connection that was cut without a word never answers: its read must not be waited for.
    fn give_up_reading(self) {
        let reading = self.reading.try_get_value().flatten();
        if reading.is_some_and(|reading| now_ms() > reading.since_ms + READ_MAX_MS) {
            self.reading.set_value(None);
            self.lost(unreachable());
        }
    }

    fn lost(self, problem: Problem) {
        self.status_works.set(false);
        self.problem.set(Some(problem));
    }

    async fn read(self, client: &Client) -> Result<(), ClientError> {
        let status = client.status().await?;
        let index = status.index;
        let known = self.declared.try_with_untracked(|d| d.as_ref().map(|d| d.index)).flatten();
        let declared = if known == Some(index) {
            None
        } else {
            Some(Declared {
                index,
                pools: client.list_all().await?,
                virtual_servers: client.list_all().await?,
                monitors: client.list_all().await?,
                nodes: client.list_all().await?,
                traffic_groups: client.list_all().await?,
            })
        };
        let now = now_ms();
        // Each is skipped where the page is gone.
        self.now_ms.try_set(now);
        self.heard_ms.try_set(now);
        self.meter.try_update(|meter| meter.observe(crate::format::f64_of(now), &status));
        if let Some(declared) = declared {
            let same = self.declared.try_with_untracked(|old| {
                old.as_ref()
                    .is_some_and(|old| Declared { index: old.index, ..declared.clone() } == *old)
            });
            if same == Some(true) {
                // Only the index moved on: nothing to draw anew.
                self.declared.try_update_untracked(|old| {
                    if let Some(old) = old {
                        old.index = declared.index;
                    }
                });
            } else {
                self.declared.try_set(Some(declared));
            }
        }
        self.status.try_set(Some(status));
        Ok(())
    }

    fn take(self, event: &Event) {
        self.status.try_update(|status| {
            if let Some(status) = status {
                summary::apply_event(status, event);
            }
        });
        if let EventBody::Ha { transition } = &event.body {
            self.timeline.try_update(|timeline| timeline.insert(transition.clone()));
        }
        if matches!(event.body, EventBody::Lagged) {
            self.read_timeline_again();
            self.declared.try_update_untracked(|declared| {
                if let Some(declared) = declared {
                    declared.index = 0;
                }
            });
        }
        self.refresh();
    }
}

/// The browser's clock, in ms since the Unix epoch.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a time after 1970, in whole ms"
)]
pub(crate) fn now_ms() -> u64 {
    Date::now() as u64
}

/// A moment as a clock here shows it, to the ms; with the date where that is not today's.
pub(crate) fn clock(at_ms: u64) -> String {
    let at = Date::new(&crate::format::f64_of(at_ms).into());
    let today = Date::new_0();
    let (hours, minutes) = (at.get_hours(), at.get_minutes());
    let (seconds, ms) = (at.get_seconds(), at.get_milliseconds());
    let time = format!("{hours:02}:{minutes:02}:{seconds:02}.{ms:03}");
    let day = |date: &Date| (date.get_full_year(), date.get_month() + 1, date.get_date());
    let (year, month, date) = day(&at);
    if day(&today) == (year, month, date) {
        time
    } else {
        format!("{year}-{month:02}-{date:02} {time}")
    }
}

/// The stream of events. `EventSource` reconnects by itself where the connection breaks, but gives
/// up where the server answers anything else: then it is made anew here.
#[derive(Clone)]
struct Stream(Rc<RefCell<StreamState>>);

struct StreamState {
    live: Live,
    source: Option<EventSource>,
    retry: Option<Timeout>,
    wait_ms: u32,
    closed: bool,
    /// Alive as long as the source may call them.
    handlers: Vec<Closure<dyn Fn(MessageEvent)>>,
}

impl Stream {
    fn open(live: Live) -> Self {
        let state = StreamState {
            live,
            source: None,
            retry: None,
            wait_ms: RECONNECT_MIN_MS,
            closed: false,
            handlers: Vec::new(),
        };
        let stream = Self(Rc::new(RefCell::new(state)));
        stream.connect();
        stream
    }

    fn connect(&self) {
        let live = self.0.borrow().live;
        let url = live.session.client().events_url(&[]);
        let Ok(source) = EventSource::new(&url) else { return self.retry_later() };
        let on_event = Closure::new(move |message: MessageEvent| {
            let data = message.data().as_string().unwrap_or_default();
            match ballast_client::sse::event(&data) {
                Ok(event) => live.take(&event),
                // A kind that this console does not know yet: read everything.
                Err(_) => live.refresh(),
            }
        });
        for kind in KINDS {
            // Fails only for names that are no strings.
            let _ =
                source.add_event_listener_with_callback(kind, on_event.as_ref().unchecked_ref());
        }
        let this = Rc::downgrade(&self.0);
        let on_open = Closure::new(move |_: MessageEvent| {
            if let Some(state) = this.upgrade() {
                state.borrow_mut().wait_ms = RECONNECT_MIN_MS;
            }
            live.stream_open.try_set(true);
            live.read_timeline_again();
            live.refresh();
        });
        source.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        let this = Rc::downgrade(&self.0);
        let on_error = Closure::new(move |_: MessageEvent| {
            live.stream_open.try_set(false);
            let Some(state) = this.upgrade() else { return };
            let gave_up = state
                .borrow()
                .source
                .as_ref()
                .is_some_and(|source| source.ready_state() == EventSource::CLOSED);
            if gave_up {
                Stream(state).retry_later();
            }
        });
        source.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        let mut state = self.0.borrow_mut();
        state.handlers = vec![on_event, on_open, on_error];
        state.source = Some(source);
    }

    fn retry_later(&self) {
        let mut state = self.0.borrow_mut();
        if state.closed {
            return;
        }
        let this = self.clone();
        state.retry = Some(Timeout::new(state.wait_ms, move || this.connect()));
        state.wait_ms = (state.wait_ms * 2).min(RECONNECT_MAX_MS);
    }

    fn close(&self) {
        let mut state = self.0.borrow_mut();
        state.closed = true;
        state.retry = None;
        if let Some(source) = state.source.take() {
            source.close();
        }
    }
}
