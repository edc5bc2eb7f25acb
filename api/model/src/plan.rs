//! Declarations, and the plan of what making one would change.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::command::Edit;
use crate::config::{AnyDraft, Config, Kind};
use crate::diff::{FieldDiff, diff};
use crate::resource::{Draft, ResourceRef};
use crate::spec::certificate::CertificateSpec;
use crate::spec::jwt_provider::JwtProviderSpec;
use crate::spec::monitor::MonitorSpec;
use crate::spec::policy::{PolicySpec, RegionSpec};
use crate::spec::pool::{AdminState, PoolSpec};
use crate::spec::traffic_group::TrafficGroupSpec;
use crate::spec::virtual_server::VirtualServerSpec;

/// A configuration as its author declares it; what `GET /export` answers and `POST /apply` takes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Declaration {
    /// Certificates.
    pub certificates: Vec<Draft<CertificateSpec>>,
    /// Issuers of tokens.
    pub jwt_providers: Vec<Draft<JwtProviderSpec>>,
    /// Monitors.
    pub monitors: Vec<Draft<MonitorSpec>>,
    /// Policies.
    pub policies: Vec<Draft<PolicySpec>>,
    /// Pools.
    pub pools: Vec<Draft<PoolSpec>>,
    /// Regions.
    pub regions: Vec<Draft<RegionSpec>>,
    /// Traffic groups.
    pub traffic_groups: Vec<Draft<TrafficGroupSpec>>,
    /// Virtual servers.
    pub virtual_servers: Vec<Draft<VirtualServerSpec>>,
}

/// How a declaration is compared with what is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanOptions {
    /// Delete what is there (and carries the label) but is not declared.
    pub prune: bool,
    /// With `prune`: only resources with this label, as key and value.
    pub label: Option<(String, String)>,
}

/// What making a declaration would change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Plan {
    /// The index of the configuration it was compared with.
    pub index: u64,
    /// Each resource.
    pub items: Vec<PlanItem>,
    /// What the author may not have meant, in sentences.
    pub warnings: Vec<String>,
}

/// What would become of one resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PlanItem {
    /// What would be done.
    pub action: PlanAction,
    /// The resource.
    pub resource: ResourceRef,
    /// For updates: each field that differs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldDiff>,
}

/// What would be done with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PlanAction {
    /// It is new.
    Create,
    /// It is there and not declared.
    Delete,
    /// It is as declared.
    Unchanged,
    /// It differs.
    Update,
}

impl Declaration {
    /// The declared part of `config`, without secrets.
    pub fn export(config: &Config) -> Self {
        Self {
            certificates: config.certificates.iter().map(|r| r.redacted().to_draft()).collect(),
            jwt_providers: config.jwt_providers.iter().map(|r| r.to_draft()).collect(),
            monitors: config.monitors.iter().map(|r| r.to_draft()).collect(),
            policies: config.policies.iter().map(|r| r.to_draft()).collect(),
            pools: config.pools.iter().map(|r| r.to_draft()).collect(),
            regions: config.regions.iter().map(|r| r.to_draft()).collect(),
            traffic_groups: config.traffic_groups.iter().map(|r| r.to_draft()).collect(),
            virtual_servers: config.virtual_servers.iter().map(|r| r.to_draft()).collect(),
        }
    }

    /// Every draft with the JSON pointer where it stands in the declaration.
    pub fn into_drafts(self) -> Vec<(String, AnyDraft)> {
        fn list<S>(
            kind: Kind,
            drafts: Vec<Draft<S>>,
            wrap: fn(Draft<S>) -> AnyDraft,
        ) -> impl Iterator<Item = (String, AnyDraft)> {
            let numbered = drafts.into_iter().enumerate();
            numbered.map(move |(i, draft)| (format!("/{}/{i}", kind.field()), wrap(draft)))
        }
        list(Kind::Monitor, self.monitors, AnyDraft::Monitor)
            .chain(list(Kind::Pool, self.pools, AnyDraft::Pool))
            .chain(list(Kind::Region, self.regions, AnyDraft::Region))
            .chain(list(Kind::JwtProvider, self.jwt_providers, AnyDraft::JwtProvider))
            .chain(list(Kind::Policy, self.policies, AnyDraft::Policy))
            .chain(list(Kind::Certificate, self.certificates, AnyDraft::Certificate))
            .chain(list(Kind::TrafficGroup, self.traffic_groups, AnyDraft::TrafficGroup))
            .chain(list(Kind::VirtualServer, self.virtual_servers, AnyDraft::VirtualServer))
            .collect()
    }
}

