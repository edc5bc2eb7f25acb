//! The new process of an upgrade: what it is given, and when it may go on.
//!
//! Invariant: it accepts nobody before it knows of members what the process before knew, and speaks for no
//! traffic group before that process rests.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ballast_model::Transport;
use ballast_model::status::MemberStatus;
use ballast_share::UnpackedCounts;
use ballast_upgrade::channel::{say_failed, unpack, unpack_bytes};
use ballast_upgrade::{Channel, Hello, ToNew, ToOld};

use super::moved;
use crate::assembly::Node;
use crate::traffic::Traffic;

/// How long the groups of the process before may take to be Active here.
const OWN_LIMIT: Duration = Duration::from_millis(1_500);
/// Longest wait for the last word of the process before.
const DONE_LIMIT: Duration = Duration::from_secs(5);

/// The end of the channel to the process before.
pub(crate) struct Heir {
    channel: Channel,
}

/// What comes with the store.
pub(crate) struct Go {
    /// Up to where the configuration went.
    index: u64,
    members: Vec<MemberStatus>,
    /// What is known of clients and rate limits, packed.
    learned: Option<OwnedFd>,
}

impl Heir {
    /// Introduces itself and takes the sockets in. Needs a tokio runtime.
    ///
    /// # Errors
    /// The two processes do not understand each other.
    pub(crate) async fn greet(end: OwnedFd, node_id: u64) -> Result<(Self, Vec<OwnedFd>)> {
        let heir = Self { channel: Channel::new(end)? };
        let hello = Hello::new(env!("CARGO_PKG_VERSION"), node_id);
        match heir.hear().await? {
            (ToNew::Hello(other), _) => {
                // What comes later shows by itself which protocol the process before speaks.
                let _protocol = hello.accepts(&other).map_err(anyhow::Error::msg)?;
            }
            (other, _) => bail!("the process before says {other:?} first"),
        }
        heir.say(ToOld::Hello(hello)).await?;
        let mut sockets = Vec::new();
        loop {
            match heir.hear().await? {
                (ToNew::Sockets, batch) => sockets.extend(batch),
                (ToNew::SocketsDone, _) => return Ok((heir, sockets)),
                (other, _) => bail!("the process before says {other:?} among its sockets"),
            }
        }
    }

    /// Says that everything is ready, and waits until the store is free.
    ///
    /// # Errors
    /// The process before goes on by itself.
    pub(crate) async fn wait_for_store(&self) -> Result<Go> {
        self.say(ToOld::Prepared).await?;
        let (ToNew::Go { index }, mut parcels) = self.hear().await? else {
            bail!("the process before does not give the store away");
        };
        let parcel = parcels.pop().context("nothing is told of members")?;
        let members = tokio::task::spawn_blocking(move || unpack(parcel)).await??;
        Ok(Go { index, members, learned: parcels.pop() })
    }

    /// Accepts clients, then takes the traffic groups over.
    ///
    /// # Errors
    /// The process before goes on by itself.
    pub(crate) async fn take_over(&self, node: &Node, go: Go) -> Result<()> {
        let control = node.control.as_ref().context("the store is open")?;
        let mut snapshots = control.store().watch();
        // The process before waits for so long, and no longer.
        snapshots.wait_for(|snapshot| snapshot.index >= go.index).await?;
        if let Some(traffic) = &node.shared.traffic {
            if go.index > 0 {
                traffic.wait_applied(go.index).await;
                learn(traffic, go.learned).await;
                traffic.adopt_from_predecessor(&node.shared.config.name, &go.members).await;
            }
            traffic.open(Transport::Tcp).await;
        }
        self.say(ToOld::Serving).await?;
        let (ToNew::Own { groups }, _) = self.hear().await? else {
            bail!("the process before keeps the traffic groups");
        };
        if let Some(ha) = &node.shared.ha {
            let groups = groups.into_iter().map(|group| (group.name, group.is_manual)).collect();
            let missing = ha.resume(groups, control.store().snapshot(), OWN_LIMIT).await;
            if !missing.is_empty() {
                bail!("traffic groups can't be owned: {}", missing.join(", "));
            }
        }
        self.say(ToOld::Owning).await?;
        let traffic = node.shared.traffic.as_deref();
        // That nothing comes any more means the same as that it is done.
        if tokio::time::timeout(DONE_LIMIT, self.take_the_rest(traffic)).await.is_err() {
            tracing::warn!("the process before has not said its last word");
        }
        if let Some(traffic) = traffic {
            traffic.follow_access_log(false);
            traffic.open(Transport::Udp).await;
        }
        Ok(())
    }

    /// Takes what the process before has kept to the end.
    async fn take_the_rest(&self, traffic: Option<&Traffic>) {
        loop {
            match (self.hear().await, traffic) {
                (Ok((ToNew::Sessions { sessions }, sockets)), Some(traffic)) => {
                    let pairs = sessions.into_iter().zip(sockets);
                    let sessions = pairs.map(|(told, socket)| moved::heard(told, socket));
                    traffic.adopt_sessions(sessions.collect()).await;
                }
                (Ok((ToNew::Done, mut parcels)), Some(traffic)) => {
                    return learn(traffic, parcels.pop()).await;
                }
                (Ok((ToNew::Done, _)), None) => return,
                (Ok((other, _)), _) => {
                    return tracing::warn!("the process before says {other:?} at the end");
                }
                (Err(error), _) => {
                    return tracing::warn!("the process before has gone: {error:#}");
                }
            }
        }
    }

    /// Says something to the process before.
    pub(crate) async fn say(&self, word: ToOld) -> Result<()> {
        Ok(self.channel.send(&word, &[]).await?)
    }

    async fn hear(&self) -> Result<(ToNew, Vec<OwnedFd>)> {
        Ok(self.channel.receive().await?)
    }
}

/// Takes in what the process before knows of clients and of rate limits. That it can't be understood costs
/// clients their members, and not the upgrade.
async fn learn(traffic: &Traffic, parcel: Option<OwnedFd>) {
    let Some(parcel) = parcel else { return };
    let share = traffic.sharing().clone();
    let learned =
        tokio::task::spawn_blocking(move || anyhow::Ok(share.unpack(&unpack_bytes(parcel)?)?));
    match learned.await {
        Ok(Ok(UnpackedCounts { record_count, unknown_count, limit_count })) => tracing::info!(
            clients = record_count,
            unknown = unknown_count,
            limits = limit_count,
            "the process before has told of clients and rate limits"
        ),
        Ok(Err(error)) => tracing::warn!("what it knows of clients is not understood: {error:#}"),
        Err(error) => tracing::error!(%error, "learning of clients panicked"),
    }
}

impl Heir {
    /// Tells the process before why this one can't go on.
    pub(crate) fn fail(end: impl AsFd, why: &anyhow::Error) {
        say_failed(end, &format!("{why:#}"));
    }
}
