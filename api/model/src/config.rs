//! The whole declared configuration: one table per kind of resource.
//!
//! Invariant: every reference points at a resource that exists, and no two virtual servers listen
//! on the same address and port. [`Config::edited`] is the only way to a new configuration, and
//! keeps it so.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::command::{Edit, EditAction, Precondition, Rejection};
use crate::resource::{Draft, Labels, Resource, ResourceRef, Spec};
use crate::spec::certificate::CertificateSpec;
use crate::spec::jwt_provider::JwtProviderSpec;
use crate::spec::monitor::MonitorSpec;
use crate::spec::node::NodeSpec;
use crate::spec::policy::{PolicySpec, RegionSpec};
use crate::spec::pool::PoolSpec;
use crate::spec::token::TokenSpec;
use crate::spec::traffic_group::TrafficGroupSpec;
use crate::spec::user::UserSpec;
use crate::spec::virtual_server::VirtualServerSpec;
use crate::validate::FieldErrors;

mod listeners;
mod traffic_groups;

/// Declares the kinds of resources: everything that goes over all of them is made from this list,
/// so that a new kind is a module under `spec` and a line here.
macro_rules! kinds {
    ($( $(#[$doc:meta])* $Variant:ident, $field:ident, $spec:ty, $singular:literal, $plural:literal; )*) => {
        /// A kind of resource.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum Kind {
            $( $(#[$doc])* #[serde(rename = $singular)] $Variant, )*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$( Self::$Variant ),*];

            /// The name of one, such as `virtual-server`.
            pub fn singular(self) -> &'static str {
                match self { $( Self::$Variant => $singular, )* }
            }

            /// The name of many, as in URLs, such as `virtual-servers`.
            pub fn plural(self) -> &'static str {
                match self { $( Self::$Variant => $plural, )* }
            }

            /// The key of its list in a declaration, such as `virtual_servers`.
            pub fn field(self) -> &'static str {
                match self { $( Self::$Variant => stringify!($field), )* }
            }
        }

        /// A resource of any kind.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum AnyResource {
            $( $(#[$doc])* $Variant(Arc<Resource<$spec>>), )*
        }

        impl AnyResource {
            /// Its kind.
            pub fn kind(&self) -> Kind {
                match self { $( Self::$Variant(_) => Kind::$Variant, )* }
            }

            /// Its name.
            pub fn name(&self) -> &str {
                match self { $( Self::$Variant(resource) => &resource.name, )* }
            }

            /// The Raft index that last changed it.
            pub fn revision(&self) -> u64 {
                match self { $( Self::$Variant(resource) => resource.revision, )* }
            }

            /// When it last changed, in ms since the Unix epoch.
            pub fn updated_at_ms(&self) -> u64 {
                match self { $( Self::$Variant(resource) => resource.updated_at_ms, )* }
            }

            /// Its labels.
            pub fn labels(&self) -> &Labels {
                match self { $( Self::$Variant(resource) => &resource.labels, )* }
            }

            /// Its free text.
            pub fn description(&self) -> &str {
                match self { $( Self::$Variant(resource) => &resource.description, )* }
            }

            /// The same without secrets: what the API shows.
            #[must_use]
            pub fn redacted(&self) -> Self {
                match self {
                    $( Self::$Variant(resource) => Self::$Variant(Arc::new(resource.redacted())), )*
                }
            }

            /// The declaration that would make it.
            pub fn to_draft(&self) -> AnyDraft {
                match self { $( Self::$Variant(resource) => AnyDraft::$Variant(resource.to_draft()), )* }
            }
        }

        /// A declaration of a resource of any kind.
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(tag = "kind", content = "draft")]
        #[allow(clippy::large_enum_variant, reason = "drafts are few, and moved once or twice each")]
        pub enum AnyDraft {
            $( $(#[$doc])* #[serde(rename = $singular)] $Variant(Draft<$spec>), )*
        }

        impl AnyDraft {
            /// Reads a declaration of `kind`.
            ///
            /// # Errors
            /// Where `value` is not of the shape of that kind.
            pub fn from_value(
                kind: Kind,
                value: serde_json::Value,
            ) -> Result<Self, serde_json::Error> {
                Ok(match kind {
                    $( Kind::$Variant => Self::$Variant(serde_json::from_value(value)?), )*
                })
            }

            /// Reads a declaration of `kind` from any deserializer (so that errors can have paths).
            ///
            /// # Errors
            /// Where the input is not of the shape of that kind.
            pub fn deserialize_as<'de, D: serde::Deserializer<'de>>(
                kind: Kind,
                deserializer: D,
            ) -> Result<Self, D::Error> {
                Ok(match kind {
                    $( Kind::$Variant => Self::$Variant(Draft::deserialize(deserializer)?), )*
                })
            }

            /// Its kind.
            pub fn kind(&self) -> Kind {
                match self { $( Self::$Variant(_) => Kind::$Variant, )* }
            }

            /// Its name.
            pub fn name(&self) -> &str {
                match self { $( Self::$Variant(draft) => &draft.name, )* }
            }

            /// Gives it a name.
            pub fn rename(&mut self, name: &str) {
                match self { $( Self::$Variant(draft) => name.clone_into(&mut draft.name), )* }
            }

            /// Its labels.
            pub fn labels(&self) -> &Labels {
                match self { $( Self::$Variant(draft) => &draft.labels, )* }
            }

            /// Notes every fault that can be seen without looking at other resources.
            pub fn validate(&self, errors: &mut FieldErrors) {
                match self { $( Self::$Variant(draft) => draft.validate(errors), )* }
            }

            /// The pointer of a field that only the server may set and that this sets, if any.
            pub fn server_only_field(&self) -> Option<&'static str> {
                match self { $( Self::$Variant(draft) => draft.spec.server_only_field(), )* }
            }

            /// Carries over secrets and server-set fields from what is stored under its name.
            pub fn inherit(&mut self, config: &Config) {
                match self {
                    $( Self::$Variant(draft) => {
                        if let Some(existing) = config.$field.get(&draft.name) {
                            draft.spec.inherit(&existing.spec);
                        }
                    } )*
                }
            }

            /// Whether making this would leave `config` as it is. Secrets must have been inherited.
            pub fn is_in(&self, config: &Config) -> bool {
                match self {
                    $( Self::$Variant(draft) => {
                        config.$field.get(&draft.name).is_some_and(|existing| draft.is_as(existing))
                    } )*
                }
            }

            fn references(&self) -> Vec<Reference> {
                match self { $( Self::$Variant(draft) => draft.spec.references(), )* }
            }
        }

        /// The whole declared configuration.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        pub struct Config {
            $( $(#[$doc])* #[serde(default)] pub $field: Table<$spec>, )*
        }

        impl Config {
            /// The resource of that kind and name.
            pub fn resource(&self, kind: Kind, name: &str) -> Option<AnyResource> {
                match kind {
                    $( Kind::$Variant => self.$field.get(name).cloned().map(AnyResource::$Variant), )*
                }
            }

            /// Every resource of that kind, by name.
            pub fn resources(&self, kind: Kind) -> Vec<AnyResource> {
                match kind {
                    $( Kind::$Variant => {
                        self.$field.iter().cloned().map(AnyResource::$Variant).collect()
                    } )*
                }
            }

            fn revision(&self, kind: Kind, name: &str) -> Option<u64> {
                match kind {
                    $( Kind::$Variant => self.$field.get(name).map(|r| r.revision), )*
                }
            }

            fn put(&mut self, draft: &AnyDraft, stamp: Stamp<'_>) {
                match draft { $( AnyDraft::$Variant(draft) => self.$field.put(draft, stamp), )* }
            }

            fn remove(&mut self, kind: Kind, name: &str) {
                match kind { $( Kind::$Variant => self.$field.remove(name), )* }
            }

            /// Calls `visit` with every resource and each of its references.
            fn visit_references(&self, mut visit: impl FnMut(Kind, &str, Reference)) {
                $( for resource in self.$field.iter() {
                    for reference in resource.spec.references() {
                        visit(Kind::$Variant, &resource.name, reference);
                    }
                } )*
            }
        }
    };
}

kinds! {
    /// A certificate and its key.
    Certificate, certificates, CertificateSpec, "certificate", "certificates";
    /// Who issues tokens, and its keys.
    JwtProvider, jwt_providers, JwtProviderSpec, "jwt-provider", "jwt-providers";
    /// An active health check.
    Monitor, monitors, MonitorSpec, "monitor", "monitors";
    /// A machine of the cluster.
    Node, nodes, NodeSpec, "node", "nodes";
    /// Rules that say what becomes of requests.
    Policy, policies, PolicySpec, "policy", "policies";
    /// Backends and how load is spread over them.
    Pool, pools, PoolSpec, "pool", "pools";
    /// A named list of networks.
    Region, regions, RegionSpec, "region", "regions";
    /// A credential of a program.
    Token, tokens, TokenSpec, "token", "tokens";
    /// Virtual addresses that move together.
    TrafficGroup, traffic_groups, TrafficGroupSpec, "traffic-group", "traffic-groups";
    /// A person who signs in.
    User, users, UserSpec, "user", "users";
    /// What clients connect to.
    VirtualServer, virtual_servers, VirtualServerSpec, "virtual-server", "virtual-servers";
}

impl Kind {
    /// The kind of that plural name (`virtual-servers`), singular (`virtual-server`) or declaration
    /// key (`virtual_servers`).
    pub fn from_noun(noun: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|kind| [kind.plural(), kind.singular(), kind.field()].contains(&noun))
    }

    /// Whether it is part of a declaration. Users, tokens and nodes are not: they are who acts and
    /// where, and a declaration applied elsewhere must not carry them along.
    pub fn is_declarable(self) -> bool {
        matches!(
            self,
            Self::Certificate
                | Self::JwtProvider
                | Self::Monitor
                | Self::Policy
                | Self::Pool
                | Self::Region
                | Self::TrafficGroup
                | Self::VirtualServer
        )
    }
}

/// A use of one resource by another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Where it stands in the referring resource's document.
    pub pointer: String,
    /// What it names.
    pub target: ResourceRef,
}

