//! Ballast's REST API: routes, authentication, problem+json, server-sent events, OpenAPI.
//!
//! ```text
//!  serve ──► router ──► dispatch: request id ─ who? ─ may they? ─ body ─► one operation ──► answer
//!  (TLS)     (console)              auth        route          call        resources, members,
//!                                                                          declaration, status, …
//! ```
//!
//! Invariant: [`route`] is the one list of what exists. An operation that is not in it can't be
//! reached, and what it says about who may call it is checked before the operation sees anything.

#![forbid(unsafe_code)]

mod app;
mod auth;
mod call;
mod cluster;
mod console;
mod declaration;
mod dispatch;
mod events;
mod explain;
mod failure;
mod ha;
mod list;
mod members;
pub mod openapi;
mod peer;
mod prepare;
mod resources;
mod route;
mod serve;
mod sessions;
mod source;
mod status;
mod tail;
mod wait;
mod write;

use std::sync::Arc;
use std::time::Duration;

use ballast_model::event::EventBody;
use ballast_model::explain::{ExplainReport, ExplainRequest};
use ballast_model::ha::{HaTransition, MoveReport};
use ballast_model::status::NodeStatus;
use ballast_model::tail::TailFilter;
use ballast_raft_store::Store;
use futures_util::future::BoxFuture;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use peer::{Applied, peer_router, peer_status};
pub use serve::{ServeError, serve};
pub use tail::TailFeed;

use app::App;

/// What the API needs to know of the node that it runs on.
pub trait NodeView: Send + Sync + 'static {
    /// What the node says of itself.
    fn status(&self) -> NodeStatus;

    /// Resolves to true as soon as all planes of this node carry out the configuration of `index`,
    /// to false after `timeout`.
    fn wait_applied(&self, index: u64, timeout: Duration) -> BoxFuture<'static, Applied>;

    /// Tells what would become of a described request on this node, with what serves requests.
    ///
    /// Resolves to an error, in a sentence, where this node does not serve its virtual server.
    fn explain(&self, request: ExplainRequest)
    -> BoxFuture<'static, Result<ExplainReport, String>>;

    /// Prometheus metrics of the node, in text format 0.0.4.
    fn metrics(&self) -> String;

    /// Records of the requests that this node serves, as they are made.
    ///
    /// # Errors
    /// Why there can be none, in a sentence.
    fn tail(&self, filter: TailFilter) -> Result<Box<dyn TailFeed>, String>;

    /// Follows what this node sees happen: health, and whatever else is no change of the
    /// configuration.
    fn events(&self) -> broadcast::Receiver<EventBody>;

    /// The latest changes of this node's parts in traffic groups, in any order.
    fn ha_timeline(&self) -> Vec<HaTransition>;

    /// Moves a traffic group to the node `to`. Called on the node that owns the group, or on `to`
    /// itself where nobody owns it. What fails is told in the report.
    fn move_group(&self, group: String, to: String) -> BoxFuture<'static, MoveReport>;
}

/// The API of one node, running.
pub struct Api {
    app: Arc<App>,
    events: JoinHandle<()>,
}

impl Api {
    /// Starts what the API does in the background (collecting events). Needs a tokio runtime.
    ///
    /// When `shutdown` is cancelled, event streams end, and [`Api::stop`] returns soon.
    pub fn start(store: Store, node: Arc<dyn NodeView>, shutdown: CancellationToken) -> Self {
        let app = Arc::new(App::new(store, node, shutdown));
        let events = tokio::spawn(events::collect(Arc::clone(&app)));
        Self { app, events }
    }

    /// Everything that is served to clients: the API below `/api/v1`, `/healthz`, `/readyz`,
    /// `/metrics`, and the console at `/`.
    pub fn router(&self) -> axum::Router {
        dispatch::router(&self.app)
    }

    /// Waits for the background work to end; cancel the token of [`Api::start`] first.
    pub async fn stop(self) {
        // It ends by itself and does not panic; if it did, there is nothing left to do about it.
        let _ended = self.events.await;
    }
}

#[cfg(test)]
mod tests;
