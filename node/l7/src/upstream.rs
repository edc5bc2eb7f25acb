//! Connections to members: this worker's idle ones, and how a member is chosen and reached.
//!
//! Invariant: an idle connection has no request under way and nothing unread; it belongs to the
//! member state it was made for, so that it is never used for another address.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use ballast_balance::{Member, MemberKey, MemberState, NoMember, PickInput, PickState, Pool};
use ballast_workers::{PoolSlot, WorkerContext};
use tokio::net::TcpStream;

/// What one worker keeps of one pool.
#[derive(Debug)]
pub(crate) struct WorkerPool {
    slot: Arc<PoolSlot>,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    pool: Arc<Pool>,
    pick: PickState,
    /// By the position of the member in `pool`.
    idle: Vec<MemberIdle>,
}

#[derive(Debug)]
struct MemberIdle {
    member: Arc<MemberState>,
    /// The one used last is at the end.
    connections: Vec<IdleConnection>,
}

#[derive(Debug)]
struct IdleConnection {
    stream: TcpStream,
    since_ms: u64,
}

/// The member that a request goes to.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) pool: Arc<Pool>,
    pub(crate) index: u32,
    pub(crate) member: Arc<Member>,
    pub(crate) is_persistent: bool,
}

impl WorkerPool {
    fn new(slot: Arc<PoolSlot>) -> Self {
        let pool = slot.current().load_full();
        let idle = fit_idle(&pool, Vec::new());
        let state = State { pool, pick: PickState::default(), idle };
        Self { slot, state: RefCell::new(state) }
    }

    /// Chooses a member for a request.
    pub(crate) fn choose(
        &self,
        worker: &WorkerContext,
        client: IpAddr,
        persistent: Option<MemberKey>,
        exclude: &[u32],
    ) -> Result<Chosen, NoMember> {
        let mut state = self.state.borrow_mut();
        state.refresh(&self.slot);
        let State { pool, pick, .. } = &mut *state;
        let input = PickInput {
            client,
            random: worker.random(),
            now_ms: worker.clock.coarse_unix_ms(),
            persistent,
            exclude,
        };
        let picked = pool.pick(pick, &input)?;
        Ok(Chosen {
            index: picked.index,
            member: Arc::clone(picked.member),
            is_persistent: picked.persistent,
            pool: Arc::clone(pool),
        })
    }

    /// An idle connection to the member, the one used last.
    ///
    /// Whether the member closed it meanwhile is known without a system call: the reactor has
    /// noted it, and a read is attempted only then.
    pub(crate) fn take_idle(&self, chosen: &Chosen) -> Option<TcpStream> {
        let mut state = self.state.borrow_mut();
        let idle = state.idle_of(&chosen.member.state, chosen.index)?;
        while let Some(connection) = idle.connections.pop() {
            if is_alive(&connection.stream) {
                return Some(connection.stream);
            }
        }
        None
    }

    /// Keeps a connection for the next request.
    pub(crate) fn put_idle(&self, chosen: &Chosen, stream: TcpStream, now_ms: u64) {
        let mut state = self.state.borrow_mut();
        state.refresh(&self.slot);
        let max_count = state.pool.spec().idle_connection_max_count as usize;
        let Some(idle) = state.idle_of(&chosen.member.state, chosen.index) else { return };
        if max_count == 0 {
            return;
        }
        if idle.connections.len() >= max_count {
            idle.connections.remove(0);
        }
        idle.connections.push(IdleConnection { stream, since_ms: now_ms });
    }

    /// Closes what has been idle for too long, what members have closed, and connections to members
    /// that are no more or are forced offline. Whether idle connections are left.
    fn sweep(&self, now_ms: u64, now_unix_ms: u64) -> bool {
        let mut state = self.state.borrow_mut();
        state.refresh(&self.slot);
        let timeout_ms = state.pool.spec().idle_connection_timeout_ms;
        for idle in &mut state.idle {
            if idle.member.is_cut(now_unix_ms) {
                idle.connections.clear();
            }
            idle.connections.retain(|connection| {
                now_ms.saturating_sub(connection.since_ms) < timeout_ms
                    && is_alive(&connection.stream)
            });
        }
        state.idle.iter().any(|idle| !idle.connections.is_empty())
    }

    fn is_unused(&self) -> bool {
        // The map of pools holds one, and the compiler's map would hold another.
        Arc::strong_count(&self.slot) == 1
    }
}

impl State {
    fn refresh(&mut self, slot: &PoolSlot) {
        let current = slot.current().load();
        if !Arc::ptr_eq(&current, &self.pool) {
            self.idle = fit_idle(&current, std::mem::take(&mut self.idle));
            self.pool = Arc::clone(&current);
        }
    }

    /// The idle connections of a member that was at `index` when it was chosen: the pool may have
    /// been replaced since.
    fn idle_of(&mut self, member: &Arc<MemberState>, index: u32) -> Option<&mut MemberIdle> {
        let at = |idle: &MemberIdle| Arc::ptr_eq(&idle.member, member);
        let index = match self.idle.get(index as usize) {
            Some(idle) if at(idle) => index as usize,
            _ => self.idle.iter().position(at)?,
        };
        self.idle.get_mut(index)
    }
}

/// Orders idle connections as the members of `pool`; those of members that are no more are closed.
fn fit_idle(pool: &Pool, previous: Vec<MemberIdle>) -> Vec<MemberIdle> {
    let mut previous: HashMap<_, _> =
        previous.into_iter().map(|idle| (Arc::as_ptr(&idle.member), idle.connections)).collect();
    let members = pool.members().iter().map(|member| MemberIdle {
        member: Arc::clone(&member.state),
        connections: previous.remove(&Arc::as_ptr(&member.state)).unwrap_or_default(),
    });
    members.collect()
}

fn is_alive(stream: &TcpStream) -> bool {
    // Where no event came, this is answered from the reactor's notes.
    matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Opens a connection to a member.
pub(crate) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The pools that this worker has sent requests to.
#[derive(Debug, Default)]
pub(crate) struct WorkerPools {
    pools: RefCell<HashMap<u64, Rc<WorkerPool>>>,
}

impl WorkerPools {
    /// What this worker keeps of that pool.
    pub(crate) fn of(&self, slot: &Arc<PoolSlot>) -> Rc<WorkerPool> {
        let mut pools = self.pools.borrow_mut();
        let pool = pools.entry(slot.id).or_insert_with(|| WorkerPool::new(Arc::clone(slot)).into());
        Rc::clone(pool)
    }

    /// Closes what has been idle for too long; forgets pools that are no more. Whether idle
    /// connections are left.
    pub(crate) fn sweep(&self, now_ms: u64, now_unix_ms: u64) -> bool {
        let mut has_idle = false;
        self.pools.borrow_mut().retain(|_, pool| {
            has_idle |= pool.sweep(now_ms, now_unix_ms);
            !pool.is_unused()
        });
        has_idle
    }
}