impl Reference {
    /// A reference at `pointer` to the `kind` called `name`.
    pub fn new(pointer: impl Into<String>, kind: Kind, name: &str) -> Self {
        Self { pointer: pointer.into(), target: ResourceRef { kind, name: name.to_owned() } }
    }
}

/// The resources of one kind, by name. Cloning is cheap; a change copies the index, never the
/// resources.
#[derive(Clone, Debug, PartialEq)]
pub struct Table<S>(Arc<BTreeMap<String, Arc<Resource<S>>>>);

impl<S> Default for Table<S> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<S> Table<S> {
    /// The resource of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Resource<S>>> {
        self.0.get(name)
    }

    /// Every resource, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Resource<S>>> {
        self.0.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether both are the same table in memory: a quick "nothing changed".
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<S: Spec> Table<S> {
    fn put(&mut self, draft: &Draft<S>, stamp: Stamp<'_>) {
        let table = Arc::make_mut(&mut self.0);
        let made = |uid: String, created_at_ms: u64| {
            Arc::new(Resource {
                name: draft.name.clone(),
                labels: draft.labels.clone(),
                description: draft.description.clone(),
                spec: draft.spec.clone(),
                uid,
                revision: stamp.index,
                created_at_ms,
                updated_at_ms: stamp.at_ms,
            })
        };
        match table.entry(draft.name.clone()) {
            Entry::Occupied(mut entry) => {
                if draft.is_as(entry.get()) {
                    return;
                }
                let resource = made(entry.get().uid.clone(), entry.get().created_at_ms);
                entry.insert(resource);
            }
            Entry::Vacant(entry) => {
                entry.insert(made(stamp.uid.to_owned(), stamp.at_ms));
            }
        }
    }

    fn remove(&mut self, name: &str) {
        Arc::make_mut(&mut self.0).remove(name);
    }
}

