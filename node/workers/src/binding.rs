//! Whose an open address is.
//!
//! Invariant: all sockets of an address share one [`Binding`], for as long as any of them is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use arc_swap::ArcSwap;

use crate::slot::VirtualServerSlot;

/// Who gets the connections of a listener; replaced where an address goes to another virtual
/// server, so that the socket stays open.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) slot: ArcSwap<VirtualServerSlot>,
    /// Sessions of datagrams, on all workers.
    pub(crate) session_count: AtomicUsize,
    /// Whether sessions may begin although it is closed: its sockets, which stay for its sessions,
    /// get what is meant for the wildcard address of the same port.
    pub(crate) is_covered: AtomicBool,
}

impl Binding {
    pub(crate) fn new(slot: &Arc<VirtualServerSlot>) -> Self {
        Self {
            slot: ArcSwap::new(Arc::clone(slot)),
            session_count: AtomicUsize::new(0),
            is_covered: AtomicBool::new(false),
        }
    }
}
