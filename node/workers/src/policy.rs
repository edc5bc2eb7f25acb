//! Policies of virtual servers, compiled with what they name: pools, regions, providers of tokens.
//!
//! Work is done only for what changed: a region is compiled when its networks change, and virtual
//! servers with the same list of policies share what that list compiles to.
//!
//! Invariant: a [`PolicySet`] never changes. What it points to (pools, keys) changes in slots of its
//! own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ballast_model::config::Table;
use ballast_model::{
    Config, JwtProviderSpec, Kind, PolicySpec, RegionSpec, Resource, Spec, VirtualServerSpec,
};
use ballast_policy::{CompileError, CompiledPolicy, CompiledRegion, PoolIndex};

use crate::slot::PoolSlot;

pub mod provider;

pub use provider::{ProviderMap, ProviderSlot};

/// The policies of a virtual server, as one: rules are called `policy/rule`.
#[derive(Debug)]
pub struct PolicySet {
    policy: CompiledPolicy,
    /// Each policy's name, and the position of its first rule among all.
    parts: Box<[(Box<str>, usize)]>,
    /// In the order of [`CompiledPolicy::pools`].
    pools: Box<[Arc<PoolSlot>]>,
    providers: BTreeMap<String, Arc<ProviderSlot>>,
}

impl PolicySet {
    /// The rules.
    pub fn policy(&self) -> &CompiledPolicy {
        &self.policy
    }

    /// The pool that a decision speaks of.
    pub fn pool(&self, index: PoolIndex) -> Option<&Arc<PoolSlot>> {
        self.pools.get(index.0 as usize)
    }

    /// The provider of tokens that a rule names.
    pub fn provider(&self, name: &str) -> Option<&Arc<ProviderSlot>> {
        self.providers.get(name)
    }

    /// The policy that has the rule of that position, and its position there.
    pub fn part(&self, position: usize) -> (&str, usize) {
        let at = self.parts.partition_point(|(_, start)| *start <= position);
        match at.checked_sub(1).and_then(|at| self.parts.get(at)) {
            Some((name, start)) => (name, position - start),
            None => ("", position),
        }
    }
}

/// What a set was compiled from.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SetSources {
    /// Uid and revision of each.
    policies: Vec<(String, u64)>,
    regions: Vec<(String, u64)>,
    providers: Vec<String>,
    pools: Vec<u64>,
}

/// Compiles policies, and keeps what is compiled for as long as it is used.
#[derive(Debug, Default)]
pub(crate) struct PolicyStore {
    /// By uid.
    names: BTreeMap<String, Names>,
    /// By name.
    regions: BTreeMap<String, (u64, CompiledRegion)>,
    /// By name.
    providers: BTreeMap<String, Arc<ProviderSlot>>,
    sets: BTreeMap<SetSources, Arc<PolicySet>>,
    /// What each list of policies is compiled from, as found while one configuration is compiled.
    found: BTreeMap<Vec<String>, SetSources>,
    source: Option<Source>,
}

type Source = (Table<PolicySpec>, Table<RegionSpec>, Table<JwtProviderSpec>);

/// What a policy names, so that ten thousand rules are walked once for each revision.
#[derive(Debug)]
struct Names {
    revision: u64,
    by_kind: BTreeSet<(Kind, String)>,
}

impl PolicyStore {
    /// Takes up what `config` says of regions and providers. Whether anything has changed that a
    /// virtual server may be compiled from.
    pub(crate) fn take_up(&mut self, config: &Config) -> bool {
        self.found.clear();
        let is_same = self.source.as_ref().is_some_and(|(policies, regions, providers)| {
            policies.is_same(&config.policies)
                && regions.is_same(&config.regions)
                && providers.is_same(&config.jwt_providers)
        });
        if is_same {
            return false;
        }
        self.compile_regions(config);
        let mut providers = BTreeMap::new();
        for resource in config.jwt_providers.iter() {
            let known = self.providers.remove(&resource.name);
            let slot = match known.filter(|slot| slot.uid == resource.uid) {
                Some(slot) => slot,
                None => Arc::new(ProviderSlot::new(&resource.name, &resource.uid)),
            };
            slot.set(resource.revision, &resource.spec);
            providers.insert(resource.name.clone(), slot);
        }
        self.providers = providers;
        let uids: BTreeSet<&str> = config.policies.iter().map(|p| p.uid.as_str()).collect();
        self.names.retain(|uid, _| uids.contains(uid.as_str()));
        self.source =
            Some((config.policies.clone(), config.regions.clone(), config.jwt_providers.clone()));
        true
    }

