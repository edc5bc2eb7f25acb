//! From what was declared to what can be evaluated.
//!
//! What validation has let through compiles; the errors here are for policies that have not been
//! validated, or that name a region that is gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use ballast_model::Persistence;
use ballast_model::spec::policy::{
    self as spec, Action, PolicySpec, RegionSpec, RequestTimeouts, RequireJwt, Respond,
};
use rustc_hash::FxHashMap;

use crate::cidr::AddressSet;
use crate::condition::Condition;
use crate::decision::{HeaderEdit, Limit};
use crate::index::Index;
use crate::split::Split;
use crate::template::Template;
use crate::write::{Redirect, Rewrite};

/// Most memory that one compiled regular expression may take, in bytes. The cost that validation
/// allows stays far below.
const REGEX_MAX_BYTES: usize = 8 << 20;
/// What each thread may remember of where an expression has led it, in bytes: input can fill it.
const REGEX_CACHE_MAX_BYTES: usize = 256 << 10;

/// A policy that can be evaluated; immutable.
#[derive(Debug)]
pub struct CompiledPolicy {
    pub(crate) rules: Box<[Rule]>,
    pub(crate) index: Index,
    pools: Box<[Box<str>]>,
}

/// Which of [`CompiledPolicy::pools`] is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolIndex(pub u32);

/// Why a policy can't be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// A regular expression that is none, or is too large.
    #[error("the regular expression {pattern:?} can't be compiled")]
    Regex {
        /// The expression.
        pattern: String,
        /// What is wrong with it.
        #[source]
        source: Box<regex::Error>,
    },
    /// A template with a `$` that has no meaning.
    #[error("the template {text:?} {why}")]
    Template {
        /// The template.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// A region that does not exist.
    #[error("there is no region {name:?}")]
    UnknownRegion {
        /// Its name.
        name: String,
    },
}

/// A region's name and what is in it.
pub(crate) type Region = (Box<str>, Arc<AddressSet>);

/// Regions by name, compiled once for all policies.
#[derive(Clone, Debug, Default)]
pub struct Regions(BTreeMap<Box<str>, Arc<AddressSet>>);

/// A compiled region; clones share it.
#[derive(Clone, Debug)]
pub struct CompiledRegion(Arc<AddressSet>);

impl CompiledRegion {
    /// Compiles a region.
    pub fn new(region: &RegionSpec) -> Self {
        Self(Arc::new(AddressSet::new(&region.cidrs)))
    }
}

impl<'a> FromIterator<(&'a str, CompiledRegion)> for Regions {
    fn from_iter<I: IntoIterator<Item = (&'a str, CompiledRegion)>>(regions: I) -> Self {
        Self(regions.into_iter().map(|(name, region)| (name.into(), region.0)).collect())
    }
}

impl Regions {
    /// Compiles regions.
    pub fn new<'a>(regions: impl IntoIterator<Item = (&'a str, &'a RegionSpec)>) -> Self {
        let compiled = regions
            .into_iter()
            .map(|(name, region)| (name.into(), Arc::new(AddressSet::new(&region.cidrs))));
        Self(compiled.collect())
    }

    pub(crate) fn find(&self, names: &[String]) -> Result<Vec<Region>, CompileError> {
        let find = |name: &String| match self.0.get_key_value(name.as_str()) {
            Some((name, region)) => Ok((name.clone(), Arc::clone(region))),
            None => Err(CompileError::UnknownRegion { name: name.clone() }),
        };
        names.iter().map(find).collect()
    }
}

/// A compiled rule: no larger than a line of the cache, since of many rules each is a miss. What few
/// rules have, and what the index mostly answers, stands apart.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: Box<str>,
    pub(crate) when: Option<Box<Condition>>,
    /// Whether the index finds it exactly when its condition holds.
    pub(crate) is_settled: bool,
    pub(crate) extras: Option<Box<Extras>>,
    pub(crate) action: RuleAction,
}

/// What a rule does besides its action.
#[derive(Debug)]
pub(crate) struct Extras {
    pub(crate) deny_regions: Vec<Region>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) require_jwt: Option<RequireJwt>,
    pub(crate) request_edits: Vec<HeaderEdit>,
    pub(crate) response_edits: Vec<HeaderEdit>,
    pub(crate) rewrite: Option<Rewrite>,
    pub(crate) mirror: Option<(PoolIndex, u8)>,
    pub(crate) persistence: Option<Persistence>,
    pub(crate) timeouts: RequestTimeouts,
    pub(crate) queue_priority: Option<i8>,
}

/// A compiled [`Action`].
#[derive(Debug)]
pub(crate) enum RuleAction {
    Continue,
    Pool(PoolIndex),
    Split(Box<Split>),
    Redirect(Box<Redirect>),
    Respond(Box<Respond>),
}

impl CompiledPolicy {
    /// Compiles a policy that validation has let through.
    ///
    /// # Errors
    /// A region that does not exist; a regular expression or template that validation would have
    /// refused.
    pub fn compile(policy: &PolicySpec, regions: &Regions) -> Result<Self, CompileError> {
        let mut pools = Pools::default();
        let rules = policy.rules.iter().map(|rule| Rule::compile(rule, regions, &mut pools));
        let mut rules = rules.collect::<Result<Box<[Rule]>, _>>()?;
        let (index, settled) = Index::new(policy.rules.iter().map(|rule| rule.when.as_ref()));
        for (rule, is_settled) in rules.iter_mut().zip(settled) {
            rule.is_settled = is_settled;
        }
        Ok(Self { rules, index, pools: pools.names.into() })
    }

