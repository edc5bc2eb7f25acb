//! What is seen of members rather than declared, and changes what their pool is compiled to.
//!
//! Invariant: nothing here enters the log; a pool for which nothing was seen is as declared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use ballast_model::limits::MEMBER_WEIGHT_MAX;
use ballast_model::{AdminState, DnsMember, MemberSpec, PoolSpec};

/// Everything that is seen, of all pools.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// What agents advise.
    pub advice: AdviceMap,
    /// Who members are that are named by host name.
    pub resolved: ResolvedMap,
}

/// Who members are that are named by host name, by pool.
pub type ResolvedMap = Arc<BTreeMap<String, Arc<PoolResolved>>>;

/// Who the host names of a pool are, by name and declared port.
pub type PoolResolved = BTreeMap<(String, Option<u16>), Vec<ResolvedMember>>;

/// An address of a host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResolvedMember {
    /// Where it serves.
    pub address: SocketAddr,
    /// See `weight` of members.
    pub weight: u16,
    /// See `priority` of members.
    pub priority: u32,
    /// Whether it is no longer in the answer: it gets no new sessions.
    pub leaving: bool,
}

impl ResolvedMember {
    fn declared_by(&self, dns: &DnsMember) -> MemberSpec {
        let mut spec = MemberSpec {
            name: Some(dns.member_name(self.address)),
            weight: self.weight,
            priority: self.priority,
            connection_limit: dns.connection_limit,
            admin_state: dns.admin_state,
            drain_until_ms: dns.drain_until_ms,
            ..MemberSpec::new(self.address)
        };
        if self.leaving {
            // Out of the tables of hashing at once; what the operator wants beyond that stays so.
            spec.weight = 0;
            if spec.admin_state == AdminState::Enabled {
                spec.admin_state = AdminState::Draining;
            }
        }
        spec
    }
}

/// What agents advise, by pool.
pub type AdviceMap = Arc<BTreeMap<String, Arc<PoolAdvice>>>;

/// What the agents of a pool's members advise, by the members' names and addresses.
pub type PoolAdvice = BTreeMap<(Arc<str>, SocketAddr), Advice>;

/// What the agent of a member advises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// Share of the configured weight.
    pub weight_percent: u32,
    /// Whether it is to get no new sessions.
    pub drain: bool,
    /// Most in flight, instead of the configured limit.
    pub connection_limit: Option<u32>,
}

impl Default for Advice {
    fn default() -> Self {
        Self { weight_percent: 100, drain: false, connection_limit: None }
    }
}

impl Advice {
    /// What two agents advise of one member: the more careful of each.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let limits = self.connection_limit.into_iter().chain(other.connection_limit);
        Self {
            weight_percent: self.weight_percent.min(other.weight_percent),
            drain: self.drain || other.drain,
            connection_limit: limits.min(),
        }
    }

    /// Follows the advice as far as the operator's own word leaves room for it.
    pub(crate) fn follow(self, spec: &mut MemberSpec) {
        let weight = u64::from(spec.weight) * u64::from(self.weight_percent);
        // A member with some weight keeps some, unless it was told to have none.
        let weight = weight.div_ceil(100).min(MEMBER_WEIGHT_MAX.into());
        spec.weight = u16::try_from(weight).unwrap_or(MEMBER_WEIGHT_MAX);
        if self.drain && spec.admin_state == AdminState::Enabled {
            spec.admin_state = AdminState::Disabled;
        }
        spec.connection_limit = self.connection_limit.or(spec.connection_limit);
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the agent says")?;
        let mut separator = " ";
        if self.weight_percent != 100 {
            write!(f, "{separator}{} % of the weight", self.weight_percent)?;
            separator = ", ";
        }
        if let Some(limit) = self.connection_limit {
            write!(f, "{separator}at most {limit} in flight")?;
            separator = ", ";
        }
        if self.drain {
            write!(f, "{separator}no new sessions")?;
        }
        Ok(())
    }
}

/// What was seen of one pool.
#[derive(Clone, Debug, Default)]
pub(crate) struct PoolObserved {
    advice: Option<Arc<PoolAdvice>>,
    resolved: Option<Arc<PoolResolved>>,
}

impl Observed {
    pub(crate) fn of(&self, pool: &str) -> PoolObserved {
        PoolObserved {
            advice: self.advice.get(pool).cloned(),
            resolved: self.resolved.get(pool).cloned(),
        }
    }
}

impl PoolObserved {
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        is_same(self.advice.as_ref(), other.advice.as_ref())
            && is_same(self.resolved.as_ref(), other.resolved.as_ref())
    }

    /// The members of a pool: those declared, and what its host names stand for.
    pub(crate) fn members(&self, spec: &PoolSpec) -> Vec<MemberSpec> {
        let mut members = spec.members.clone();
        let Some(resolved) = &self.resolved else { return members };
        let mut names = BTreeSet::new();
        for dns in &spec.dns_members {
            let Some(found) = resolved.get(&(dns.host.clone(), dns.port)) else { continue };
            // SRV records may name what another entry of the same host does.
            let new = found.iter().map(|member| member.declared_by(dns));
            members.extend(new.filter(|member| names.insert(member.name.clone())));
        }
        members
    }

    pub(crate) fn advice(&self, name: &str, address: SocketAddr) -> Option<Advice> {
        let advice = self.advice.as_ref()?.get(&(Arc::from(name), address)).copied();
        advice.filter(|advice| *advice != Advice::default())
    }
}

fn is_same<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        _ => false,
    }
}
