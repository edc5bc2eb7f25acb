//! What suites about traffic share: origins that are other people's servers, and a client that sends
//! bytes as they are.

#![forbid(unsafe_code)]

pub mod downgrade;
pub mod http2;
pub mod origins;
pub mod requests;
pub mod responses;
pub mod wire;
pub mod world;
