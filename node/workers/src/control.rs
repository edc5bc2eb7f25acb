//! Carries a snapshot out: compiles it, opens and closes listeners, tells the workers.
//!
//! Invariant: what is open is in `open`, what should be and is not is in `failures` with the reason;
//! both are brought in line with the last snapshot on every change and on every retry.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ballast_balance::{Observed, PoolMap};
use ballast_model::explain::{ExplainReport, ExplainRequest};
use ballast_model::status::ListenerStatus;
use ballast_model::{Snapshot, Transport};
use ballast_telemetry::clock;
use tokio::sync::{mpsc, oneshot};

use crate::binding::Binding;
use crate::compile::Compiler;
use crate::connections::GroupId;
use crate::explain;
use crate::inherited::{Inheritance, Inherited};
use crate::listener::{self, ListenError, ListenSocket, overlap};
use crate::moved::{MOVED_SESSION_MAX_COUNT, MovedSession, Waiting};
use crate::plane::Applied;
use crate::policy::ProviderMap;
use crate::reconcile::{self, AnyAddress, Listener, Owners};
use crate::slot::VirtualServerSlot;
use crate::tls::CertificateMap;
use crate::worker::{Command, WorkerHandle};

/// How long a worker may take to close a listener before we go on without its word.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Control {
    compiler: Compiler,
    any: AnyAddress,
    workers: Vec<WorkerHandle>,
    snapshot: Arc<Snapshot>,
    slots: BTreeMap<GroupId, Arc<VirtualServerSlot>>,
    open: BTreeMap<Listener, Open>,
    /// Listeners of datagrams that are closed; their sockets stay while sessions last.
    closing: BTreeMap<Listener, Arc<Binding>>,
    failures: BTreeMap<Listener, String>,
    is_draining: bool,
    /// Listeners of these are not opened yet.
    held: Vec<Transport>,
    inherited: Inherited,
    /// Sessions of the process before.
    moved: Waiting,
    /// Whether the configuration is as new as the cluster's: what it does not want, nobody does.
    is_settled: bool,
    /// What of the last snapshot could not be carried out.
    errors: Vec<String>,
    /// Every address of every virtual server.
    listeners: Arc<Vec<ListenerStatus>>,
}

/// A listener that is open on every worker.
struct Open {
    owner: GroupId,
    binding: Arc<Binding>,
}

impl Control {
    pub(crate) fn new(
        compiler: Compiler,
        any: AnyAddress,
        workers: Vec<WorkerHandle>,
        inheritance: Inheritance,
    ) -> Self {
        let Inheritance { sockets, is_held } = inheritance;
        let held = if is_held { vec![Transport::Tcp, Transport::Udp] } else { Vec::new() };
        Self {
            held,
            inherited: sockets,
            moved: Waiting::default(),
            is_settled: false,
            compiler,
            any,
            workers,
            snapshot: Arc::default(),
            slots: BTreeMap::new(),
            open: BTreeMap::new(),
            closing: BTreeMap::new(),
            failures: BTreeMap::new(),
            is_draining: false,
            errors: Vec::new(),
            listeners: Arc::default(),
        }
    }

    /// Carries `snapshot` out.
    pub(crate) async fn apply(&mut self, snapshot: &Arc<Snapshot>) {
        self.compiler.set_ticket_keys(&snapshot.state.cluster.ticket_keys);
        let outcome = self.compiler.compile(&snapshot.state.config, clock::now_ms());
        self.snapshot = Arc::clone(snapshot);
        if outcome.has_changed || self.has_failures() {
            self.reconcile().await;
        }
        if outcome.retired.is_empty() {
            return;
        }
        // Only now that nothing is accepted for them any more.
        outcome.retired.iter().for_each(|slot| slot.store(None));
        let mut groups: Vec<GroupId> = outcome.retired.iter().map(|slot| slot.id).collect();
        groups.sort_unstable();
        let groups: Arc<[GroupId]> = groups.into();
        for worker in &self.workers {
            send(worker, Command::EndGroups(Arc::clone(&groups))).await;
        }
    }

    /// Takes in what is seen of members.
    pub(crate) fn observe(&mut self, observed: Observed) {
        let compiled_count = self.compiler.observe(observed, clock::now_ms());
        tracing::debug!(compiled_count, "something else is seen of members");
    }

