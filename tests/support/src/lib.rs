//! The lab: hosts in network namespaces (or on loopback addresses), real Ballast processes on them,
//! origins behind them and load in front of them.
//!
//! A test reads like this:
//!
//! ```no_run
//! use ballast_test_support::{Cluster, Lab, Load, LoadOptions, Origin};
//!
//! # async fn test() -> anyhow::Result<()> {
//! let lab = Lab::new()?;
//! let origin = Origin::start(&lab.host("origin-1", 21)?).await?;
//! let client = lab.host("client", 31)?;
//! let cluster = Cluster::three_nodes(&lab).await?;
//! cluster.apply(&serde_json::json!({ /* pools, virtual servers */ })).await?;
//! let url = format!("http://{}:8080/", cluster.nodes[0].host().ip());
//! let load = Load::start(&client, &LoadOptions::new(url)).await?;
//! // … change something …
//! let report = load.stop().await?;
//! assert_eq!(report.failed_count(), 0, "{report}");
//! # drop(origin);
//! # Ok(())
//! # }
//! ```
//!
//! Everything a lab makes goes with it: processes, namespaces, files. What a killed run left behind
//! is swept when the next lab starts. When a test panics its files stay, and their place is printed.

#![forbid(unsafe_code)]

pub mod arp_watch;
pub mod capture;
pub mod certificates;
pub mod cluster;
pub mod ctl;
pub mod forward;
pub mod lab;
pub mod load;
pub mod node;
pub mod origin;
pub mod peers;
pub mod probe;
pub mod process;
pub mod programs;
pub mod topology;
pub mod wait;

pub use arp_watch::ArpWatch;
pub use capture::Capture;
pub use certificates::TestCa;
pub use cluster::Cluster;
pub use ctl::Ctl;
pub use forward::Forward;
pub use lab::{Host, Kind, Lab, Segment};
pub use load::{Load, LoadOptions, LoadReport};
pub use node::{Node, NodeOptions};
pub use origin::Origin;
pub use probe::Probe;
pub use process::Process;
pub use topology::Topology;
pub use wait::wait_for;
