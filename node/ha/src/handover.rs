//! Moving a group on purpose: the new owner is there before the old one lets go.
//!
//! ```text
//! owner:   idle clients go ─► "hand over" ─► asks ─────────────┐            hears it, lets go
//! target:                                    └─► "take over" ─► adds, advertises, announces
//! ```
//!
//! Invariant: as long as the target has not answered that it owns the group, the owner keeps it. Once it
//! has, the owner lets go, heard or not: two owners would divide the clients.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State as Extract;
use axum::routing::post;
use axum::{Json, Router};
use ballast_model::ha::MoveReport;
use ballast_vrrp::State;
use serde::{Deserialize, Serialize};

use crate::engine::Command;
use crate::heartbeat::{self, HEARTBEAT};
use crate::{Ha, Inner};

/// Path below `/peer/v1/`.
const TAKE_OVER: &str = "ha/take-over";
/// How long clients' idle connections are given to end before a move.
const QUIESCE_LIMIT: Duration = Duration::from_secs(1);
/// How long the new owner may take.
const TAKE_OVER_LIMIT: Duration = Duration::from_secs(2);
/// How long the old owner may take to hear the new one.
const LET_GO_LIMIT: Duration = Duration::from_secs(1);
/// How often it is looked whether it has happened.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

#[derive(Debug, Serialize, Deserialize)]
struct TakeOver {
    group: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct TookOver {
    /// Why not.
    error: Option<String>,
}

impl Ha {
    /// The routes that other nodes call, below `/peer/v1/`.
    pub fn peer_router(&self) -> Router {
        Router::new()
            .route(&format!("/{TAKE_OVER}"), post(take_over))
            .route(&format!("/{HEARTBEAT}"), post(heartbeat::report))
            .with_state(Arc::clone(&self.0))
    }

    /// Moves a group that this node owns to the node `to`, or takes it over where that is this node.
    /// What went wrong is in the report; the owner then is who it was.
    pub async fn move_group(&self, group: &str, to: &str) -> MoveReport {
        let inner = &self.0;
        let owns = inner.state_of(group) == Some(State::Active);
        let mut report = MoveReport {
            group: group.to_owned(),
            from: owns.then(|| inner.node_name.clone()),
            to: to.to_owned(),
            ..MoveReport::default()
        };
        let Some(_moving) = Moving::begin(inner, group) else {
            report.error = Some("it is being moved already".to_owned());
            return report;
        };
        let moved = if to == inner.node_name {
            let started = Instant::now();
            let taken = inner.take_over(group).await;
            report.moved_ms = millis(started);
            taken
        } else if owns {
            inner.hand_over(group, to, &mut report).await
        } else {
            Err(format!("node {} does not own it", inner.node_name))
        };
        report.error = moved.err();
        report
    }
}

impl Inner {
    async fn hand_over(
        &self,
        group: &str,
        to: &str,
        report: &mut MoveReport,
    ) -> Result<(), String> {
        let snapshot = self.snapshot.load_full();
        let target = snapshot.state.config.nodes.get(to);
        let target_id = target.ok_or_else(|| format!("there is no node {to}"))?.spec.node_id;
        let attached = self.attached.load_full().ok_or("this node is starting")?;
        let store = &attached.store;
        let started = Instant::now();
        self.view.quiesce(self.held_of(group), QUIESCE_LIMIT).await;
        report.quiesced_ms = millis(started);
        let started = Instant::now();
        let was_manual = self.is_manual(group);
        self.command(Command::HandOver { group: group.to_owned() });
        let ask = TakeOver { group: group.to_owned() };
        let asked = store.peers().call::<_, TookOver>(target_id, TAKE_OVER, &ask, TAKE_OVER_LIMIT);
        let answer = asked.await;
        let refused = match &answer {
            Ok(TookOver { error: Some(error) }) => Some(format!("node {to} can't own it: {error}")),
            Err(error) if error.is_certainly_not_sent() => {
                Some(format!("node {to} can't be asked: {error}"))
            }
            _ => None,
        };
        if let Some(refused) = refused {
            if was_manual && self.state_of(group) == Some(State::Active) {
                // It was moved here, and stays as if nobody had asked.
                self.command(Command::TakeOver { group: group.to_owned() });
            }
            return Err(refused);
        }
        let is_gone = self.is_let_go(group).await;
        report.moved_ms = millis(started);
        match answer {
            _ if is_gone => Ok(()),
            // It may have got the question: then it is heard sooner or later, or nobody took over.
            Err(error) => Err(format!("node {to} does not say whether it owns it: {error}")),
            Ok(_) => {
                tracing::warn!(
                    group,
                    to,
                    "the new owner is not heard here: is the segment between them broken?"
                );
                self.command(Command::StepDown { group: group.to_owned() });
                let is_gone = self.is_let_go(group).await;
                is_gone.then_some(()).ok_or_else(|| {
                    format!("node {to} owns it too, and this node does not let go of it")
                })
            }
        }
    }

    async fn is_let_go(&self, group: &str) -> bool {
        self.wait_for(group, LET_GO_LIMIT, |state| state != Some(State::Active)).await
    }

    fn is_manual(&self, group: &str) -> bool {
        let published = self.published.load();
        published.groups.iter().any(|running| running.name == group && running.view.is_manual)
    }

    async fn take_over(&self, group: &str) -> Result<(), String> {
        let unable = {
            let judgements = self.judgements.load();
            let judgement =
                judgements.groups.get(group).ok_or("it has no part in that traffic group")?;
            judgement.unable.clone()
        };
        if let Some(why) = unable {
            return Err(why);
        }
        self.command(Command::TakeOver { group: group.to_owned() });
        if self.wait_for(group, TAKE_OVER_LIMIT, |state| state == Some(State::Active)).await {
            return Ok(());
        }
        let published = self.published.load();
        let running = published.groups.iter().find(|running| running.name == group);
        Err(match running {
            None => "the group does not run there".to_owned(),
            Some(running) => {
                let why = running.missing.clone();
                why.unwrap_or_else(|| format!("it stays {}", running.view.state))
            }
        })
    }

    fn state_of(&self, group: &str) -> Option<State> {
        let published = self.published.load();
        published.groups.iter().find(|running| running.name == group).map(|g| g.view.state)
    }

    fn held_of(&self, group: &str) -> Vec<std::net::IpAddr> {
        let published = self.published.load();
        let running = published.groups.iter().find(|running| running.name == group);
        running.map(|running| running.held.clone()).unwrap_or_default()
    }

    async fn wait_for(
        &self,
        group: &str,
        limit: Duration,
        is_reached: impl Fn(Option<State>) -> bool,
    ) -> bool {
        let started = Instant::now();
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        while started.elapsed() < limit {
            looks.tick().await;
            if is_reached(self.state_of(group)) {
                return true;
            }
        }
        false
    }
}

/// A group that is being moved: one move at a time.
struct Moving<'a> {
    inner: &'a Inner,
    group: &'a str,
}

impl<'a> Moving<'a> {
    fn begin(inner: &'a Inner, group: &'a str) -> Option<Self> {
        let mut moving = inner.moving.lock().unwrap_or_else(PoisonError::into_inner);
        moving.insert(group.to_owned()).then_some(Self { inner, group })
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        let mut moving = self.inner.moving.lock().unwrap_or_else(PoisonError::into_inner);
        moving.remove(self.group);
    }
}

async fn take_over(
    Extract(inner): Extract<Arc<Inner>>,
    Json(ask): Json<TakeOver>,
) -> Json<TookOver> {
    Json(TookOver { error: inner.take_over(&ask.group).await.err() })
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