    /// The providers of tokens, by name.
    pub(crate) fn providers(&self) -> ProviderMap {
        Arc::new(self.providers.clone())
    }

    /// What the policies of `server` would be compiled from.
    pub(crate) fn sources(
        &mut self,
        config: &Config,
        server: &VirtualServerSpec,
        pools: &BTreeMap<String, Arc<PoolSlot>>,
    ) -> SetSources {
        let mut sources = SetSources::default();
        if server.policies.is_empty() {
            return sources;
        }
        if let Some(found) = self.found.get(&server.policies) {
            return found.clone();
        }
        let mut named = BTreeSet::new();
        for policy in server.policies.iter().filter_map(|name| config.policies.get(name)) {
            sources.policies.push((policy.uid.clone(), policy.revision));
            named.extend(self.names(policy).iter().cloned());
        }
        for (kind, name) in named {
            match kind {
                Kind::Pool => sources.pools.extend(pools.get(&name).map(|slot| slot.id)),
                Kind::Region => {
                    let region = config.regions.get(&name);
                    sources.regions.extend(region.map(|r| (r.uid.clone(), r.revision)));
                }
                Kind::JwtProvider => {
                    let provider = config.jwt_providers.get(&name);
                    sources.providers.extend(provider.map(|p| p.uid.clone()));
                }
                _ => {}
            }
        }
        self.found.insert(server.policies.clone(), sources.clone());
        sources
    }

    /// The compiled policies of `server`; none where it has none.
    pub(crate) fn set(
        &mut self,
        config: &Config,
        server: &VirtualServerSpec,
        pools: &BTreeMap<String, Arc<PoolSlot>>,
        sources: &SetSources,
    ) -> Result<Option<Arc<PolicySet>>, CompileError> {
        if server.policies.is_empty() {
            return Ok(None);
        }
        if let Some(set) = self.sets.get(sources) {
            return Ok(Some(Arc::clone(set)));
        }
        let (mut rules, mut parts) = (Vec::new(), Vec::new());
        for policy in server.policies.iter().filter_map(|name| config.policies.get(name)) {
            parts.push((policy.name.as_str().into(), rules.len()));
            rules.extend(policy.spec.rules.iter().cloned().map(|mut rule| {
                // Keys of rate limits and places in splits go by it.
                rule.name = format!("{}/{}", policy.name, rule.name);
                rule
            }));
        }
        let spec = PolicySpec { rules };
        let regions = self.regions.iter();
        let regions = regions.map(|(name, (_, region))| (name.as_str(), region.clone())).collect();
        let policy = CompiledPolicy::compile(&spec, &regions)?;
        let named = spec.references().into_iter().map(|reference| reference.target);
        let providers = named.filter(|target| target.kind == Kind::JwtProvider);
        let providers = providers.filter_map(|target| {
            let slot = Arc::clone(self.providers.get(&target.name)?);
            Some((target.name, slot))
        });
        // A configuration whose references don't hold is never committed: none is missing.
        let slots = policy.pools().iter().filter_map(|name| pools.get(&**name).cloned()).collect();
        let set = Arc::new(PolicySet {
            parts: parts.into(),
            pools: slots,
            providers: providers.collect(),
            policy,
        });
        self.sets.insert(sources.clone(), Arc::clone(&set));
        Ok(Some(set))
    }

    /// Drops what no virtual server uses any more.
    pub(crate) fn forget_unused(&mut self) {
        self.sets.retain(|_, set| Arc::strong_count(set) > 1);
    }

    fn names(&mut self, policy: &Resource<PolicySpec>) -> &BTreeSet<(Kind, String)> {
        let walk = || {
            let references = policy.spec.references().into_iter();
            let by_kind = references.map(|r| (r.target.kind, r.target.name)).collect();
            Names { revision: policy.revision, by_kind }
        };
        let names = self.names.entry(policy.uid.clone()).or_insert_with(walk);
        if names.revision != policy.revision {
            *names = walk();
        }
        &names.by_kind
    }

    fn compile_regions(&mut self, config: &Config) {
        let mut regions = BTreeMap::new();
        for region in config.regions.iter() {
            let known = self.regions.remove(&region.name);
            let known = known.filter(|(revision, _)| *revision == region.revision);
            let compiled =
                known.unwrap_or_else(|| (region.revision, CompiledRegion::new(&region.spec)));
            regions.insert(region.name.clone(), compiled);
        }
        self.regions = regions;
    }
}
