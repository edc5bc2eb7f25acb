//! An upgrade: this process starts the program that is on the disk now, gives it every listening socket, lets
//! it have the store and the traffic groups, and ends when its last client has.
//!
//! ```text
//! serving ─► prepared? ─► store closed ─► serving? ─► VRRP rests ─► owning? ─► clients end ─► gone
//!                │                            │                         │
//!                └── no: nothing has changed  └──── no: the new process is killed, everything is taken back
//! ```
//!
//! Invariant: traffic is served throughout, by this process, the new one, or both; and a new process that does
//! not come up costs nothing but the time in which the configuration could not be changed here.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitStatus;
use std::time::Duration;

use ballast_raft_store::identity;
use ballast_upgrade::channel::{DESCRIPTOR_MAX_COUNT, pack, pack_bytes};
use ballast_upgrade::message::OwnedGroup;
use ballast_upgrade::{ChannelError, Hello, Successor, ToNew, ToOld, manager};
use tokio::time::{Instant, timeout, timeout_at};

use crate::assembly::Node;
use crate::control_plane::ControlPlane;
use crate::signals::{Signals, Stop, Told};

mod heir;
mod moved;

pub(crate) use heir::Heir;

/// How long a new process may take to own the traffic groups that rest meanwhile. Within it their addresses
/// last, and at most intervals no other node has held them for abandoned.
const OWN_LIMIT: Duration = Duration::from_secs(2);
/// How long a process that has hung up may take to end.
const END_LIMIT: Duration = Duration::from_secs(2);
/// Longest time for what is said after the groups are owned.
const DONE_LIMIT: Duration = Duration::from_secs(5);
/// The protocol that knows of clients, rate limits and sessions of datagrams.
const PARCELS_PROTOCOL: u32 = 2;

/// What the service manager shows after an upgrade that failed.
const FAILED_STATUS: &str = "serving; the last upgrade failed";

/// What became of an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upgraded {
    /// The new process serves; this one is to end.
    Done,
    /// It does not; this one serves as before.
    Failed,
    /// This one was told to stop meanwhile.
    Told(Stop),
}

/// What of clients and rate limits goes along.
#[derive(Clone, Copy, Debug)]
enum Learned {
    All,
    SinceThen,
}

/// Why an upgrade does not go on.
enum Broken {
    Failed(String),
    Told(Stop),
}

impl From<ChannelError> for Broken {
    fn from(error: ChannelError) -> Self {
        let mut why = error.to_string();
        if let ChannelError::Io(source) = &error {
            why = format!("{why}: {source}");
        }
        Self::Failed(why)
    }
}

/// The new process, and what is heard meanwhile.
struct Talk<'a> {
    successor: &'a mut Successor,
    signals: &'a mut Signals,
    until: Instant,
}

impl Node {
    /// Hands over to a new process.
    pub(crate) async fn upgrade(&mut self, signals: &mut Signals) -> Upgraded {
        let Some(line) = &self.line else {
            tracing::error!("this node can't be upgraded while it runs: nothing of it is kept");
            return Upgraded::Failed;
        };
        if self.control.is_none() {
            tracing::error!("no upgrade without a store: restart ballastd");
            return Upgraded::Failed;
        }
        let program = line.program().display().to_string();
        manager::upgrading();
        let mut successor = match Successor::start(line) {
            Ok(successor) => successor,
            Err(error) => {
                manager::ready(FAILED_STATUS);
                tracing::error!(program, %error, "the upgrade failed: the program can't be started");
                return Upgraded::Failed;
            }
        };
        let pid = successor.pid();
        tracing::info!(program, pid, "an upgrade begins");
        let until = Instant::now() + self.shared.config.upgrade_timeout;
        let mut talk = Talk { successor: &mut successor, signals, until };
        let broken = match self.hand_over(&mut talk).await {
            Ok(()) => {
                tracing::info!(
                    pid,
                    "the new process serves; this one waits for its clients to end"
                );
                if let Some(heir) = &self.heir {
                    // Whoever does not hear it has ended.
                    let _told = timeout(END_LIMIT, heir.say(ToOld::Succeeded)).await;
                }
                self.successor = Some(successor);
                return Upgraded::Done;
            }
            Err(broken) => broken,
        };
        successor.kill().await;
        if let Some(ha) = &self.shared.ha {
            // Where it did not rest, that is nothing to it.
            ha.go_on();
        }
        match broken {
            Broken::Told(stop) => Upgraded::Told(stop),
            Broken::Failed(why) => {
                tracing::error!(pid, why, "the upgrade failed: this process goes on");
                self.take_back().await;
                manager::ready(FAILED_STATUS);
                Upgraded::Failed
            }
        }
    }