/// What making `drafts` would change in `config`, which stands at `index`.
pub fn plan(config: &Config, index: u64, drafts: &[AnyDraft], options: &PlanOptions) -> Plan {
    let mut items: Vec<_> = drafts.iter().map(|draft| plan_item(config, draft)).collect();
    if options.prune {
        let declared: BTreeSet<_> = items.iter().map(|item| item.resource.clone()).collect();
        items.extend(undeclared(config, &declared, options));
    }
    let warnings = drafts.iter().flat_map(|draft| warnings(config, draft)).collect();
    Plan { index, items, warnings }
}

/// The edits that carry out `plan`, which was made of `drafts`; `uid` makes random identifiers.
pub fn edits(plan: &Plan, drafts: Vec<AnyDraft>, mut uid: impl FnMut() -> String) -> Vec<Edit> {
    let changed: BTreeSet<_> = plan
        .items
        .iter()
        .filter(|item| matches!(item.action, PlanAction::Create | PlanAction::Update))
        .map(|item| &item.resource)
        .collect();
    let puts = drafts.into_iter().filter(|draft| {
        changed.contains(&ResourceRef { kind: draft.kind(), name: draft.name().to_owned() })
    });
    let mut edits: Vec<_> = puts.map(|draft| Edit::put(draft, uid())).collect();
    let deleted = plan.items.iter().filter(|item| item.action == PlanAction::Delete);
    edits.extend(deleted.map(|item| Edit::delete(item.resource.kind, &item.resource.name)));
    edits
}

impl Plan {
    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        self.items.iter().all(|item| item.action == PlanAction::Unchanged)
    }

    /// How many resources would be treated so.
    pub fn count(&self, action: PlanAction) -> usize {
        self.items.iter().filter(|item| item.action == action).count()
    }
}

fn plan_item(config: &Config, draft: &AnyDraft) -> PlanItem {
    let resource = ResourceRef { kind: draft.kind(), name: draft.name().to_owned() };
    let mut complete = draft.clone();
    complete.inherit(config);
    let Some(existing) = config.resource(draft.kind(), draft.name()) else {
        return PlanItem { action: PlanAction::Create, resource, fields: Vec::new() };
    };
    if complete.is_in(config) {
        return PlanItem { action: PlanAction::Unchanged, resource, fields: Vec::new() };
    }
    let mut fields = diff(&shown(&existing.to_draft()), &shown(&complete));
    fields.iter_mut().for_each(hide_secret);
    PlanItem { action: PlanAction::Update, resource, fields }
}

fn undeclared<'a>(
    config: &'a Config,
    declared: &'a BTreeSet<ResourceRef>,
    options: &'a PlanOptions,
) -> impl Iterator<Item = PlanItem> + 'a {
    let in_scope = |labels: &crate::resource::Labels| match &options.label {
        Some((key, value)) => labels.get(key) == Some(value),
        None => true,
    };
    Kind::ALL
        .iter()
        .filter(|kind| kind.is_declarable())
        .flat_map(|kind| config.resources(*kind))
        .filter(move |resource| in_scope(resource.labels()))
        .map(|r| ResourceRef { kind: r.kind(), name: r.name().to_owned() })
        .filter(|resource| !declared.contains(resource))
        .map(|resource| PlanItem { action: PlanAction::Delete, resource, fields: Vec::new() })
}

fn shown(draft: &AnyDraft) -> serde_json::Value {
    let value = serde_json::to_value(draft).unwrap_or_default();
    value.get("draft").cloned().unwrap_or_default()
}

fn hide_secret(field: &mut FieldDiff) {
    const SECRETS: [&str; 5] =
        ["private_key_pem", "private_key_sealed", "password", "password_hash", "secret_hash"];
    if field.pointer.split('/').any(|segment| SECRETS.contains(&segment)) {
        for side in [&mut field.before, &mut field.after] {
            if side.is_some() {
                *side = Some("(secret)".into());
            }
        }
    }
}

/// What is allowed and yet may be a mistake, in sentences.
fn warnings(config: &Config, draft: &AnyDraft) -> Vec<String> {
    let AnyDraft::Pool(draft) = draft else { return Vec::new() };
    let mut warnings = Vec::new();
    let usable = |pool: &PoolSpec| {
        pool.members.iter().any(|m| m.admin_state == AdminState::Enabled && m.weight > 0)
    };
    let previous = config.pools.get(&draft.name);
    if previous.is_some_and(|pool| usable(&pool.spec)) && !usable(&draft.spec) {
        warnings.push(format!("pool {}: no enabled member would be left", draft.name));
    }
    if draft.spec.tls.as_ref().is_some_and(|tls| !tls.verify) {
        warnings.push(format!(
            "pool {}: with tls.verify false, whoever answers at a member's address is trusted",
            draft.name
        ));
    }
    warnings
}

#[cfg(test)]
mod tests;