impl<S: Serialize> Serialize for Table<S> {
    fn serialize<Z: serde::Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        serializer.collect_seq(self.0.values())
    }
}

impl<'de, S: Deserialize<'de>> Deserialize<'de> for Table<S> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list = Vec::<Arc<Resource<S>>>::deserialize(deserializer)?;
        Ok(Self(Arc::new(list.into_iter().map(|r| (r.name.clone(), r)).collect())))
    }
}

/// What the server sets on a resource that it stores.
#[derive(Clone, Copy)]
struct Stamp<'a> {
    index: u64,
    at_ms: u64,
    uid: &'a str,
}

impl Config {
    /// The configuration after `edits`, all or none, as Raft entry `index` of time `at_ms`.
    ///
    /// Edits that change nothing leave their resource's revision as it was.
    ///
    /// # Errors
    /// The reason why the edits can't be made; nothing changes then.
    pub fn edited(&self, edits: &[Edit], index: u64, at_ms: u64) -> Result<Self, Rejection> {
        let mut next = self.clone();
        let mut errors = FieldErrors::default();
        let mut deleted = Vec::new();
        for edit in edits {
            self.check_precondition(edit)?;
            match &edit.action {
                EditAction::Delete => {
                    if next.revision(edit.kind, &edit.name).is_none() {
                        return Err(Rejection::NotFound { resource: edit.resource() });
                    }
                    next.remove(edit.kind, &edit.name);
                    deleted.push(edit.resource());
                }
                EditAction::Put { draft, uid } => {
                    let mut draft = AnyDraft::clone(draft);
                    draft.inherit(&next);
                    errors.of(edit.resource(), |errors| {
                        draft.validate(errors);
                        next.check_node_edit(&draft, errors);
                    });
                    next.put(&draft, Stamp { index, at_ms, uid });
                }
            }
        }
        next.check_listener_count()?;
        next.check_puts(self, edits, &mut errors);
        if !errors.is_empty() {
            return Err(Rejection::Invalid { errors: errors.into_vec() });
        }
        next.check_deleted(&deleted)?;
        Ok(next)
    }