    async fn hand_over(&mut self, talk: &mut Talk<'_>) -> Result<(), Broken> {
        let node_id = match &self.control {
            Some(control) => control.store().node_id(),
            None => return Err(Broken::Failed("the store is not open".to_owned())),
        };
        let hello = Hello::new(env!("CARGO_PKG_VERSION"), node_id);
        talk.say(&ToNew::Hello(hello.clone()), &[]).await?;
        let protocol = match talk.hear().await? {
            ToOld::Hello(other) => hello.accepts(&other).map_err(Broken::Failed)?,
            other => return Err(unexpected(&other)),
        };
        let sockets = self.share().await.map_err(|error| Broken::Failed(error.to_string()))?;
        for batch in sockets.chunks(DESCRIPTOR_MAX_COUNT) {
            let batch: Vec<BorrowedFd<'_>> = batch.iter().map(AsFd::as_fd).collect();
            talk.say(&ToNew::Sockets, &batch).await?;
        }
        drop(sockets);
        talk.say(&ToNew::SocketsDone, &[]).await?;
        talk.expect(&ToOld::Prepared).await?;

        let (index, members) = self.let_go_of_store().await?;
        let mut parcels = Vec::new();
        if protocol >= PARCELS_PROTOCOL {
            parcels.extend(self.pack_learned(Learned::All).await);
        }
        parcels.push(members);
        let parcels: Vec<BorrowedFd<'_>> = parcels.iter().map(AsFd::as_fd).collect();
        talk.say(&ToNew::Go { index }, &parcels).await?;
        talk.expect(&ToOld::Serving).await?;

        let groups = match &self.shared.ha {
            Some(ha) => ha.rest().await.map_err(Broken::Failed)?,
            None => Default::default(),
        };
        let named = groups.into_iter().map(|(name, is_manual)| OwnedGroup { name, is_manual });
        talk.until = Instant::now() + OWN_LIMIT;
        talk.say(&ToNew::Own { groups: named.collect() }, &[]).await?;
        talk.expect(&ToOld::Owning).await?;
        if let Some(ha) = &self.shared.ha {
            ha.depart();
        }
        // From here on the new process is the node, whatever it hears.
        talk.until = Instant::now() + DONE_LIMIT;
        let rest = async {
            let mut changes = None;
            if protocol >= PARCELS_PROTOCOL {
                self.hand_sessions_over(talk).await?;
                changes = self.pack_learned(Learned::SinceThen).await;
            }
            let changes: Vec<BorrowedFd<'_>> = changes.iter().map(AsFd::as_fd).collect();
            talk.say(&ToNew::Done, &changes).await
        };
        match timeout(DONE_LIMIT, rest).await {
            Ok(Ok(())) => {}
            Ok(Err(Broken::Failed(why))) => {
                tracing::warn!(why, "the new process does not hear what is left to say");
            }
            Ok(Err(Broken::Told(_))) => {}
            Err(_) => tracing::warn!("the new process takes too long to hear what is left to say"),
        }
        Ok(())
    }

    /// Gives the sessions of datagrams away. What can't be said any more ends here, and is written down as
    /// such.
    async fn hand_sessions_over(&self, talk: &mut Talk<'_>) -> Result<(), Broken> {
        let Some(traffic) = &self.shared.traffic else { return Ok(()) };
        traffic.follow_access_log(true);
        let mut left = traffic.give_sessions().await;
        let count = left.len();
        while !left.is_empty() {
            let rest = left.split_off(left.len().min(DESCRIPTOR_MAX_COUNT));
            let batch = std::mem::replace(&mut left, rest);
            let sockets: Vec<_> = batch.iter().map(|session| session.socket.as_fd()).collect();
            let sessions = batch.iter().map(|session| moved::told(&session.facts)).collect();
            talk.say(&ToNew::Sessions { sessions }, &sockets).await?;
            batch.into_iter().for_each(|session| session.delivery.confirm());
        }
        tracing::info!(count, "sessions of datagrams are handed over");
        Ok(())
    }