    /// Brings the listeners in line with the last snapshot.
    pub(crate) async fn reconcile(&mut self) {
        let config = &self.snapshot.state.config;
        let compiler = &self.compiler;
        let mut slots = BTreeMap::new();
        for server in config.virtual_servers.iter() {
            if let Some(slot) = compiler.slot(&server.uid) {
                slots.insert(slot.id, Arc::clone(slot));
            }
        }
        self.slots = slots;
        let mut desired =
            reconcile::desired(config, self.any, |uid| Some(compiler.slot(uid)?.id)).owners;
        if self.is_draining {
            desired.clear();
        }
        desired.retain(|(transport, _), _| !self.held.contains(transport));
        let actual: Owners =
            self.open.iter().map(|(address, open)| (*address, open.owner)).collect();
        let diff = reconcile::diff(&actual, &desired);
        let known = std::mem::take(&mut self.failures);
        for (address, owner) in diff.open {
            if let Err(error) = self.open(address, owner).await {
                if known.get(&address) != Some(&error) {
                    let (transport, address) = (address.0.as_str(), address.1);
                    tracing::warn!(%address, transport, error, "a virtual server can't listen");
                }
                self.failures.insert(address, error);
            }
        }
        for (address, owner) in diff.rebind {
            if let (Some(open), Some(slot)) = (self.open.get_mut(&address), self.slots.get(&owner))
            {
                open.owner = owner;
                open.binding.slot.store(Arc::clone(slot));
            }
        }
        self.close(&diff.close, false).await;
        if self.held.is_empty() && self.is_settled {
            for (transport, address) in self.inherited.close_all() {
                let transport = transport.as_str();
                tracing::info!(%address, transport, "no virtual server wants this socket: closed");
            }
        }
        self.cover();
        self.describe();
    }

    /// Closes inherited sockets that the configuration does not want.
    pub(crate) async fn settle(&mut self) {
        self.is_settled = true;
        self.reconcile().await;
    }

    /// Opens the listeners of these, which were held until now.
    pub(crate) async fn release(&mut self, transport: Transport) {
        self.held.retain(|held| *held != transport);
        self.reconcile().await;
        if transport == Transport::Udp {
            let count = self.moved.clear();
            if count > 0 {
                tracing::info!(count, "sessions of the process before end: nobody listens there");
            }
        }
    }

    /// Takes in sessions of the process before; before their listeners are opened.
    pub(crate) fn adopt_sessions(&mut self, sessions: Vec<MovedSession>) {
        self.moved.insert(sessions);
    }

    /// Leaves the listeners of datagrams to another process that was given their sockets, with as many of
    /// their sessions as may go along.
    pub(crate) async fn give_sessions(&mut self) -> Vec<MovedSession> {
        // They are not opened again: that process reads.
        self.held.push(Transport::Udp);
        let open = self.open.keys().filter(|(transport, _)| *transport == Transport::Udp);
        let open: Vec<_> = open.copied().collect();
        self.close(&open, true).await;
        let mut sessions = Vec::new();
        for worker in &self.workers {
            let (done, given) = oneshot::channel();
            let max_count = MOVED_SESSION_MAX_COUNT.saturating_sub(sessions.len());
            send(worker, Command::Give { max_count, done }).await;
            // An error: that worker has ended.
            sessions.extend(given.await.unwrap_or_default());
        }
        sessions
    }

    /// A second descriptor of every listening socket.
    pub(crate) async fn share(&self) -> Vec<OwnedFd> {
        let mut sockets = Vec::new();
        for worker in &self.workers {
            let (done, shared) = oneshot::channel();
            send(worker, Command::Share { done }).await;
            // An error: that worker has ended.
            sockets.extend(shared.await.unwrap_or_default());
        }
        sockets
    }

