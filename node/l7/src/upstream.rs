//! Connections to members: this worker's idle ones, and how a member is chosen and reached.
//!
//! Invariant: an idle connection has no request under way and nothing unread; it belongs to the
//! member state it was made for, so that it is never used for another address.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use ballast_balance::{
    Attempt, InFlight, KeyHash, Known, Member, MemberKey, NoMember, PersistenceTable, PickInput,
    PickState, Pool, PoolQueue, Priority, Slot,
};
use ballast_model::{HashKey, MemberProtocol, MemberWebSockets, QueueSettings};
use ballast_telemetry::{FailureReason, PoolCounters, PoolShard};
use ballast_tls::{Alpn, MemberTls};
use ballast_workers::{PoolSlot, WorkerContext};
use rustls::ClientConfig;

use crate::member::{Http2Connections, MemberStream};
use crate::record::Record;

/// What one worker keeps of one pool.
#[derive(Debug)]
pub(crate) struct WorkerPool {
    slot: Arc<PoolSlot>,
    /// Which worker's it is.
    worker: usize,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    pool: Arc<Pool>,
    /// The slot's, when `pool` was taken from it.
    version: u64,
    pick: PickState,
    /// In the order of the members of `pool`.
    members: Vec<Rc<WorkerMember>>,
}

/// What one worker keeps of one member. Requests hold it by `Rc`: a count that workers share would
/// send its cache line from one to the next with every request.
#[derive(Debug)]
pub(crate) struct WorkerMember {
    pub(crate) pool: Arc<Pool>,
    pub(crate) member: Arc<Member>,
    pub(crate) index: u32,
    /// The one used last is at the end.
    idle: RefCell<Vec<IdleConnection>>,
    /// Made with the first connection that needs it; holds the sessions to resume.
    client_config: RefCell<Option<Arc<ClientConfig>>>,
    /// For pools that speak it.
    pub(crate) http2: Rc<Http2Connections>,
    pub(crate) counters: Counters,
}

/// What this worker counts of a member: with its pool, and by itself where that is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Counters {
    pool: Arc<PoolShard>,
    member: Option<Arc<PoolShard>>,
}

impl Counters {
    /// Counts something for both.
    pub(crate) fn count(&self, what: impl Fn(&PoolShard)) {
        what(&self.pool);
        if let Some(member) = &self.member {
            what(member);
        }
    }
}

#[derive(Debug)]
struct IdleConnection {
    stream: MemberStream,
    since_ms: u64,
}

/// What a member is to be spoken to for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A request.
    Request,
    /// A request that asks for a WebSocket.
    WebSocket,
    /// One that asks for another protocol (RFC 9110 §7.8).
    Upgrade,
}

/// What the choice of a member depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) client: IpAddr,
    /// What [`WorkerPool::key`] found.
    pub(crate) key: Option<KeyHash>,
    /// The member that the client belongs to.
    pub(crate) persistent: Option<MemberKey>,
    /// How the pool remembers it, if it does.
    pub(crate) known: Option<Known>,
    /// How soon it is served where members have no room.
    pub(crate) priority: Priority,
}

/// Picks that are made where other workers take the room between pick and begin.
const RACE_MAX_COUNT: usize = 4;

/// The member that a request goes to.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    at: Rc<WorkerMember>,
    pub(crate) is_persistent: bool,
}

impl Deref for Chosen {
    type Target = WorkerMember;

    fn deref(&self) -> &WorkerMember {
        &self.at
    }
}

impl WorkerPool {
    fn new(slot: Arc<PoolSlot>, worker: usize) -> Self {
        let version = slot.version();
        let pool = slot.current().load_full();
        let members = fit_members(&pool, &[], &slot.counters, worker);
        let state = State { pool, version, pick: PickState::default(), members };
        Self { slot, worker, state: RefCell::new(state) }
    }

    /// What `find` finds in a request of the key that the pool's algorithm goes by, if it goes by
    /// one.
    pub(crate) fn key(&self, find: impl FnOnce(&HashKey) -> Option<KeyHash>) -> Option<KeyHash> {
        let mut state = self.state.borrow_mut();
        self.refresh(&mut state);
        find(state.pool.hash_key()?)
    }

    /// Does something with what the pool remembers of its clients.
    pub(crate) fn with_table<T>(&self, act: impl FnOnce(&PersistenceTable) -> T) -> T {
        let mut state = self.state.borrow_mut();
        self.refresh(&mut state);
        act(state.pool.persistence_table())
    }

