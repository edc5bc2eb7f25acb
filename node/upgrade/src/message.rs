//! What the two processes say to each other.
//!
//! Invariant: a message has the same meaning in every version that understands its [`PROTOCOL`]; another
//! meaning is another protocol, and processes that have none in common part before anything was given up.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// The newest protocol that this version speaks. What each has beside the one before:
///
/// - 2: with [`ToNew::Go`] comes what is known of clients and of rate limits, with [`ToNew::Done`] what has
///   changed since; [`ToNew::Sessions`].
pub const PROTOCOL: u32 = 2;
/// The oldest one.
const OLDEST_PROTOCOL: u32 = 1;

/// How either side introduces itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The oldest protocol that it speaks.
    pub oldest_protocol: u32,
    /// The newest.
    pub newest_protocol: u32,
    /// Its version, for people.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// The node's number in the cluster.
    pub node_id: u64,
}

impl Hello {
    /// Of this process.
    pub fn new(version: &str, node_id: u64) -> Self {
        Self {
            oldest_protocol: OLDEST_PROTOCOL,
            newest_protocol: PROTOCOL,
            version: version.to_owned(),
            pid: std::process::id(),
            node_id,
        }
    }

    /// Whether this process can go on with the other one, and by which protocol.
    ///
    /// # Errors
    /// Why not, in a sentence.
    pub fn accepts(&self, other: &Self) -> Result<u32, String> {
        if other.oldest_protocol > self.newest_protocol
            || other.newest_protocol < self.oldest_protocol
        {
            return Err(format!(
                "version {} speaks protocols {} to {} of the hand-over, version {} speaks {} to {}",
                self.version,
                self.oldest_protocol,
                self.newest_protocol,
                other.version,
                other.oldest_protocol,
                other.newest_protocol
            ));
        }
        if other.node_id != self.node_id {
            return Err(format!(
                "this is node number {}, and the other process is number {}",
                self.node_id, other.node_id
            ));
        }
        Ok(self.newest_protocol.min(other.newest_protocol))
    }
}

/// What the old process says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum ToNew {
    /// First of all.
    Hello(Hello),
    /// Sockets come along.
    Sockets,
    /// There are no more.
    SocketsDone,
    /// The store is closed: open it. A parcel comes along, with what is known of members; before it, one
    /// with what is known of clients and rate limits (protocol 2).
    Go {
        /// The index of the configuration that was carried out.
        index: u64,
    },
    /// Take these traffic groups over as they stand; they are owned by nobody else now.
    Own {
        /// Those that are Active here.
        groups: Vec<OwnedGroup>,
    },
    /// Sessions of datagrams, with a socket each, in their order (protocol 2).
    Sessions {
        /// What is known of each.
        sessions: Vec<MovedSession>,
    },
    /// It is done: datagrams are the new process's to read, and clients that were here end. A parcel comes
    /// along, with what has changed of clients (protocol 2).
    Done,
}

/// A session of datagrams that changes its process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedSession {
    /// The cookie of the listening socket that its client sends to (`SO_COOKIE`, socket(7)).
    pub listener: u64,
    /// The client.
    pub client: SocketAddr,
    /// Which of the node's addresses it reached, where the socket has several.
    pub reached: Option<IpAddr>,
    /// The pool's uid.
    pub pool: String,
    /// The member.
    pub member: SocketAddr,
    /// How long it has lasted, in µs.
    pub age_us: u64,
    /// Datagrams that went to the member, and that came from it.
    pub asked_count: u64,
    /// See above.
    pub answered_count: u64,
    /// Bytes of them.
    pub received_bytes: u64,
    /// See above.
    pub sent_bytes: u64,
}

/// A traffic group that changes its process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedGroup {
    /// Its name.
    pub name: String,
    /// Whether an operator moved it here.
    pub is_manual: bool,
}

/// What the new process says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum ToOld {
    /// First of all.
    Hello(Hello),
    /// Everything is ready but for what the store has to say.
    Prepared,
    /// It accepts clients.
    Serving,
    /// It owns the groups.
    Owning,
    /// Long after: another process has taken over from it in turn, and its end is no failure of the node.
    Succeeded,
    /// It can't go on, and ends.
    Failed {
        /// Why, in a sentence.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_without_a_common_protocol_part() {
        let own = Hello::new("1.0.0", 3);
        assert_eq!(own.accepts(&Hello::new("1.1.0", 3)), Ok(2));
        let newer = Hello { oldest_protocol: 3, newest_protocol: 4, ..own.clone() };
        assert!(own.accepts(&newer).unwrap_err().contains("speaks protocols 1 to 2"));
        assert!(newer.accepts(&own).is_err());
        let wide = Hello { oldest_protocol: 1, newest_protocol: 4, ..own.clone() };
        assert_eq!(own.accepts(&wide), Ok(2));
        let old = Hello { oldest_protocol: 1, newest_protocol: 1, ..own.clone() };
        assert_eq!((own.accepts(&old), old.accepts(&own)), (Ok(1), Ok(1)));
    }

    #[test]
    fn another_node_is_refused() {
        let why = Hello::new("1.0.0", 3).accepts(&Hello::new("1.0.0", 4)).unwrap_err();
        assert!(why.contains("number 3") && why.contains("number 4"), "{why}");
    }
}