    async fn open(&mut self, listener: Listener, owner: GroupId) -> Result<(), String> {
        let Some(slot) = self.slots.get(&owner) else {
            return Err("its virtual server is not compiled".to_owned());
        };
        let binding = match self.closing.remove(&listener) {
            None => Arc::new(Binding::new(slot)),
            Some(binding) => {
                binding.slot.store(Arc::clone(slot));
                binding.is_covered.store(false, Relaxed);
                binding
            }
        };
        let inherited = self.inherited.take(listener);
        let mut moved = self.moved.split_off(&inherited);
        let without = self.reopen(listener, &binding).await;
        // Our own socket on the wildcard address, or on one that it covers, is no foreigner.
        let mut ours = self.open.keys().chain(self.closing.keys());
        let is_ours = without.len() < self.workers.len();
        if inherited.is_empty() && !is_ours && !ours.any(|open| overlap(*open, listener)) {
            listener::probe(listener).map_err(|error| error.to_string())?;
        }
        match with_inherited(listener, inherited, without.len()) {
            Ok(sockets) => {
                // There may be more sockets than workers: each of them holds clients.
                for (worker, socket) in without.into_iter().cycle().zip(sockets) {
                    let binding = Arc::clone(&binding);
                    let sessions = moved.take(&socket);
                    send(worker, Command::Listen { listener, socket, binding, sessions }).await;
                }
                self.open.insert(listener, Open { owner, binding });
                Ok(())
            }
            Err(error) => {
                if is_ours {
                    self.open.insert(listener, Open { owner, binding });
                    self.close(&[listener], false).await;
                }
                Err(error.to_string())
            }
        }
    }

    /// Has the workers go on with the sockets of an address that was closed; those that have none.
    async fn reopen(&self, listener: Listener, binding: &Arc<Binding>) -> Vec<&WorkerHandle> {
        if Arc::strong_count(binding) == 1 {
            // It is new, or nobody uses it any more.
            return self.workers.iter().collect();
        }
        let mut without = Vec::new();
        for worker in &self.workers {
            let (done, reopened) = oneshot::channel();
            send(worker, Command::Reopen { listener, done }).await;
            // An error: that worker has ended.
            if !reopened.await.unwrap_or(false) {
                without.push(worker);
            }
        }
        without
    }

    /// Gives what comes to sockets that stay for the sessions of a closed listener to the wildcard
    /// address of the same port, if somebody has that: the kernel prefers them to its sockets.
    fn cover(&mut self) {
        self.closing.retain(|_, binding| Arc::strong_count(binding) > 1);
        for (listener, binding) in &self.closing {
            let is_over = |open: Listener| open.1.ip().is_unspecified() && overlap(open, *listener);
            let over = self.open.iter().find(|(open, _)| is_over(**open));
            if let Some((_, open)) = over {
                binding.slot.store(open.binding.slot.load_full());
            }
            binding.is_covered.store(over.is_some(), Relaxed);
        }
    }

    async fn close(&mut self, listeners: &[Listener], is_handed_over: bool) {
        let mut closing = Vec::new();
        for listener in listeners {
            if let Some(Open { binding, .. }) = self.open.remove(listener)
                && listener.0 == Transport::Udp
            {
                self.closing.insert(*listener, binding);
            }
            for worker in &self.workers {
                let (done, closed) = oneshot::channel();
                let listener = *listener;
                send(worker, Command::Close { listener, is_handed_over, done }).await;
                closing.push(closed);
            }
        }
        let all_closed = async {
            for closed in closing {
                // An error: that worker had no such listener.
                let _ = closed.await;
            }
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, all_closed).await.is_err() {
            tracing::warn!("a worker is slow to close its listeners");
        }
    }

