//! Policies: ordered rules that say what becomes of a request.
//!
//! The first rule with a final action that matches decides; rules before it that match and
//! `continue` add what they modify.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::pool::queue::validate_priority;
use super::virtual_server::Persistence;
use crate::config::{Kind, Reference};
use crate::limits::{
    POLICY_LIST_MAX_COUNT, POLICY_RATE_LIMIT_MAX_COUNT, POLICY_REGEX_TOTAL_MAX_COST,
    POLICY_RULE_MAX_COUNT,
};
use crate::resource::Spec;
use crate::validate::{self, FieldErrors};

pub mod action;
pub mod cidr;
pub mod condition;
pub mod modify;
pub mod rewrite;
pub mod syntax;
pub mod template;

pub use action::{Action, Respond, Split, SplitPool, StableBy};
pub use cidr::{Cidr, RegionSpec};
pub use condition::{Condition, FieldMatch, PathMatch, ValueMatch};
pub use modify::{
    ClaimMatch, ClaimValue, HeaderEdits, KeyPart, Mirror, RateLimit, RequestTimeouts, RequireJwt,
};
pub use rewrite::{
    PathRewrite, PrefixRewrite, QueryRewrite, Redirect, RegexRewrite, Rewrite, Scheme,
};
pub use template::{Piece, Template, Variable};

/// What becomes of requests: rules in order, of which the first with a final action that matches
/// decides. A request that none decides goes to the virtual server's own pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct PolicySpec {
    /// The rules, the first to be tried first.
    pub rules: Vec<PolicyRule>,
}

/// When something is done, and what.
///
/// A rule that matches does what it says in this order: `deny_regions`, `rate_limits`,
/// `require_jwt`, and if the request is still alive the rest. Of several rules that match, header
/// edits and rewrites are done one after the other; of `mirror`, `persistence`, `queue_priority` and
/// each timeout, the last counts. Conditions always look at the request as it came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PolicyRule {
    /// Unique in the policy. Counters and rate limits go by it, and so do the shares of a split.
    pub name: String,
    /// When the rule matches. Absent: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// Clients in one of these regions are answered 403, whatever the action is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny_regions: Vec<String>,
    /// How often the same client, or whatever the keys name, may ask; beyond, 429.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rate_limits: Vec<RateLimit>,
    /// The token that a request must carry; without, 401, and 403 where its claims don't suffice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_jwt: Option<RequireJwt>,
    /// Changes to the header that the member gets.
    #[serde(default, skip_serializing_if = "HeaderEdits::is_empty")]
    pub request_headers: HeaderEdits,
    /// Changes to the header that the client gets.
    #[serde(default, skip_serializing_if = "HeaderEdits::is_empty")]
    pub response_headers: HeaderEdits,
    /// Changes to what the member is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Rewrite>,
    /// A pool that gets copies of a share of the requests; its answers are thrown away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
    /// How a client finds back to its member, instead of the virtual server's setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<Persistence>,
    /// Timeouts instead of the virtual server's.
    #[serde(default, skip_serializing_if = "RequestTimeouts::is_empty")]
    pub timeouts: RequestTimeouts,
    /// How soon the request gets room where it has to wait for a member, -100 to 100, the higher the
    /// sooner, instead of the virtual server's. Absent: the virtual server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_priority: Option<i8>,
    /// What finally becomes of the request. Absent: `continue`.
    #[serde(default, skip_serializing_if = "Action::is_continue")]
    pub action: Action,
}

impl PolicyRule {
    /// A rule that does nothing yet.
    pub fn new(name: impl Into<String>, when: Option<Condition>) -> Self {
        Self {
            name: name.into(),
            when,
            deny_regions: Vec::new(),
            rate_limits: Vec::new(),
            require_jwt: None,
            request_headers: HeaderEdits::default(),
            response_headers: HeaderEdits::default(),
            rewrite: None,
            mirror: None,
            persistence: None,
            timeouts: RequestTimeouts::default(),
            queue_priority: None,
            action: Action::Continue,
        }
    }

    /// The same with an action.
    #[must_use]
    pub fn then(self, action: Action) -> Self {
        Self { action, ..self }
    }

    /// The regions that it names, with pointers relative to the rule.
    pub fn regions(&self) -> Vec<(String, &str)> {
        let mut found = Vec::new();
        for (i, name) in self.deny_regions.iter().enumerate() {
            found.push((format!("/deny_regions/{i}"), name.as_str()));
        }
        if let Some(when) = &self.when {
            when.visit("/when", &mut |pointer, condition| {
                if let Condition::Region(names) = condition {
                    for (i, name) in names.iter().enumerate() {
                        found.push((format!("{pointer}/region/{i}"), name.as_str()));
                    }
                }
            });
        }
        found
    }
}

impl Spec for PolicySpec {
    const KIND: Kind = Kind::Policy;

