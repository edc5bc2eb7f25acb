//! Sessions of datagrams in the words of the two processes.

use std::os::fd::OwnedFd;

use ballast_upgrade::message;
use ballast_workers::{Delivery, MovedFacts, MovedSession};

/// As it is told.
pub(super) fn told(facts: &MovedFacts) -> message::MovedSession {
    let MovedFacts {
        listener,
        client,
        reached,
        pool,
        member,
        age_us,
        asked_count,
        answered_count,
        received_bytes,
        sent_bytes,
    } = facts.clone();
    message::MovedSession {
        listener,
        client,
        reached,
        pool,
        member,
        age_us,
        asked_count,
        answered_count,
        received_bytes,
        sent_bytes,
    }
}

/// As it is heard, with its socket.
pub(super) fn heard(told: message::MovedSession, socket: OwnedFd) -> MovedSession {
    let message::MovedSession {
        listener,
        client,
        reached,
        pool,
        member,
        age_us,
        asked_count,
        answered_count,
        received_bytes,
        sent_bytes,
    } = told;
    let facts = MovedFacts {
        listener,
        client,
        reached,
        pool,
        member,
        age_us,
        asked_count,
        answered_count,
        received_bytes,
        sent_bytes,
    };
    MovedSession { socket, facts, delivery: Delivery::default() }
}