    /// The configuration with nodes that joined; callers can't make nodes, see [`Config::edited`].
    pub(crate) fn with_nodes(&self, edits: &[Edit], index: u64, at_ms: u64) -> Self {
        let mut next = self.clone();
        for edit in edits {
            if let EditAction::Put { draft, uid } = &edit.action {
                next.put(draft, Stamp { index, at_ms, uid });
            }
        }
        next
    }

    /// Every resource that refers to `target`.
    pub fn referrers(&self, target: &ResourceRef) -> Vec<ResourceRef> {
        let mut found = Vec::new();
        self.visit_references(|kind, name, reference| {
            if reference.target == *target {
                found.push(ResourceRef { kind, name: name.to_owned() });
            }
        });
        found.dedup();
        found
    }

    /// Checks every invariant of a whole configuration; what [`Config::edited`] upholds.
    ///
    /// # Errors
    /// A sentence for each breach.
    pub fn check_invariants(&self) -> Result<(), Vec<String>> {
        let mut broken = Vec::new();
        self.visit_references(|kind, name, reference| {
            if self.revision(reference.target.kind, &reference.target.name).is_none() {
                let at = format!("{}/{name}{}", kind.plural(), reference.pointer);
                broken.push(format!("{at} names {}, which does not exist", reference.target));
            }
        });
        let mut owners = BTreeMap::new();
        for server in self.virtual_servers.iter() {
            for listener in server.spec.listeners() {
                if let Some(other) =
                    owners.insert((server.spec.protocol.transport(), listener), &server.name)
                {
                    broken.push(format!("{other} and {} both listen on {listener}", server.name));
                }
            }
        }
        let (mut vrids, mut floating) = (BTreeMap::new(), BTreeMap::new());
        for group in self.traffic_groups.iter() {
            if let Some(other) = vrids.insert(group.spec.virtual_router_id, &group.name) {
                broken.push(format!("{other} and {} have one VRID", group.name));
            }
            for address in &group.spec.addresses {
                if let Some(other) = floating.insert(address.address, &group.name) {
                    broken.push(format!("{other} and {} share {}", group.name, address.address));
                }
            }
        }
        if broken.is_empty() { Ok(()) } else { Err(broken) }
    }