    /// Chooses a member for a request, and counts it as in flight there.
    pub(crate) fn choose(
        &self,
        worker: &WorkerContext,
        wanted: Wanted,
        tried: &[Chosen],
    ) -> Result<(Chosen, InFlight), NoMember> {
        let mut state = self.state.borrow_mut();
        self.refresh(&mut state);
        // The pool may have been replaced since: their places in it are looked up each time.
        let exclude: Vec<u32> =
            tried.iter().filter_map(|chosen| Some(state.present(chosen)?.index)).collect();
        let State { pool, pick, members, .. } = &mut *state;
        let input = PickInput {
            client: wanted.client,
            key: wanted.key,
            random: worker.random(),
            now_ms: worker.clock.coarse_unix_ms(),
            persistent: wanted.persistent,
            exclude: &exclude,
        };
        let permit = pool.enter()?;
        for _ in 0..RACE_MAX_COUNT {
            let picked = pool.pick(pick, &input)?;
            if let Some(in_flight) = picked.begin(worker.index) {
                // As many members as the pool has: see `fit_members`.
                let at = Rc::clone(&members[picked.index as usize]);
                let chosen = Chosen { at, is_persistent: picked.persistent };
                return Ok((chosen, in_flight.with_permit(permit)));
            }
        }
        Err(NoMember::AllBusy)
    }

    /// Counts what became of a request.
    pub(crate) fn count(&self, record: &Record) {
        let count = |shard: &PoolShard| {
            shard.request(record.status);
            if let Some(reason) = record.reason {
                shard.failure(reason);
            }
        };
        match &record.chosen {
            Some(chosen) => chosen.counters.count(count),
            None => count(self.shard()),
        }
    }

    /// What this worker counts of the pool.
    pub(crate) fn shard(&self) -> &PoolShard {
        self.slot.counters.shard(self.worker)
    }

    fn refresh(&self, state: &mut State) {
        let version = self.slot.version();
        if version != state.version {
            state.version = version;
            self.take_over(state);
        }
    }

    #[cold]
    fn take_over(&self, state: &mut State) {
        let current = self.slot.current().load();
        if !Arc::ptr_eq(&current, &state.pool) {
            let counters = &self.slot.counters;
            state.members = fit_members(&current, &state.members, counters, self.worker);
            state.pool = Arc::clone(&current);
        }
    }

    /// Where requests wait that find no room.
    pub(crate) fn queue(&self) -> (Arc<PoolQueue>, QueueSettings) {
        let pool = &self.state.borrow().pool;
        (Arc::clone(pool.queue()), pool.spec().queue.clone().unwrap_or_default())
    }

    /// Gives room that nobody gave back to those that wait for it.
    pub(crate) fn hand_out_room(&self) {
        let pool = {
            let mut state = self.state.borrow_mut();
            self.refresh(&mut state);
            Arc::clone(&state.pool)
        };
        pool.queue().hand_out(&pool);
    }

    /// Counts a request as in flight at the member whose room it was granted; none where the pool has
    /// that member no more, or a limit of its own that is reached.
    pub(crate) fn begin_granted(
        &self,
        worker: &WorkerContext,
        slot: Slot,
    ) -> Option<(Chosen, InFlight)> {
        let mut state = self.state.borrow_mut();
        self.refresh(&mut state);
        let member = slot.member()?;
        let at = state.members.iter().find(|at| Arc::ptr_eq(&at.member.state, member))?;
        let chosen = Chosen { at: Rc::clone(at), is_persistent: false };
        let permit = state.pool.enter().ok()?;
        Some((chosen, slot.begin(worker.index)?.with_permit(permit)))
    }

    /// Keeps a connection for the next request.
    pub(crate) fn put_idle(&self, chosen: &Chosen, stream: MemberStream, now_ms: u64) {
        if self.slot.is_retired() {
            return stream.close();
        }
        let mut state = self.state.borrow_mut();
        self.refresh(&mut state);
        let max_count = state.pool.spec().idle_connection_max_count as usize;
        let Some(at) = state.present(chosen) else { return stream.close() };
        // A header of the PROXY protocol names one client, and the connection is that one's alone.
        let is_announced = |pool: &Pool| pool.spec().send_proxy_protocol.is_some();
        if is_announced(&at.pool) || is_announced(&chosen.pool) {
            return stream.close();
        }
        if max_count == 0
            || !is_spoken_to_alike(&at.pool, &chosen.pool)
            || at.is_http2(Purpose::Request)
        {
            return stream.close();
        }
        let mut idle = at.idle.borrow_mut();
        if idle.len() >= max_count {
            idle.remove(0).stream.close();
        }
        idle.push(IdleConnection { stream, since_ms: now_ms });
    }