    fn validate(&self, errors: &mut FieldErrors) {
        errors.range("rules", self.rules.len(), 0, POLICY_RULE_MAX_COUNT);
        let mut names = BTreeSet::new();
        let mut regex_cost = 0_usize;
        errors.within("rules", |errors| {
            for (i, rule) in self.rules.iter().enumerate().take(POLICY_RULE_MAX_COUNT) {
                if errors.is_full() {
                    return;
                }
                errors.within(i, |errors| {
                    rule.validate(errors);
                    errors.require(names.insert(&rule.name), "name", "duplicate", || {
                        format!("rule {} stands above", rule.name)
                    });
                    regex_cost = regex_cost.saturating_add(rule.regex_cost());
                });
            }
        });
        errors.require(
            regex_cost <= POLICY_REGEX_TOTAL_MAX_COST,
            "rules",
            "regex_too_large",
            || {
                format!(
                    "the regular expressions together have a size of {regex_cost}; at most \
                     {POLICY_REGEX_TOTAL_MAX_COST} is allowed"
                )
            },
        );
    }

    /// Pools, regions and providers of tokens.
    fn references(&self) -> Vec<Reference> {
        let mut found = Vec::new();
        for (i, rule) in self.rules.iter().enumerate() {
            rule.visit_references(&mut |place, kind, name| {
                found.push(Reference::new(format!("/spec/rules/{i}{place}"), kind, name));
            });
        }
        found
    }
}

impl PolicyRule {
    fn visit_references(&self, visit: &mut impl FnMut(&str, Kind, &str)) {
        for (place, region) in self.regions() {
            visit(&place, Kind::Region, region);
        }
        if let Some(require_jwt) = &self.require_jwt {
            visit("/require_jwt/provider", Kind::JwtProvider, &require_jwt.provider);
        }
        if let Some(mirror) = &self.mirror {
            visit("/mirror/pool", Kind::Pool, &mirror.pool);
        }
        match &self.action {
            Action::Pool(name) => visit("/action/pool", Kind::Pool, name),
            Action::Split(split) => {
                for (j, share) in split.pools.iter().enumerate() {
                    visit(&format!("/action/split/pools/{j}/pool"), Kind::Pool, &share.pool);
                }
            }
            Action::Continue | Action::Redirect(_) | Action::Respond(_) => {}
        }
    }
}

impl PolicyRule {
    fn validate(&self, errors: &mut FieldErrors) {
        validate::name(errors, "name", &self.name);
        if let Some(when) = &self.when {
            errors.within("when", |errors| when.validate(errors));
        }
        errors.range("deny_regions", self.deny_regions.len(), 0, POLICY_LIST_MAX_COUNT);
        errors.within("deny_regions", |errors| {
            for (i, name) in self.deny_regions.iter().enumerate().take(POLICY_LIST_MAX_COUNT) {
                validate::name(errors, &i.to_string(), name);
            }
        });
        errors.range("rate_limits", self.rate_limits.len(), 0, POLICY_RATE_LIMIT_MAX_COUNT);
        errors.within("rate_limits", |errors| {
            for (i, limit) in self.rate_limits.iter().enumerate() {
                errors.within(i, |errors| limit.validate(errors));
            }
        });
        if let Some(require_jwt) = &self.require_jwt {
            errors.within("require_jwt", |errors| require_jwt.validate(errors));
        }
        errors.within("request_headers", |errors| self.request_headers.validate(errors));
        errors.within("response_headers", |errors| self.response_headers.validate(errors));
        if let Some(rewrite) = &self.rewrite {
            errors.within("rewrite", |errors| rewrite.validate(errors));
        }
        if let Some(mirror) = &self.mirror {
            errors.within("mirror", |errors| mirror.validate(errors));
        }
        if let Some(persistence) = &self.persistence {
            errors.within("persistence", |errors| persistence.validate(errors));
        }
        errors.within("timeouts", |errors| self.timeouts.validate(errors));
        if let Some(priority) = self.queue_priority {
            validate_priority(errors, priority);
        }
        errors.within("action", |errors| self.action.validate(errors));
    }

    /// The size of its regular expressions together, see [`syntax::Regex::cost`].
    fn regex_cost(&self) -> usize {
        let mut patterns = Vec::new();
        if let Some(when) = &self.when {
            when.visit("", &mut |_, condition| patterns.extend(condition.regex()));
        }
        patterns.extend(self.rewrite.as_ref().and_then(|r| r.path.as_ref()?.regex()));
        if let Action::Redirect(redirect) = &self.action {
            patterns.extend(redirect.path.as_ref().and_then(PathRewrite::regex));
        }
        let costs = patterns.into_iter().filter_map(|p| Some(syntax::Regex::parse(p).ok()?.cost));
        costs.fold(0, usize::saturating_add)
    }
}

#[cfg(test)]
mod tests;
