//! High availability on a node: VRRP on real sockets, floating addresses, timeline.
//!
//! ```text
//! snapshot, readiness, health ──► control task ── commands ──► thread "vrrp" (engine) ──► kernel
//!                                      ▲                            │
//! status, events, timeline ◄───────────┴──── reports, published ◄───┘
//! ```
//!
//! Invariant: who owns an address is decided by VRRP on a thread of its own, which never waits for
//! Raft, the disk or the control runtime.

#![deny(unsafe_code)]

pub mod kernel;
pub mod preflight;
pub mod recordings;

mod control;
mod engine;
mod epoch;
mod handover;
mod heartbeat;
mod leaving;
mod pulse;
mod standing;
mod status;
mod succession;
mod thread;
mod timeline;
mod tracking;
mod wanted;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use ballast_model::Snapshot;
use ballast_model::event::EventBody;
use ballast_model::ha::HaTransition;
use ballast_model::status::PlaneStatus;
use ballast_raft_store::Store;
use ballast_vrrp::wire::{Signer, SigningKey, Verifier};
use futures_util::future::BoxFuture;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use succession::OwnedGroups;

use control::Judgements;
use engine::{Command, EngineOptions, Published};
use pulse::Pulse;
use thread::Scheduling;
use timeline::Timeline;
use tracking::Seen;

/// Commands that wait for the thread; it takes them many times a second.
const COMMAND_MAX_COUNT: usize = 1_024;
/// Reports that wait for the control task.
const REPORT_MAX_COUNT: usize = 1_024;
/// Events that a slow reader may be behind.
const EVENT_MAX_COUNT: usize = 256;
/// Number of the key that advertisements are signed with.
const ADVERT_KEY_ID: u32 = 1;
/// Longest wait for the thread to end, and how often it is looked.
const STOP_LIMIT: Duration = Duration::from_secs(3);
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// A thread that has not run for so long is told of.
const SILENCE_TOLD: Duration = Duration::from_secs(1);

/// What high availability is started with.
pub struct HaOptions {
    /// This node's name.
    pub node_name: String,
    /// Its number.
    pub node_id: u64,
    /// Where the timeline and the count of starts are kept.
    pub state_dir: PathBuf,
    /// What advertisements are signed with: derived from the cluster's key.
    pub advert_key: [u8; 32],
    /// Another process owns the groups still: nothing is said to other nodes before [`Ha::resume`].
    pub is_successor: bool,
}

/// What high availability asks of the node that it runs on.
pub trait TrafficView: Send + Sync + 'static {
    /// Whether the configuration is carried out and the first health round is done.
    ///
    /// # Errors
    /// What is being waited for, in a sentence.
    fn ready(&self) -> Result<(), String>;

    /// Whether the data plane forwards.
    ///
    /// # Errors
    /// Why not, in a sentence.
    fn data_plane_alive(&self) -> Result<(), String>;

    /// Share of a pool's members that are up; none while that is unknown.
    fn pool_up_percent(&self, pool: &str) -> Option<u8>;

    /// Lets idle clients of these addresses go, for `limit` at most.
    fn quiesce(&self, addresses: Vec<IpAddr>, limit: Duration) -> BoxFuture<'static, ()>;
}

