//! From a snapshot to what the workers use: compiled virtual servers and pools in their slots.
//!
//! Work is done only for what changed, by revision: an edit among ten thousand virtual servers
//! compiles one.
//!
//! Invariant: a slot's content changes in one store, and only here. A virtual server that can't be
//! compiled keeps what it had.

mod member_tls;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ballast_balance::{Observed, PersistenceKey, PoolMap, PoolRegistry};
use ballast_model::config::Table;
use ballast_model::{CertificateSpec, Config, Protocol, Resource, TicketKey, VirtualServerSpec};
use ballast_telemetry::CounterRegistry;

use crate::compile::member_tls::MemberTlsStore;
use crate::passthrough::Passthrough;
use crate::policy::{PolicySet, PolicyStore, ProviderMap, SetSources};
use crate::slot::{ClientIdentity, PoolSlot, VirtualServer, VirtualServerSlot};
use crate::tls::tickets::TicketKeys;
use crate::tls::{Certificate, CertificateMap, CertificateStore, TlsSettings, Unseal};

/// Compiles snapshots one after another.
pub struct Compiler {
    counters: Arc<CounterRegistry>,
    pools: PoolRegistry,
    pool_slots: BTreeMap<String, Arc<PoolSlot>>,
    policies: PolicyStore,
    certificates: CertificateStore,
    member_tls: MemberTlsStore,
    ticket_keys: Arc<TicketKeys>,
    unseal: Unseal,
    /// By uid.
    servers: BTreeMap<String, Compiled>,
    /// What `servers` was compiled from.
    source: Option<(Table<VirtualServerSpec>, Table<CertificateSpec>)>,
}

struct Compiled {
    slot: Arc<VirtualServerSlot>,
    protocol: Protocol,
    sources: Sources,
    tls: Option<TlsSettings>,
    error: Option<String>,
}

/// What a virtual server was compiled from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sources {
    revision: u64,
    pool_id: u64,
    /// Of the pools that routes of a passthrough name.
    route_pool_ids: Vec<u64>,
    /// Uid and revision of each certificate.
    certificates: Vec<(String, u64)>,
    policies: SetSources,
}

/// What a compilation left to do.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Slots of virtual servers that are disabled, deleted or speak another protocol now. They
    /// still hold what they had: empty them once their listeners are closed or given to others.
    pub retired: Vec<Arc<VirtualServerSlot>>,
    /// Whether any virtual server may listen elsewhere than before.
    pub has_changed: bool,
    /// How many virtual servers were compiled.
    pub compiled_count: usize,
}

impl Compiler {
    /// A compiler that has seen nothing yet.
    pub fn new(
        worker_count: usize,
        persistence_key: PersistenceKey,
        counters: Arc<CounterRegistry>,
        unseal: Unseal,
    ) -> Self {
        Self {
            counters,
            pools: PoolRegistry::new(worker_count, persistence_key),
            pool_slots: BTreeMap::new(),
            policies: PolicyStore::default(),
            certificates: CertificateStore::new(Arc::clone(&unseal)),
            member_tls: MemberTlsStore::default(),
            ticket_keys: Arc::default(),
            unseal,
            servers: BTreeMap::new(),
            source: None,
        }
    }

    /// Makes and reads session tickets with those keys, the newest first, from now on.
    pub fn set_ticket_keys(&self, keys: &[TicketKey]) {
        self.ticket_keys.set(keys, &self.unseal);
    }

    /// Brings pools and virtual servers in step with `config`.
    pub fn compile(&mut self, config: &Config, now_ms: u64) -> Outcome {
        self.compile_pools(config, now_ms);
        let mut outcome = Outcome::default();
        let have_policies_changed = self.policies.take_up(config);
        let is_same = !have_policies_changed
            && self.source.as_ref().is_some_and(|(servers, certificates)| {
                servers.is_same(&config.virtual_servers)
                    && certificates.is_same(&config.certificates)
            });
        if is_same {
            // Slots of pools stay; what serves them need not know what is in them.
            return outcome;
        }
        outcome.has_changed = true;
        let mut enabled_count = 0;
        for server in config.virtual_servers.iter().filter(|server| server.spec.enabled) {
            enabled_count += 1;
            self.compile_server(config, server, &mut outcome);
        }
        // Every enabled one is in it, so that a surplus can only be others.
        if self.servers.len() > enabled_count {
            self.retire(config, &mut outcome);
        }
        self.forget(config);
        self.policies.forget_unused();
        self.source = Some((config.virtual_servers.clone(), config.certificates.clone()));
        outcome
    }

