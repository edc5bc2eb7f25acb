//! What the two processes say to each other.
//!
//! Invariant: a message has the same meaning in every version that understands its [`PROTOCOL`]; another
//! meaning is another protocol, and processes that have none in common part before anything was given up.

use serde::{Deserialize, Serialize};

/// The protocol that this version speaks.
pub const PROTOCOL: u32 = 1;

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
            oldest_protocol: PROTOCOL,
            newest_protocol: PROTOCOL,
            version: version.to_owned(),
            pid: std::process::id(),
            node_id,
        }
    }

    /// Whether this process can go on with the other one.
    ///
    /// # Errors
    /// Why not, in a sentence.
    pub fn accepts(&self, other: &Self) -> Result<(), String> {
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
        Ok(())
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
    /// The store is closed: open it. A parcel comes along, with what is known of members.
    Go {
        /// The index of the configuration that was carried out.
        index: u64,
    },
    /// Take these traffic groups over as they stand; they are owned by nobody else now.
    Own {
        /// Those that are Active here.
        groups: Vec<OwnedGroup>,
    },
    /// It is done: datagrams are the new process's to read, and clients that were here end.
    Done,
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
        assert_eq!(own.accepts(&Hello::new("1.1.0", 3)), Ok(()));
        let newer = Hello { oldest_protocol: 2, newest_protocol: 4, ..own.clone() };
        assert!(own.accepts(&newer).unwrap_err().contains("speaks protocols 1 to 1"));
        assert!(newer.accepts(&own).is_err());
        let wide = Hello { oldest_protocol: 1, newest_protocol: 4, ..own.clone() };
        assert_eq!(own.accepts(&wide), Ok(()));
    }

    #[test]
    fn another_node_is_refused() {
        let why = Hello::new("1.0.0", 3).accepts(&Hello::new("1.0.0", 4)).unwrap_err();
        assert!(why.contains("number 3") && why.contains("number 4"), "{why}");
    }
}
