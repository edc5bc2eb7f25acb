//! The thread that speaks VRRP: sockets and kernel on one side, a machine per group on the other.
//!
//! ```text
//! commands (channel + eventfd) ─┐                     ┌─► netlink: addresses, leased
//! raw sockets, drained first ───┼─► machines ─ effects┼─► raw sockets: advertisements
//! netlink monitor ──────────────┤   (ballast-vrrp)    ├─► frames: gratuitous ARP, NA
//! earliest deadline ────────────┘                     └─► reports (channel, never waits)
//! ```
//!
//! Invariant: nothing here waits for a disk, a log, a lock or a full channel. Addresses are leased
//! from the kernel, so that they go by themselves when this thread no longer runs.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use arc_swap::ArcSwap;
use ballast_model::Snapshot;
use ballast_vrrp::wire::{self, Signer, Verifier};
use ballast_vrrp::{Family, Input, PeerReport, Standing, Time};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;

use crate::kernel::{self, Device, FrameSocket, Netlink, VrrpSocket};
use crate::pulse::Pulse;

mod brake;
mod compare;
mod group;
mod owner;
mod recorder;
mod refusal;
mod rest;
mod virtual_mac;

use group::Running;
pub(crate) use group::{Published as GroupPublished, Report, Step};
pub(crate) use owner::Wait;

pub(crate) use recorder::Recording;
#[cfg(test)]
pub(crate) use recorder::recording_of_nothing;
pub(crate) use virtual_mac::alias as virtual_mac_alias;

use brake::Brake;
pub(crate) use brake::TAKEOVER_MAX_COUNT;
use virtual_mac::VirtualMacs;

/// How long the kernel keeps an address that nobody renews.
const LEASE: Duration = Duration::from_secs(4);
/// How often addresses are renewed.
const RENEW_INTERVAL: Duration = Duration::from_secs(1);
/// How often the status is published, without a cause.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(250);
/// Datagrams taken from one socket before the others have their turn.
const BURST_MAX_COUNT: usize = 256;
const DATAGRAM_MAX_BYTES: usize = 2_048;

/// What the thread is told.
pub(crate) enum Command {
    Apply(Arc<Snapshot>),
    Standing {
        group: String,
        standing: Standing,
    },
    /// A node's signatures of earlier epochs are worth nothing.
    Epoch {
        node_id: u64,
        epoch: u32,
    },
    Heartbeat {
        group: String,
        report: PeerReport,
    },
    /// The process of a node has ended, as its kernel says.
    HeartbeatClosed {
        node_id: u64,
    },
    TakeOver {
        group: String,
    },
    HandOver {
        group: String,
    },
    /// Let go of a group that another node is known to own.
    StepDown {
        group: String,
    },
    /// Groups that the process before this one owned: they go on as Active when they start. With whether an
    /// operator moved each here.
    Assume(BTreeMap<String, bool>),
    /// Do nothing more until told, with everything as it is: another process takes over. Answered when it
    /// is so.
    Rest {
        done: SyncSender<()>,
    },
    /// Go on after a rest: nobody took over.
    GoOn,
    /// End, and leave everything as it is: another process has taken over.
    Depart,
    /// This node goes soon: whoever can serve may take over.
    Leave,
    /// Let go of everything; answered when it is done.
    Release {
        done: SyncSender<()>,
    },
    Stop,
    /// Fails as a defect would.
    #[cfg(test)]
    Panic,
    /// Hangs until the other end is dropped.
    #[cfg(test)]
    Hang(Receiver<()>),
}

/// What the thread says of itself, for readers that may not disturb it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Published {
    pub(crate) groups: Vec<group::Published>,
    /// As they were compared last; none before the first time.
    pub(crate) devices: Arc<[Device]>,
    pub(crate) problems: Vec<String>,
    pub(crate) late_max_us: u64,
    /// Datagrams for a VRID that no group here has.
    pub(crate) unknown_vrid_total: u64,
    /// How often devices were looked up.
    pub(crate) lookups_total: u64,
}

/// What the thread is started with.
pub(crate) struct EngineOptions {
    pub(crate) node_name: String,
    pub(crate) commands: Receiver<Command>,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) wake: OwnedFd,
    pub(crate) reports: mpsc::Sender<Report>,
    pub(crate) recordings: mpsc::Sender<Recording>,
    pub(crate) published: Arc<ArcSwap<Published>>,
    pub(crate) signer: Signer,
    pub(crate) verifier: Verifier,
    /// Nothing is taken any more: the node stops.
    pub(crate) is_released: bool,
}

/// Everything that groups use in common.
pub(crate) struct Shell {
    pub(crate) netlink: Netlink,
    pub(crate) vrrp: BTreeMap<(u32, Family), VrrpSocket>,
    pub(crate) frames: BTreeMap<u32, FrameSocket>,
    pub(crate) signer: Signer,
    pub(crate) reports: mpsc::Sender<Report>,
    pub(crate) recordings: mpsc::Sender<Recording>,
    pub(crate) brake: Brake,
    pub(crate) is_leaving: bool,
}