    /// Forgets virtual servers that are disabled or deleted.
    fn retire(&mut self, config: &Config, outcome: &mut Outcome) {
        let servers = config.virtual_servers.iter();
        let enabled: BTreeSet<&str> =
            servers.filter(|s| s.spec.enabled).map(|s| s.uid.as_str()).collect();
        self.servers.retain(|uid, compiled| {
            let is_kept = enabled.contains(uid.as_str());
            if !is_kept {
                outcome.retired.push(Arc::clone(&compiled.slot));
            }
            is_kept
        });
    }

    /// Drops what was kept of virtual servers and certificates that are deleted, enabled or not.
    fn forget(&mut self, config: &Config) {
        let uids = config.virtual_servers.iter().map(|server| server.uid.as_str()).collect();
        self.counters.retain(&uids);
        let uids: BTreeSet<&str> =
            config.certificates.iter().map(|certificate| certificate.uid.as_str()).collect();
        self.certificates.retain(|uid| uids.contains(uid));
    }

    /// Every compiled pool, by name.
    pub fn pools(&self) -> PoolMap {
        self.pools.pools()
    }

    /// The certificates in use.
    pub fn certificates(&mut self) -> CertificateMap {
        self.certificates.usable()
    }

    /// The providers of tokens, by name.
    pub fn providers(&self) -> ProviderMap {
        self.policies.providers()
    }

    /// The slot of the virtual server with that uid, if it can be served.
    pub fn slot(&self, uid: &str) -> Option<&Arc<VirtualServerSlot>> {
        let compiled = self.servers.get(uid)?;
        compiled.slot.current().load().is_some().then_some(&compiled.slot)
    }

    /// Why the virtual server with that uid is not served as declared.
    pub fn error(&self, uid: &str) -> Option<&str> {
        self.servers.get(uid)?.error.as_deref()
    }

    /// Why pools are not secured as declared, in sentences.
    pub fn pool_errors(&self) -> impl Iterator<Item = String> + '_ {
        self.member_tls.errors()
    }

    /// Compiles anew the pools of whose members something else is seen than before; how many.
    pub fn observe(&mut self, observed: Observed, now_ms: u64) -> usize {
        let compiled = self.pools.observe(observed, now_ms);
        for name in &compiled {
            if let (Some(slot), Some(pool)) = (self.pool_slots.get(name), self.pools.pool(name)) {
                slot.store(Arc::clone(pool));
            }
        }
        compiled.len()
    }

    fn compile_pools(&mut self, config: &Config, now_ms: u64) {
        let mut changes = self.pools.reconcile(config, now_ms);
        let Self { certificates, member_tls, pools, .. } = self;
        member_tls.secure(config, certificates, pools, &mut changes.compiled);
        for name in changes.compiled {
            let Some(pool) = self.pools.pool(&name).cloned() else { continue };
            let counters = self.counters.pool(&name);
            let members = pool.members().iter().map(|member| &*member.name);
            counters.retain_members(&members.collect());
            match self.pool_slots.get(&name) {
                Some(slot) => slot.store(pool),
                None => {
                    self.pool_slots.insert(name, Arc::new(PoolSlot::new(pool, counters)));
                }
            }
        }
        for name in changes.removed {
            if let Some(slot) = self.pool_slots.remove(&name) {
                slot.retire();
            }
            self.counters.remove_pool(&name);
        }
    }

    fn compile_server(
        &mut self,
        config: &Config,
        server: &Resource<VirtualServerSpec>,
        outcome: &mut Outcome,
    ) {
        // A configuration whose references don't hold is never committed.
        let Some(pool) = self.pool_slots.get(&server.spec.pool).cloned() else { return };
        let sources = self.sources(config, server, &pool);
        if self.servers.get(&server.uid).is_some_and(|compiled| compiled.sources == sources) {
            return;
        }
        outcome.compiled_count += 1;
        let protocol = server.spec.protocol;
        let previous = self.servers.remove(&server.uid);
        let previous = previous.filter(|previous| {
            // Connections go on in the protocol that they began with: the slot is left to them.
            let is_same = previous.protocol == protocol;
            if !is_same {
                outcome.retired.push(Arc::clone(&previous.slot));
            }
            is_same
        });
        let (slot, tls) = match previous {
            Some(previous) => (previous.slot, previous.tls),
            None => {
                let counters = self.counters.virtual_server(&server.uid, &server.name);
                (Arc::new(VirtualServerSlot::new(counters)), None)
            }
        };
        let policies = self.policies.set(config, &server.spec, &self.pool_slots, &sources.policies);
        let policies = policies.map_err(|error| error.to_string());
        let mut compiled = Compiled { slot, protocol, sources, tls, error: None };
        match self.compile_tls(config, server, &mut compiled).and(policies) {
            Ok(policies) => {
                let made = self.virtual_server(server, pool, policies, compiled.tls.as_ref());
                compiled.slot.store(Some(Arc::new(made)));
            }
            Err(error) => compiled.error = Some(error),
        }
        self.servers.insert(server.uid.clone(), compiled);
    }

    /// Makes the virtual server's TLS from those of its certificates that can be used.
    fn compile_tls(
        &mut self,
        config: &Config,
        server: &Resource<VirtualServerSpec>,
        compiled: &mut Compiled,
    ) -> Result<(), String> {
        if server.spec.protocol != Protocol::Https {
            return Ok(());
        }
        let mut usable: Vec<Arc<Certificate>> = Vec::new();
        for name in &server.spec.certificates {
            let Some(resource) = config.certificates.get(name) else { continue };
            match self.certificates.certificate(resource) {
                Ok(certificate) => usable.push(certificate),
                Err(error) => compiled.error = Some(error),
            }
        }
        if usable.is_empty() {
            let error = compiled.error.take();
            return Err(error.unwrap_or_else(|| "it has no certificate".to_owned()));
        }
        let has_http2 = server.spec.http.http2;
        let settings = server.spec.tls.clone().unwrap_or_default();
        let tls = match compiled.tls.take() {
            Some(tls) if tls.fits(has_http2, &settings) => tls,
            previous => {
                let made = TlsSettings::new(&self.ticket_keys, &server.uid, has_http2, &settings);
                match made {
                    Ok(tls) => tls,
                    Err(error) => {
                        compiled.tls = previous;
                        return Err(error);
                    }
                }
            }
        };
        tls.set_certificates(&usable);
        if let Some(misfit) = usable.iter().find_map(|certificate| tls.misfit(certificate)) {
            compiled.error.get_or_insert(misfit);
        }
        compiled.tls = Some(tls);
        Ok(())
    }
}