    /// What is known of clients and rate limits; none on a node without traffic, or where it can't be had.
    async fn pack_learned(&self, which: Learned) -> Option<OwnedFd> {
        let share = self.shared.traffic.as_ref()?.sharing().clone();
        let packing = tokio::task::spawn_blocking(move || {
            let (parcel, left_out_count) = match which {
                Learned::All => share.pack(),
                Learned::SinceThen => share.pack_changes(),
            };
            if left_out_count > 0 {
                tracing::warn!(left_out_count, "clients are forgotten: too many for an upgrade");
            }
            pack_bytes(&parcel)
        });
        match packing.await {
            Ok(Ok(parcel)) => Some(parcel),
            Ok(Err(error)) => {
                tracing::warn!(%error, "clients are forgotten: they can't be handed over");
                None
            }
            Err(error) => {
                tracing::error!(%error, "packing what is known of clients panicked");
                None
            }
        }
    }

    /// Closes the store; returns up to where its configuration went, and what is known of members.
    async fn let_go_of_store(&mut self) -> Result<(u64, OwnedFd), Broken> {
        let mut index = 0;
        if let Some(control) = self.control.take() {
            index = control.store().snapshot().index;
            control.stop().await;
        }
        let members = self.shared.traffic.as_ref().map(|traffic| traffic.members());
        Ok((index, pack(&members.unwrap_or_default())?))
    }

    /// Opens the store again, where it was closed.
    async fn take_back(&mut self) {
        if self.control.is_some() {
            return;
        }
        let opened = match identity::load(&self.shared.config.state_dir) {
            Ok(identity) => ControlPlane::start(self.shared.clone(), identity).await,
            Err(error) => Err(error.into()),
        };
        match opened {
            Ok(control) => self.control = Some(control),
            Err(error) => tracing::error!("the store can't be opened again: {error:#}"),
        }
    }
}

/// Returns when the process that has taken over dies while it is the node: it does not end in order, and no
/// other has taken over from it in turn. Cancel-safe.
pub(crate) async fn death_of(successor: Option<&mut Successor>) -> ExitStatus {
    if let Some(successor) = successor {
        let has_died = loop {
            match successor.channel().receive::<ToOld>().await {
                Ok((ToOld::Succeeded, _)) => break false,
                // The process has it open for as long as it lives.
                Err(ChannelError::Closed | ChannelError::Io(_)) => break true,
                Ok(_) | Err(_) => {}
            }
        };
        if has_died
            && let Ok(status) = successor.ended().await
            && !status.success()
        {
            return status;
        }
    }
    std::future::pending().await
}

impl Talk<'_> {
    async fn say(&mut self, word: &ToNew, sockets: &[BorrowedFd<'_>]) -> Result<(), Broken> {
        let saying = self.successor.channel().send(word, sockets);
        match timeout_at(self.until, saying).await {
            Ok(Err(ChannelError::Closed)) => Err(self.ended().await),
            Ok(said) => Ok(said?),
            Err(_) => Err(Broken::Failed("the new process does not listen".to_owned())),
        }
    }

    async fn hear(&mut self) -> Result<ToOld, Broken> {
        loop {
            // Cancel-safe: each branch only waits.
            let heard = tokio::select! {
                heard = self.successor.channel().receive::<ToOld>() => heard,
                told = self.signals.next() => match told {
                    Told::Stop(stop) => return Err(Broken::Told(stop)),
                    Told::Upgrade => {
                        tracing::warn!("an upgrade is under way already");
                        continue;
                    }
                    // The new process opens them anew anyway.
                    Told::ReopenLogs => continue,
                },
                () = tokio::time::sleep_until(self.until) => {
                    let why = "the new process takes too long (data_plane.upgrade_timeout_s)";
                    return Err(Broken::Failed(why.to_owned()));
                }
            };
            return match heard {
                Ok((ToOld::Failed { why }, _)) => Err(Broken::Failed(why)),
                Ok((word, _)) => Ok(word),
                Err(ChannelError::Closed) => Err(self.ended().await),
                Err(error) => Err(error.into()),
            };
        }
    }

    async fn expect(&mut self, wanted: &ToOld) -> Result<(), Broken> {
        let heard = self.hear().await?;
        if heard == *wanted { Ok(()) } else { Err(unexpected(&heard)) }
    }

    /// What became of a process that hung up.
    async fn ended(&mut self) -> Broken {
        let ended = timeout(END_LIMIT, self.successor.ended()).await;
        let how = |status: ExitStatus| format!("the new process ended with {status}");
        Broken::Failed(match ended {
            Ok(Ok(status)) => how(status),
            _ => "the new process has hung up".to_owned(),
        })
    }
}

fn unexpected(word: &ToOld) -> Broken {
    Broken::Failed(format!("the new process says {word:?}, which was not to be said now"))
}