impl Shell {
    /// Whether a group may move here though nobody died and nobody asked for it.
    fn may_volunteer(&self) -> bool {
        self.brake.may_volunteer(kernel::monotonic()) && !self.is_leaving
    }

    fn send_frame(&self, device: u32, frame: &[u8]) -> io::Result<()> {
        let socket = self.frames.get(&device);
        socket.ok_or_else(|| io::Error::other("there is no packet socket"))?.send(frame)
    }
}

pub(crate) struct Engine {
    node_name: String,
    commands: Receiver<Command>,
    pulse: Arc<Pulse>,
    wake: OwnedFd,
    published: Arc<ArcSwap<Published>>,
    verifier: Verifier,
    shell: Shell,
    devices: Arc<[Device]>,
    snapshot: Option<Arc<Snapshot>>,
    groups: BTreeMap<String, Running>,
    /// Standings of groups that are configured, whether they run here or not.
    standings: BTreeMap<String, Standing>,
    virtual_macs: VirtualMacs,
    /// Groups of the process before this one that did not start yet.
    assumed: BTreeMap<String, bool>,
    problems: Vec<String>,
    renew_at: Time,
    compare_at: Time,
    publish_at: Time,
    late_max_us: u64,
    unknown_vrid_total: u64,
    is_released: bool,
}

impl Engine {
    pub(crate) fn new(options: EngineOptions, netlink: Netlink) -> Self {
        let now = kernel::monotonic();
        Self {
            node_name: options.node_name,
            commands: options.commands,
            pulse: options.pulse,
            wake: options.wake,
            published: options.published,
            verifier: options.verifier,
            shell: Shell {
                netlink,
                vrrp: BTreeMap::new(),
                frames: BTreeMap::new(),
                signer: options.signer,
                reports: options.reports,
                recordings: options.recordings,
                brake: Brake::default(),
                is_leaving: false,
            },
            devices: Arc::default(),
            snapshot: None,
            groups: BTreeMap::new(),
            standings: BTreeMap::new(),
            virtual_macs: VirtualMacs::default(),
            assumed: BTreeMap::new(),
            problems: Vec::new(),
            renew_at: now,
            compare_at: now,
            publish_at: now,
            late_max_us: 0,
            unknown_vrid_total: 0,
            is_released: options.is_released,
        }
    }

    /// What the next engine is started with.
    pub(crate) fn into_options(self) -> EngineOptions {
        EngineOptions {
            node_name: self.node_name,
            commands: self.commands,
            pulse: self.pulse,
            wake: self.wake,
            reports: self.shell.reports,
            recordings: self.shell.recordings,
            published: self.published,
            signer: self.shell.signer,
            verifier: self.verifier,
            is_released: self.is_released,
        }
    }

    /// Hands out what led up to a failure.
    pub(crate) fn hand_out_recordings(&mut self) {
        for group in self.groups.values_mut() {
            group.hand_out_recording(&self.shell);
        }
    }