    /// Preconditions speak of the configuration before the command, not of what its own earlier
    /// edits made.
    fn check_precondition(&self, edit: &Edit) -> Result<(), Rejection> {
        let revision = self.revision(edit.kind, &edit.name);
        let resource = edit.resource();
        match (&edit.precondition, revision) {
            (Precondition::Absent, Some(revision)) => {
                Err(Rejection::AlreadyExists { resource, revision })
            }
            (Precondition::Revision(wanted), found) if found != Some(*wanted) => {
                Err(Rejection::RevisionMismatch { resource, wanted: *wanted, found })
            }
            (Precondition::Exists, None) => Err(Rejection::NotFound { resource }),
            _ => Ok(()),
        }
    }

    /// Nodes are made by joining, which sets who they are.
    fn check_node_edit(&self, draft: &AnyDraft, errors: &mut FieldErrors) {
        let AnyDraft::Node(draft) = draft else { return };
        match self.nodes.get(&draft.name) {
            None => errors.push("name", "not_allowed", "nodes are added by `ballastd join` only"),
            Some(existing) if !existing.spec.is_same_member(&draft.spec) => {
                errors.push("spec", "read_only", "who a node is was set when it joined; only `availability`, `capacity` and `interfaces` can be changed");
            }
            Some(_) => {}
        }
    }

    fn check_puts(&self, before: &Self, edits: &[Edit], errors: &mut FieldErrors) {
        let mut owners = None;
        for edit in edits {
            let EditAction::Put { draft, .. } = &edit.action else { continue };
            errors.of(edit.resource(), |errors| {
                for reference in draft.references() {
                    let target = &reference.target;
                    if self.revision(target.kind, &target.name).is_none() {
                        errors.at(&reference.pointer, "unknown_reference", || {
                            format!("there is no {} {:?}", target.kind.singular(), target.name)
                        });
                    }
                }
                match draft.as_ref() {
                    AnyDraft::VirtualServer(draft) => {
                        let owners = owners.get_or_insert_with(|| self.listener_owners());
                        listeners::check(draft, owners, errors);
                    }
                    AnyDraft::TrafficGroup(draft) => self.check_traffic_group(draft, errors),
                    AnyDraft::Node(draft) => self.check_node_addresses(before, draft, errors),
                    _ => {}
                }
            });
        }
    }

    fn check_deleted(&self, deleted: &[ResourceRef]) -> Result<(), Rejection> {
        let gone: BTreeSet<_> =
            deleted.iter().filter(|r| self.revision(r.kind, &r.name).is_none()).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let mut referrers = BTreeMap::<_, BTreeSet<_>>::new();
        self.visit_references(|kind, name, reference| {
            if gone.contains(&reference.target) {
                let referrer = ResourceRef { kind, name: name.to_owned() };
                referrers.entry(reference.target).or_default().insert(referrer);
            }
        });
        match referrers.pop_first() {
            None => Ok(()),
            Some((resource, referrers)) => {
                Err(Rejection::Referenced { resource, referrers: referrers.into_iter().collect() })
            }
        }
    }
}

#[cfg(test)]
mod tests;