    /// See [`DataPlane::drain`](crate::DataPlane::drain).
    pub(crate) async fn drain(&mut self, deadline: Duration, is_handed_over: bool) -> usize {
        self.is_draining = true;
        if is_handed_over {
            let open: Vec<_> = self.open.keys().copied().collect();
            self.close(&open, true).await;
        }
        self.reconcile().await;
        let mut ending = Vec::new();
        for worker in &self.workers {
            let (done, ended) = oneshot::channel();
            send(worker, Command::EndAll { done }).await;
            ending.push(ended);
        }
        let deadline = tokio::time::Instant::now() + deadline;
        let mut late = Vec::new();
        for mut ended in ending {
            if tokio::time::timeout_at(deadline, &mut ended).await.is_err() {
                late.push(ended);
            }
        }
        if late.is_empty() {
            return 0;
        }
        let cut_count = self.open_connections();
        for worker in &self.workers {
            send(worker, Command::CutAll).await;
        }
        for ended in late {
            // The tasks end as soon as they run; a worker that hangs is not waited for.
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, ended).await;
        }
        cut_count
    }

    /// Quiesces these addresses on every worker; each answers when it has done so or `limit` has
    /// passed, with how many connections are left. See
    /// [`DataPlane::quiesce`](crate::DataPlane::quiesce).
    pub(crate) async fn quiesce(
        &self,
        addresses: &Arc<[IpAddr]>,
        limit: Duration,
    ) -> Vec<oneshot::Receiver<usize>> {
        let mut quiet = Vec::new();
        for worker in &self.workers {
            let (done, receiver) = oneshot::channel();
            send(worker, Command::Quiesce { addresses: Arc::clone(addresses), limit, done }).await;
            quiet.push(receiver);
        }
        quiet
    }

    fn open_connections(&self) -> usize {
        self.slots.values().map(|slot| slot.open_count() as usize).sum()
    }

    /// Ends the workers.
    pub(crate) fn shutdown(&mut self) {
        for WorkerHandle { commands, thread } in self.workers.drain(..) {
            drop(commands);
            if thread.join().is_err() {
                tracing::error!("a worker's thread panicked");
            }
        }
    }

    pub(crate) fn has_failures(&self) -> bool {
        !self.failures.is_empty()
    }

    pub(crate) fn pools(&self) -> PoolMap {
        self.compiler.pools()
    }

    /// What would become of a described request; none where its virtual server is not served.
    pub(crate) fn explain(&self, request: &ExplainRequest) -> Option<ExplainReport> {
        let servers = &self.snapshot.state.config.virtual_servers;
        let slot = self.compiler.slot(&servers.get(&request.virtual_server)?.uid)?;
        let server = slot.current().load_full()?;
        let report = explain::explain(&server, request, clock::now_ms());
        Some(ExplainReport { index: self.snapshot.index, ..report })
    }

    /// The certificates in use.
    pub(crate) fn certificates(&mut self) -> CertificateMap {
        self.compiler.certificates()
    }

    /// The providers of tokens, by name.
    pub(crate) fn providers(&self) -> ProviderMap {
        self.compiler.providers()
    }

    /// What has been applied, and what could not be.
    pub(crate) fn applied(&self) -> Applied {
        Applied {
            index: self.snapshot.index,
            errors: self.errors.iter().cloned().chain(self.compiler.pool_errors()).collect(),
            listeners: Arc::clone(&self.listeners),
        }
    }

    /// Puts into words how the listeners are.
    fn describe(&mut self) {
        let mut listeners = Vec::new();
        let mut errors = Vec::new();
        for server in self.snapshot.state.config.virtual_servers.iter() {
            if !server.spec.enabled {
                continue;
            }
            let slot_id = self.compiler.slot(&server.uid).map(|slot| slot.id);
            let fault = self.compiler.error(&server.uid);
            if let Some(fault) = fault {
                errors.push(format!("virtual server {}: {fault}", server.name));
            }
            for listener in reconcile::listeners(server, self.any) {
                let address = listener.1;
                let listening =
                    slot_id.is_some() && self.open.get(&listener).map(|open| open.owner) == slot_id;
                let error = (!listening).then(|| self.why_not(listener, slot_id, fault));
                if let (Some(error), None) = (&error, fault) {
                    errors.push(format!("virtual server {}: {error}", server.name));
                }
                listeners.push(ListenerStatus {
                    virtual_server: server.name.clone(),
                    address: address.to_string(),
                    listening,
                    error,
                });
            }
        }
        self.errors = errors;
        if *self.listeners != listeners {
            self.listeners = Arc::new(listeners);
        }
    }

    fn why_not(&self, listener: Listener, slot_id: Option<GroupId>, fault: Option<&str>) -> String {
        if let (None, Some(fault)) = (slot_id, fault) {
            return fault.to_owned();
        }
        let address = listener.1;
        if let Some(failure) = self.failures.get(&listener) {
            return failure.clone();
        }
        match self.open.get(&listener) {
            Some(_) => format!("{address} belongs to another virtual server on this node"),
            None if self.is_draining => "the node is draining".to_owned(),
            None if !self.held.is_empty() => "the node is starting".to_owned(),
            None => format!("{address} is not open yet"),
        }
    }
}

/// A socket for each worker: those that there are, and further ones where they share their port. Where
/// they don't, workers without one are given connections by the others.
fn with_inherited(
    listener: Listener,
    mut sockets: Vec<ListenSocket>,
    worker_count: usize,
) -> Result<Vec<ListenSocket>, ListenError> {
    let missing_count = worker_count.saturating_sub(sockets.len());
    if sockets.first().is_none_or(listener::shares_port) {
        sockets.extend(listener::listen(listener, missing_count)?);
    }
    Ok(sockets)
}

async fn send(worker: &WorkerHandle, command: Command) {
    let sender: &mpsc::Sender<Command> = &worker.commands;
    if sender.send(command).await.is_err() {
        tracing::error!("a worker has ended");
    }
}