    /// Runs until [`Command::Stop`], or until nobody is left to give commands.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        loop {
            let late = self.wait()?;
            self.late_max_us =
                self.late_max_us.max(u64::try_from(late.as_micros()).unwrap_or(u64::MAX));
            // What waits in the sockets has been heard, before any timer is held to have run out.
            self.drain_sockets();
            // Where the kernel can't say what has changed, it is looked up.
            if self.shell.netlink.drain_monitor().unwrap_or(true) {
                self.compare();
            }
            loop {
                if self.pulse.must_stop() {
                    self.release_all();
                    return Ok(());
                }
                match self.commands.try_recv() {
                    Ok(Command::Stop) | Err(std::sync::mpsc::TryRecvError::Disconnected) => {
                        self.release_all();
                        return Ok(());
                    }
                    Ok(Command::Rest { done }) => {
                        if self.rest(&done) {
                            return Ok(());
                        }
                    }
                    Ok(command) => self.obey(command),
                    Err(std::sync::mpsc::TryRecvError::Empty) => break,
                }
            }
            if self.pulse.must_release() && !self.is_released {
                self.release_all();
                self.publish(kernel::monotonic());
            }
            self.tick();
            self.pulse.turn();
        }
    }

    fn next_deadline(&self) -> Time {
        let groups = self.groups.values().filter_map(Running::next_deadline);
        groups.chain([self.renew_at, self.compare_at, self.publish_at]).min().unwrap_or_default()
    }

    /// Sleeps until something comes in or is due; how late it woke for what was due.
    fn wait(&self) -> io::Result<Duration> {
        let deadline = self.next_deadline();
        let left = deadline.since(kernel::monotonic());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(1),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let mut fds: Vec<PollFd<'_>> =
            self.fds().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut count = [0; 8];
        // Nothing to read is no fault: the wake-up may have been something else's.
        let _count = rustix::io::read(&self.wake, &mut count);
        Ok(kernel::monotonic().since(deadline))
    }

    fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let sockets = self.shell.vrrp.values().map(AsFd::as_fd);
        [self.wake.as_fd(), self.shell.netlink.as_fd()].into_iter().chain(sockets)
    }

    fn drain_sockets(&mut self) {
        let mut buffer = [0; DATAGRAM_MAX_BYTES];
        for ((device, _), socket) in &self.shell.vrrp {
            for _ in 0..BURST_MAX_COUNT {
                let datagram = match socket.receive(&mut buffer) {
                    Ok(Some(datagram)) => datagram,
                    Ok(None) => break,
                    // Of one datagram, or of a device that is going: netlink tells of that.
                    Err(_) => continue,
                };
                let vrid = wire::peek_vrid(&datagram.payload);
                let group = self.groups.values_mut().find(|group| {
                    group.plan().device == *device && Some(group.plan().machine.vrid) == vrid
                });
                match group {
                    Some(group) => group.hear(&datagram, &mut self.verifier),
                    None => self.unknown_vrid_total += 1,
                }
            }
        }
        for group in self.groups.values_mut() {
            group.act_on_heard(&mut self.shell);
        }
    }

    fn tick(&mut self) {
        let now = kernel::monotonic();
        for group in self.groups.values_mut() {
            group.tick(&mut self.shell);
        }
        if now >= self.renew_at {
            self.renew_at = now + RENEW_INTERVAL;
            for group in self.groups.values_mut() {
                group.renew(&mut self.shell, LEASE);
            }
        }
        if now >= self.compare_at {
            self.compare();
        }
        let mut changed = false;
        for group in self.groups.values_mut() {
            changed |= group.take_changed();
        }
        if changed || now >= self.publish_at {
            self.publish(now);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Apply(snapshot) => {
                let index = snapshot.index;
                self.snapshot = Some(snapshot);
                self.compare();
                self.publish(kernel::monotonic());
                let _lost = self.shell.reports.try_send(Report::Applied { index });
            }
            Command::Standing { group, standing } => {
                self.standings.insert(group.clone(), standing);
                if let Some(running) = self.groups.get_mut(&group) {
                    running.set_standing(standing, &mut self.shell);
                }
            }
            Command::Epoch { node_id, epoch } => self.verifier.require_epoch(node_id, epoch),
            Command::Heartbeat { group, report } => self.give(&group, Input::Heartbeat(report)),
            Command::HeartbeatClosed { node_id } => {
                for group in self.groups.values_mut() {
                    group.handle(Input::HeartbeatClosed { node_id }, &mut self.shell);
                }
            }
            Command::TakeOver { group } => self.give(&group, Input::TakeOver),
            Command::HandOver { group } => self.give(&group, Input::HandOver),
            Command::StepDown { group } => self.give(&group, Input::StepDown),
            Command::Leave => {
                self.shell.is_leaving = true;
                self.give_standings();
            }
            Command::Release { done } => {
                self.release_all();
                self.publish(kernel::monotonic());
                // Nobody waiting any more is fine.
                let _told = done.try_send(());
            }
            Command::Assume(groups) => self.assumed = groups,
            // Only who rests departs, see `rest`.
            Command::Stop | Command::Rest { .. } | Command::GoOn | Command::Depart => {}
            #[cfg(test)]
            Command::Panic => panic!("as asked for"),
            #[cfg(test)]
            Command::Hang(until) => drop(until.recv()),
        }
    }

    fn give(&mut self, group: &str, input: Input) {
        if let Some(running) = self.groups.get_mut(group) {
            running.handle(input, &mut self.shell);
        }
    }

    fn give_standings(&mut self) {
        for group in self.groups.values_mut() {
            group.give_standing(&mut self.shell);
        }
    }

    fn release_all(&mut self) {
        self.is_released = true;
        for group in self.groups.values_mut() {
            group.handle(Input::Shutdown, &mut self.shell);
        }
        // Once nobody waits for anything: this takes longer.
        if let Ok(devices) = self.shell.netlink.devices() {
            let netlink = &mut self.shell.netlink;
            // The node ends: the next one tells of what it finds.
            let _problems = self.virtual_macs.tidy(&self.node_name, &[], &[], &devices, netlink);
        }
    }

    fn publish(&mut self, now: Time) {
        self.publish_at = now + PUBLISH_INTERVAL;
        let names = self.snapshot.as_ref().map(|snapshot| &snapshot.state.config.nodes);
        let name_of = |id: u64| {
            let mut nodes = names.iter().flat_map(|nodes| nodes.iter());
            nodes.find(|node| node.spec.node_id == id).map(|node| node.name.clone())
        };
        let shell = &self.shell;
        let groups =
            self.groups.values().map(|group| group.published(now, shell, &name_of)).collect();
        let refusals = self.groups.values().filter_map(Running::problem);
        let problems = self.problems.iter().cloned().chain(refusals).collect();
        self.published.store(Arc::new(Published {
            groups,
            devices: Arc::clone(&self.devices),
            problems,
            late_max_us: self.late_max_us,
            unknown_vrid_total: self.unknown_vrid_total,
            lookups_total: self.shell.netlink.lists_total(),
        }));
    }
}