    /// Closes what has been idle for too long, what members have closed, and connections to members
    /// that are no more or are forced offline. Whether idle connections are left.
    fn sweep(&self, now_ms: u64, now_unix_ms: u64) -> bool {
        let mut state = self.state.borrow_mut();
        self.refresh(&mut state);
        for (member, reason) in state.pool.compare(now_unix_ms) {
            tell_ejected(&state.pool, &member, &reason);
        }
        let timeout_ms = state.pool.spec().idle_connection_timeout_ms;
        let mut has_idle = false;
        for at in &state.members {
            let mut idle = at.idle.borrow_mut();
            if at.member.state.is_cut(now_unix_ms) {
                close_all(idle.drain(..));
                at.http2.close();
            }
            let is_old = |connection: &mut IdleConnection| {
                now_ms.saturating_sub(connection.since_ms) >= timeout_ms
                    || !connection.stream.is_alive()
            };
            close_all(idle.extract_if(.., is_old));
            has_idle |= !idle.is_empty();
            has_idle |= at.http2.sweep(now_ms, timeout_ms);
        }
        has_idle
    }

    /// Closes all idle connections.
    fn close_idle(&self) {
        for at in &self.state.borrow().members {
            close_all(at.idle.borrow_mut().drain(..));
            at.http2.close();
        }
    }
}

impl WorkerMember {
    /// Takes in that an attempt, begun at `begin_us`, has come to a response of that status, or to
    /// none, where the pool wants to know.
    pub(crate) fn observe(&self, worker: &WorkerContext, begin_us: u64, status: Option<u16>) {
        if !self.pool.observes() {
            return;
        }
        let attempt = Attempt {
            worker: worker.index,
            took_us: worker.clock.now_us().saturating_sub(begin_us),
            // Somebody else's failure, passed on, is one too.
            failed: status.is_none_or(|status| matches!(status, 502..=504)),
            now_ms: worker.clock.coarse_unix_ms(),
        };
        if let Some(reason) = self.pool.observe(&self.member, attempt) {
            tell_ejected(&self.pool, &self.member, &reason);
        }
    }

    /// An idle connection, the one used last.
    ///
    /// Whether the member closed it meanwhile is known without a system call: the reactor has
    /// noted it, and a read is attempted only then.
    pub(crate) fn take_idle(&self, now_ms: u64, purpose: Purpose) -> Option<MemberStream> {
        if self.is_http2(purpose) {
            let settings = &self.pool.spec().http2;
            let stream = match purpose {
                Purpose::WebSocket => self.http2.tunnel(settings)?,
                Purpose::Request | Purpose::Upgrade => self.http2.stream(settings)?,
            };
            return Some(MemberStream::Http2(Box::new(stream)));
        }
        let timeout_ms = self.pool.spec().idle_connection_timeout_ms;
        let mut idle = self.idle.borrow_mut();
        while let Some(mut connection) = idle.pop() {
            if now_ms.saturating_sub(connection.since_ms) >= timeout_ms {
                // The others have been idle for longer.
                close_all(idle.drain(..).chain([connection]));
                return None;
            }
            if connection.stream.is_alive() {
                return Some(connection.stream);
            }
        }
        None
    }

    /// Whether a request goes to it by HTTP/2.
    pub(crate) fn is_http2(&self, purpose: Purpose) -> bool {
        let spec = self.pool.spec();
        // Streams of several clients share a connection, and a header names one of them.
        let is_shared = spec.send_proxy_protocol.is_none();
        spec.protocol == MemberProtocol::Http2
            && is_shared
            && match purpose {
                Purpose::Request => true,
                Purpose::WebSocket => spec.http2.websockets != MemberWebSockets::Http1,
                Purpose::Upgrade => false,
            }
    }

    /// What connections to it are secured with.
    pub(crate) fn client_config(&self, tls: &MemberTls, alpn: Alpn) -> Arc<ClientConfig> {
        if alpn == Alpn::Http1 && self.is_http2(Purpose::Request) {
            // For a WebSocket in spite of the pool's protocol: too rare to keep sessions for.
            return tls.client_config(alpn);
        }
        let mut config = self.client_config.borrow_mut();
        Arc::clone(config.get_or_insert_with(|| tls.client_config(alpn)))
    }
}