/// Why high availability can't be started.
#[derive(Debug, thiserror::Error)]
pub enum HaError {
    /// The count of starts can't be read or stored.
    #[error("the count of starts in the state directory can't be kept")]
    Epoch(#[source] io::Error),
    /// The thread can't be started.
    #[error("the VRRP thread can't be started")]
    Thread(#[source] io::Error),
}

/// High availability of one node. Cloning is cheap.
#[derive(Clone)]
pub struct Ha(Arc<Inner>);

pub(crate) struct Inner {
    node_name: String,
    /// In which this process signs.
    epoch: u32,
    heard: Mutex<heartbeat::Heard>,
    /// Groups that are being moved on this node's account.
    moving: Mutex<BTreeSet<String>>,
    /// The index that the cluster's configuration had once this node had caught up with it.
    caught_up: OnceLock<u64>,
    /// Why it learns of no change any more.
    store_failure: OnceLock<String>,
    view: Arc<dyn TrafficView>,
    attached: ArcSwapOption<Attached>,
    /// Cancelled once this process speaks for the node.
    is_live: CancellationToken,
    commands: SyncSender<Command>,
    pulse: Arc<Pulse>,
    /// Commands that the thread did not take since it last took one.
    refused_count: AtomicU64,
    /// The thread misses something that it was told: it is told everything again.
    is_out_of_step: AtomicBool,
    wake: OwnedFd,
    published: Arc<ArcSwap<Published>>,
    snapshot: ArcSwap<Snapshot>,
    judgements: ArcSwap<Judgements>,
    /// What is seen of gateways and devices.
    seen: Mutex<Seen>,
    timeline: Mutex<Timeline>,
    events: broadcast::Sender<EventBody>,
    applied: watch::Sender<u64>,
    scheduling: ArcSwap<Scheduling>,
    stop: CancellationToken,
    /// Cancelled once the last report is in the timeline.
    reports_taken: CancellationToken,
    /// What the timeline's file should hold.
    image: watch::Sender<Option<Arc<timeline::Image>>>,
    tasks: TaskTracker,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Ha {
    /// Starts the thread and the control task. Nothing is owned before [`Ha::apply`]. Needs a tokio
    /// runtime.
    ///
    /// # Errors
    /// See [`HaError`]. A kernel that refuses sockets is no error here: status says so.
    pub fn start(options: HaOptions, view: Arc<dyn TrafficView>) -> Result<Self, HaError> {
        let epoch = epoch::next(&options.state_dir).map_err(HaError::Epoch)?;
        let wake = rustix::event::eventfd(
            0,
            rustix::event::EventfdFlags::NONBLOCK | rustix::event::EventfdFlags::CLOEXEC,
        )
        .map_err(|error| HaError::Thread(error.into()))?;
        let (commands, receiver) = std::sync::mpsc::sync_channel(COMMAND_MAX_COUNT);
        let (reports, report_receiver) = mpsc::channel(REPORT_MAX_COUNT);
        let (recordings, recording_receiver) = mpsc::channel(recordings::WAITING_MAX_COUNT);
        let published = Arc::new(ArcSwap::from_pointee(Published::default()));
        let key = || SigningKey::new(ADVERT_KEY_ID, &options.advert_key);
        let mut verifier = Verifier::new(options.node_id);
        verifier.accept_keys([key()]);
        let pulse = Arc::new(Pulse::new());
        let engine = EngineOptions {
            node_name: options.node_name.clone(),
            commands: receiver,
            pulse: Arc::clone(&pulse),
            wake: wake.try_clone().map_err(HaError::Thread)?,
            reports,
            recordings,
            published: Arc::clone(&published),
            signer: Signer::new(key(), options.node_id, epoch),
            verifier,
            is_released: false,
        };
        let inner = Arc::new(Inner {
            node_name: options.node_name,
            epoch,
            heard: Mutex::default(),
            moving: Mutex::default(),
            caught_up: OnceLock::new(),
            store_failure: OnceLock::new(),
            view,
            attached: ArcSwapOption::empty(),
            is_live: is_live(options.is_successor),
            commands,
            pulse,
            refused_count: AtomicU64::new(0),
            is_out_of_step: AtomicBool::new(false),
            wake,
            published,
            snapshot: ArcSwap::from_pointee(Snapshot::default()),
            judgements: ArcSwap::from_pointee(Judgements::default()),
            seen: Mutex::default(),
            timeline: Mutex::new(Timeline::open(&options.state_dir)),
            events: broadcast::channel(EVENT_MAX_COUNT).0,
            applied: watch::channel(0).0,
            scheduling: ArcSwap::from_pointee(Scheduling::default()),
            stop: CancellationToken::new(),
            reports_taken: CancellationToken::new(),
            image: watch::channel(None).0,
            tasks: TaskTracker::new(),
            thread: Mutex::new(None),
        });
        let for_thread = Arc::clone(&inner);
        let thread = std::thread::Builder::new()
            .name("vrrp".to_owned())
            .spawn(move || thread::run(&for_thread, engine))
            .map_err(HaError::Thread)?;
        *inner.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        inner.tasks.spawn(control::run(Arc::clone(&inner), report_receiver));
        inner.tasks.spawn(control::write_timeline(Arc::clone(&inner)));
        let stop = inner.stop.clone();
        inner.tasks.spawn(recordings::write(options.state_dir, recording_receiver, stop));
        inner.tasks.spawn(tracking::run(Arc::clone(&inner)));
        Ok(Self(inner))
    }

    /// Gives it the store, once it is open: from then on it talks with the other nodes.
    pub fn attach(&self, store: Store) {
        let attached = Arc::new(Attached { store, stop: self.0.stop.child_token() });
        self.0.attached.store(Some(Arc::clone(&attached)));
        self.0.tasks.spawn(heartbeat::run(Arc::clone(&self.0), Arc::clone(&attached)));
        self.0.tasks.spawn(control::catch_up(Arc::clone(&self.0), attached));
    }

    /// Takes the store away, before it is closed. Traffic groups go on; other nodes hear of them by
    /// advertisements alone until [`Ha::attach`] brings another.
    pub fn detach(&self) {
        if let Some(attached) = self.0.attached.swap(None) {
            attached.stop.cancel();
        }
    }

    /// Has the configuration carried out.
    pub fn apply(&self, snapshot: Arc<Snapshot>) {
        self.0.snapshot.store(Arc::clone(&snapshot));
        control::judge_all(&self.0);
        self.0.command(Command::Apply(snapshot));
    }

    /// The node learns of no change any more: it goes on with what it knows, and leaves its groups to
    /// nodes that do, where there are any.
    pub fn store_failed(&self, why: &str) {
        // The first reason is the one.
        let _set = self.0.store_failure.set(why.to_owned());
    }

    /// The index of the configuration that is carried out.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.0.applied.subscribe()
    }

    /// What this plane carries out, and what it can't.
    pub fn plane_status(&self) -> PlaneStatus {
        let published = self.0.published.load();
        let scheduling = self.0.scheduling.load();
        let silence = self.0.pulse.silence();
        let is_silent = silence > SILENCE_TOLD && scheduling.problem().is_none();
        let silent = is_silent
            .then(|| format!("the VRRP thread has not run for {} ms", silence.as_millis()));
        let stale = self.0.store_failure.get();
        let stale = stale.map(|why| format!("no change of the configuration comes through: {why}"));
        let problems = scheduling.problem().into_iter().chain(silent).chain(stale);
        let problems: Vec<_> = problems.chain(published.problems.iter().cloned()).collect();
        PlaneStatus {
            plane: "ha".to_owned(),
            applied_index: *self.0.applied.borrow(),
            error: (!problems.is_empty()).then(|| problems.join("; ")),
        }
    }

    /// The last transitions, the newest last.
    pub fn timeline(&self) -> Vec<HaTransition> {
        self.0.timeline.lock().unwrap_or_else(PoisonError::into_inner).all()
    }

    /// Follows transitions.
    pub fn events(&self) -> broadcast::Receiver<EventBody> {
        self.0.events.subscribe()
    }

    /// Ends the thread and the tasks; what is held still is given up.
    pub async fn shutdown(&self) {
        self.0.stop.cancel();
        self.0.pulse.ask_for_stop();
        self.0.command(Command::Stop);
        let thread = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let until = Instant::now() + STOP_LIMIT;
            let mut looks = tokio::time::interval(LOOK_INTERVAL);
            while !thread.is_finished() && Instant::now() < until {
                looks.tick().await;
            }
            if !thread.is_finished() {
                // The process ends all the same: its addresses go by their lease.
                tracing::error!("the VRRP thread hangs and is left behind");
            }
        }
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

/// A store, for as long as it is open.
pub(crate) struct Attached {
    store: Store,
    stop: CancellationToken,
}

fn is_live(is_successor: bool) -> CancellationToken {
    let is_live = CancellationToken::new();
    if !is_successor {
        is_live.cancel();
    }
    is_live
}

impl Inner {
    /// Tells the thread. A full channel means that it does not run, which status shows; it is told
    /// everything again once it does.
    fn command(&self, command: Command) {
        if self.commands.try_send(command).is_err() {
            self.is_out_of_step.store(true, Ordering::Release);
            let is_first = self.refused_count.fetch_add(1, Ordering::Relaxed) == 0;
            if is_first && !self.stop.is_cancelled() {
                tracing::error!("the VRRP thread takes no commands");
            }
            return;
        }
        let refused_count = self.refused_count.swap(0, Ordering::Relaxed);
        if refused_count > 0 {
            tracing::warn!(refused_count, "the VRRP thread takes commands again");
        }
        // It can't overflow: the thread resets it each time it wakes.
        let _written = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Floating addresses that are here now.
    fn held(&self) -> Vec<IpAddr> {
        let published = self.published.load();
        published.groups.iter().flat_map(|group| group.held.iter().copied()).collect()
    }
}