    /// The names of the pools that its decisions speak of, each once.
    pub fn pools(&self) -> &[Box<str>] {
        &self.pools
    }

    /// The name of a pool.
    pub fn pool(&self, index: PoolIndex) -> &str {
        self.pools.get(index.0 as usize).map_or("", |name| name)
    }

    /// How many rules it has.
    pub fn rule_count(&self) -> usize {
        self.rules.len()
    }
}

#[derive(Default)]
struct Pools {
    names: Vec<Box<str>>,
    by_name: FxHashMap<Box<str>, PoolIndex>,
}

impl Pools {
    fn index(&mut self, name: &str) -> PoolIndex {
        if let Some(index) = self.by_name.get(name) {
            return *index;
        }
        // Fewer than 2^32: each takes memory in the declaration.
        let index = PoolIndex(self.names.len() as u32);
        self.names.push(name.into());
        self.by_name.insert(name.into(), index);
        index
    }
}

impl Rule {
    fn compile(
        rule: &spec::PolicyRule,
        regions: &Regions,
        pools: &mut Pools,
    ) -> Result<Self, CompileError> {
        let when = rule.when.as_ref().map(|when| Condition::compile(when, regions)).transpose()?;
        let action = match &rule.action {
            Action::Continue => RuleAction::Continue,
            Action::Pool(name) => RuleAction::Pool(pools.index(name)),
            Action::Split(split) => {
                let index = |name: &str| pools.index(name);
                RuleAction::Split(Box::new(Split::new(&rule.name, split, index)))
            }
            Action::Redirect(redirect) => {
                RuleAction::Redirect(Box::new(Redirect::compile(redirect)?))
            }
            Action::Respond(respond) => RuleAction::Respond(Box::new(respond.clone())),
        };
        // Named one by one, so that a new field can't be forgotten here.
        let spec::PolicyRule {
            name: _,
            when: _,
            action: _,
            deny_regions,
            rate_limits,
            require_jwt,
            request_headers,
            response_headers,
            rewrite,
            mirror,
            persistence,
            timeouts,
            queue_priority,
        } = rule;
        let has_extras = !(deny_regions.is_empty()
            && rate_limits.is_empty()
            && require_jwt.is_none()
            && request_headers.is_empty()
            && response_headers.is_empty()
            && rewrite.is_none()
            && mirror.is_none()
            && persistence.is_none()
            && timeouts.is_empty()
            && queue_priority.is_none());
        let extras = has_extras.then(|| Extras::compile(rule, regions, pools)).transpose()?;
        let (when, extras) = (when.map(Box::new), extras.map(Box::new));
        Ok(Self { name: rule.name.as_str().into(), when, is_settled: false, extras, action })
    }
}

impl Extras {
    fn compile(
        rule: &spec::PolicyRule,
        regions: &Regions,
        pools: &mut Pools,
    ) -> Result<Self, CompileError> {
        let limits = rule.rate_limits.iter().enumerate();
        Ok(Self {
            deny_regions: regions.find(&rule.deny_regions)?,
            limits: limits.map(|(i, limit)| Limit::new(&rule.name, i, limit)).collect(),
            require_jwt: rule.require_jwt.clone(),
            request_edits: header_edits(&rule.request_headers)?,
            response_edits: header_edits(&rule.response_headers)?,
            rewrite: rule.rewrite.as_ref().map(Rewrite::compile).transpose()?,
            mirror: rule.mirror.as_ref().map(|m| (pools.index(&m.pool), m.percent)),
            persistence: rule.persistence.clone(),
            timeouts: rule.timeouts,
            queue_priority: rule.queue_priority,
        })
    }
}

fn header_edits(edits: &spec::HeaderEdits) -> Result<Vec<HeaderEdit>, CompileError> {
    let removed = edits.remove.iter().map(|name| Ok(HeaderEdit::Remove(name.as_str().into())));
    let set = edits
        .set
        .iter()
        .map(|(name, value)| Ok(HeaderEdit::Set(name.as_str().into(), Template::compile(value)?)));
    let added = edits
        .add
        .iter()
        .map(|(name, value)| Ok(HeaderEdit::Add(name.as_str().into(), Template::compile(value)?)));
    removed.chain(set).chain(added).collect()
}

/// Compiles a regular expression: over bytes, with ASCII classes, in linear time.
pub(crate) fn regex(pattern: &str) -> Result<regex::bytes::Regex, CompileError> {
    let built = regex::bytes::RegexBuilder::new(pattern)
        .unicode(false)
        .size_limit(REGEX_MAX_BYTES)
        .dfa_size_limit(REGEX_CACHE_MAX_BYTES)
        .build();
    built.map_err(|error| CompileError::Regex {
        pattern: pattern.to_owned(),
        source: Box::new(error),
    })
}

#[cfg(test)]
mod tests;