impl Compiler {
    fn sources(
        &mut self,
        config: &Config,
        server: &Resource<VirtualServerSpec>,
        pool: &PoolSlot,
    ) -> Sources {
        let policies = self.policies.sources(config, &server.spec, &self.pool_slots);
        let certificates = server.spec.certificates.iter();
        let certificates = certificates.filter_map(|name| config.certificates.get(name));
        let routes = server.spec.tls_passthrough.iter().flat_map(|spec| &spec.routes);
        let route_pools = routes.filter_map(|route| self.pool_slots.get(&route.pool));
        Sources {
            revision: server.revision,
            pool_id: pool.id,
            route_pool_ids: route_pools.map(|pool| pool.id).collect(),
            certificates: certificates.map(|c| (c.uid.clone(), c.revision)).collect(),
            policies,
        }
    }

    fn virtual_server(
        &self,
        server: &Resource<VirtualServerSpec>,
        pool: Arc<PoolSlot>,
        policies: Option<Arc<PolicySet>>,
        tls: Option<&TlsSettings>,
    ) -> VirtualServer {
        let spec = &server.spec;
        VirtualServer {
            name: server.name.as_str().into(),
            protocol: spec.protocol,
            http: spec.http.clone(),
            tcp: spec.tcp.clone(),
            udp: spec.udp.clone(),
            persistence: spec.persistence.clone(),
            passthrough: spec.tls_passthrough.as_ref().map(|passthrough| {
                Passthrough::new(passthrough, &pool, |name| self.pool_slots.get(name).cloned())
            }),
            accept_proxy_protocol: spec.accept_proxy_protocol.clone(),
            pool,
            policies,
            tls: tls.map(|tls| Arc::clone(tls.config())),
            clients: tls.and_then(|tls| tls.clients().cloned()),
            hsts_line: spec.http.hsts.as_ref().filter(|_| tls.is_some()).map(|hsts| {
                format!("Strict-Transport-Security: {}\r\n", hsts.value()).into_bytes().into()
            }),
            client_identity: spec.tls.as_ref().map(ClientIdentity::from).unwrap_or_default(),
            connection_limit: spec.connection_limit.unwrap_or(u32::MAX),
            source_limits: spec.source_limits.is_set().then(|| spec.source_limits.clone()),
            priority: spec.priority,
            queue_priority: spec.queue_priority,
        }
    }
}

#[cfg(test)]
mod tests;