impl State {
    /// What has become of a member since it was chosen: the pool may have been replaced.
    fn present(&self, chosen: &Chosen) -> Option<&Rc<WorkerMember>> {
        let same_place = self.members.get(chosen.index as usize);
        let is_same = |at: &&Rc<WorkerMember>| Arc::ptr_eq(&at.member.state, &chosen.member.state);
        same_place.filter(is_same).or_else(|| self.members.iter().find(is_same))
    }
}

/// Why a request fails that no member was found for.
pub(crate) fn why_none(why: NoMember) -> FailureReason {
    match why {
        NoMember::CircuitOpen => FailureReason::CircuitOpen,
        NoMember::ConcurrencyLimit => FailureReason::ConcurrencyLimit,
        _ => FailureReason::NoMember,
    }
}

/// The members of `pool`, with the idle connections that they had; those of members that are no
/// more, or to be spoken to otherwise from now on, are closed.
fn fit_members(
    pool: &Arc<Pool>,
    previous_members: &[Rc<WorkerMember>],
    counters: &PoolCounters,
    worker: usize,
) -> Vec<Rc<WorkerMember>> {
    let has_own = pool.spec().member_metrics;
    let mut previous: HashMap<_, _> =
        previous_members.iter().map(|at| (Arc::as_ptr(&at.member.state), at)).collect();
    let fitted = pool.members().iter().zip(0..).map(|(member, index)| {
        let before = previous.remove(&Arc::as_ptr(&member.state));
        let before = before.filter(|at| {
            let same_header = at.pool.spec().send_proxy_protocol == pool.spec().send_proxy_protocol;
            same_header && at.pool.security().is_same(pool.security())
        });
        let before = before.filter(|at| is_spoken_to_alike(&at.pool, pool));
        Rc::new(WorkerMember {
            pool: Arc::clone(pool),
            member: Arc::clone(member),
            index,
            idle: before.map(|at| at.idle.take()).unwrap_or_default().into(),
            client_config: before.map(|at| at.client_config.take()).unwrap_or_default().into(),
            http2: before.map(|at| Rc::clone(&at.http2)).unwrap_or_default(),
            counters: Counters {
                pool: Arc::clone(counters.shard(worker)),
                member: has_own.then(|| Arc::clone(counters.member(&member.name).shard(worker))),
            },
        })
    });
    let fitted = fitted.collect();
    // What was not taken over above.
    previous_members.iter().for_each(|at| close_all(at.idle.borrow_mut().drain(..)));
    fitted
}

fn tell_ejected(pool: &Pool, member: &Member, reason: &str) {
    tracing::warn!(pool = pool.name(), member = &*member.name, reason, "member is ejected");
}

/// Whether a connection to a member of one pool may be used for the other.
fn is_spoken_to_alike(one: &Pool, other: &Pool) -> bool {
    one.security().is_same(other.security()) && one.spec().protocol == other.spec().protocol
}

fn close_all(idle: impl Iterator<Item = IdleConnection>) {
    idle.for_each(|connection| connection.stream.close());
}

/// The pools that this worker has sent requests to.
#[derive(Debug, Default)]
pub(crate) struct WorkerPools {
    worker: usize,
    pools: RefCell<HashMap<u64, Rc<WorkerPool>>>,
}

impl WorkerPools {
    /// Those of that worker: none yet.
    pub(crate) fn new(worker: usize) -> Self {
        Self { worker, pools: RefCell::default() }
    }

    /// What this worker keeps of that pool.
    pub(crate) fn of(&self, slot: &Arc<PoolSlot>) -> Rc<WorkerPool> {
        let mut pools = self.pools.borrow_mut();
        let pool = pools
            .entry(slot.id)
            .or_insert_with(|| WorkerPool::new(Arc::clone(slot), self.worker).into());
        Rc::clone(pool)
    }

    /// Closes what has been idle for too long; forgets pools that are no more. Whether idle
    /// connections are left.
    pub(crate) fn sweep(&self, now_ms: u64, now_unix_ms: u64) -> bool {
        let mut has_idle = false;
        self.pools.borrow_mut().retain(|_, pool| {
            if pool.slot.is_retired() {
                // Connections of clients may still hold it.
                pool.close_idle();
                return false;
            }
            has_idle |= pool.sweep(now_ms, now_unix_ms);
            true
        });
        has_idle
    }
}
