//! How a client of streams or datagrams finds back to its member: by its address, as the pool
//! remembers it.
//!
//! Invariant: a client is remembered with the member that it was given last; of connections that come
//! at once, all go where the first one went, as long as that member takes them.

use std::net::IpAddr;
use std::sync::Arc;

use ballast_balance::{InFlight, Known, MemberKey, NoMember, PickInput, Pool};
use ballast_workers::{PoolSlot, VirtualServer};

use crate::worker::TcpWorker;

/// What is known of a client, and how to find a member for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Belonging {
    known: Option<Known>,
    /// Its member, as last seen.
    pub(crate) member: Option<MemberKey>,
}

impl Belonging {
    /// What `pool` remembers of the client at that address, where `server` has it remember any.
    pub(crate) fn find(server: &VirtualServer, pool: &Pool, client: IpAddr, now_ms: u64) -> Self {
        let table = pool.persistence_table();
        let known = table.hasher().by_source(&server.persistence, client);
        let member = known.and_then(|known| table.remembered(known, now_ms));
        Self { known, member }
    }

    /// Chooses a member and counts a connection as in flight there; its index.
    pub(crate) fn begin(
        &mut self,
        worker: &TcpWorker,
        slot: &Arc<PoolSlot>,
        pool: &Pool,
        input: &PickInput<'_>,
    ) -> Result<(u32, InFlight), NoMember> {
        let (index, in_flight) = worker.begin(slot, pool, input)?;
        if self.note(pool, index, input.now_ms) {
            return Ok((index, in_flight));
        }
        // Another connection of this client was a moment ahead: they go together.
        drop(in_flight);
        let (index, in_flight) =
            worker.begin(slot, pool, &PickInput { persistent: self.member, ..*input })?;
        // Where that one can't take it, this one decides.
        self.note(pool, index, input.now_ms);
        Ok((index, in_flight))
    }

    /// Notes that the client was given that member; false where it belongs elsewhere meanwhile.
    pub(crate) fn note(&mut self, pool: &Pool, index: u32, now_ms: u64) -> bool {
        let (Some(known), Some(member)) = (self.known, pool.member(index)) else { return true };
        if self.member == Some(member.key) {
            return true;
        }
        let before = self.member;
        let theirs = pool.persistence_table().remember(known, member.key, before, now_ms);
        self.member = Some(theirs.unwrap_or(member.key));
        theirs.is_none()
    }
}
