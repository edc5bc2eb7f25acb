//! Other people's routers, run on hosts of the lab: what Ballast must agree with.

pub mod frr;
pub mod haproxy;
pub mod keepalived;

pub use frr::{Frr, FrrOptions};
pub use haproxy::Haproxy;
pub use keepalived::{Keepalived, KeepalivedOptions};
