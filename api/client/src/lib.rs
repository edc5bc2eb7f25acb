//! Typed client of Ballast's REST API, native and WebAssembly.
//!
//! [`Client`] is cheap to clone. Every answer that is not a success is a [`ClientError::Problem`]
//! with the server's own explanation; nothing is retried behind the caller's back.
//!
//! ```no_run
//! use ballast_client::{Client, Trust, WriteOptions};
//! use ballast_model::PoolSpec;
//! # async fn example() -> Result<(), ballast_client::ClientError> {
//! let client = Client::builder("https://10.0.0.1:8443")
//!     .trust(Trust::CaFingerprint("9f86d081884c7d65…".to_owned()))
//!     .bearer("blst_…")
//!     .build()?;
//! let web = client.get::<PoolSpec>("web").await?;
//! client.put(&web.to_draft(), &WriteOptions::new().wait_applied()).await?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod cluster;
mod declaration;
mod error;
#[cfg(not(target_arch = "wasm32"))]
mod events;
mod explain;
mod ha;
mod members;
mod options;
mod resources;
mod sessions;
pub mod sse;
#[cfg(not(target_arch = "wasm32"))]
mod tail;
#[cfg(not(target_arch = "wasm32"))]
mod tls;
mod transport;

pub use error::ClientError;
#[cfg(not(target_arch = "wasm32"))]
pub use events::EventStream;
pub use members::MemberAction;
pub use options::{HaEventsQuery, ListQuery, Match, WriteOptions, Written};
pub use reqwest::Method;
#[cfg(not(target_arch = "wasm32"))]
pub use tail::{TailEvent, TailStream};
pub use transport::{Answer, Client, Request};
#[cfg(not(target_arch = "wasm32"))]
pub use {
    tls::{Trust, observe_fingerprints},
    transport::ClientBuilder,
};
