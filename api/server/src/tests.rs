//! The API from outside, in front of a real store of one node.

mod audit;
mod auth;
mod declarations;
mod events;
mod ha;
mod harness;
mod members;
mod resources;
mod routes;
mod serving;
mod tail;
