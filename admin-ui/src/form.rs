//! What stands in the inputs of forms, first of the pool form, and how it becomes a declaration.
//!
//! Inputs hold text; every fault is a [`FieldError`] with the pointer that the server would use, so
//! that faults found here and there are shown in the same place.

pub(crate) mod traffic_group;

use std::net::{IpAddr, SocketAddr};

use ballast_model::{Algorithm, Draft, FieldError, FieldErrors, MemberSpec, PoolSpec, Resource};

use crate::i18n::texts;

/// The pool form's inputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PoolForm {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) monitors: Vec<String>,
    pub(crate) fail_open: bool,
    pub(crate) members: Vec<MemberForm>,
    /// Everything else stays as it was.
    base: Option<Box<Resource<PoolSpec>>>,
}

/// One member's inputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MemberForm {
    /// Tells rows apart while they come and go; never shown.
    pub(crate) key: usize,
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) port: String,
    pub(crate) weight: String,
    base: Option<MemberSpec>,
}

impl PoolForm {
    /// The form of a pool that is there.
    pub(crate) fn edit(pool: &Resource<PoolSpec>) -> Self {
        let members = pool.spec.members.iter().enumerate();
        Self {
            name: pool.name.clone(),
            description: pool.description.clone(),
            algorithm: pool.spec.algorithm,
            monitors: pool.spec.monitors.clone(),
            fail_open: pool.spec.fail_open,
            members: members.map(|(key, member)| MemberForm::edit(key, member)).collect(),
            base: Some(Box::new(pool.clone())),
        }
    }

    /// The revision that the form was filled from.
    pub(crate) fn revision(&self) -> Option<u64> {
        self.base.as_ref().map(|base| base.revision)
    }

    /// What the inputs declare.
    ///
    /// # Errors
    /// Every fault, each with the pointer of its field.
    pub(crate) fn declare(&self) -> Result<Draft<PoolSpec>, Vec<FieldError>> {
        let mut errors = FieldErrors::default();
        let members: Vec<_> = errors.within("spec", |errors| {
            errors.within("members", |errors| {
                let rows = self.members.iter().enumerate();
                rows.filter_map(|(i, row)| errors.within(i, |e| row.declare(e))).collect()
            })
        });
        let base = self.base.as_ref().map(|base| base.spec.clone()).unwrap_or_default();
        let goes_by_keys = self.algorithm == Algorithm::ConsistentHash;
        let spec = PoolSpec {
            algorithm: self.algorithm,
            consistent_hash: base.consistent_hash.clone().filter(|_| goes_by_keys),
            monitors: self.monitors.clone(),
            fail_open: self.fail_open,
            members,
            ..base
        };
        let mut draft = Draft::new(self.name.trim(), spec);
        draft.description = self.description.trim().to_owned();
        if let Some(base) = &self.base {
            draft.labels = base.labels.clone();
        }
        // Positions would be off by the rows that could not be read: those are reported first.
        if errors.is_empty() {
            draft.validate(&mut errors);
        }
        let errors = errors.into_vec();
        if errors.is_empty() { Ok(draft) } else { Err(errors) }
    }
}

impl MemberForm {
    /// An empty row.
    pub(crate) fn new(key: usize) -> Self {
        Self { key, weight: "1".to_owned(), ..Self::default() }
    }

    fn edit(key: usize, member: &MemberSpec) -> Self {
        Self {
            key,
            name: member.name.clone().unwrap_or_default(),
            address: member.address.to_string(),
            port: member.port.to_string(),
            weight: member.weight.to_string(),
            base: Some(member.clone()),
        }
    }

    fn declare(&self, errors: &mut FieldErrors) -> Option<MemberSpec> {
        let address = self.address.trim().parse::<IpAddr>();
        let port = self.port.trim().parse::<u16>();
        let weight = self.weight.trim().parse::<u16>();
        errors.require(address.is_ok(), "address", "invalid_address", || {
            "is no IPv4 or IPv6 address".to_owned()
        });
        errors.require(port.is_ok(), "port", "out_of_range", || {
            "is no number from 1 to 65535".to_owned()
        });
        errors.require(weight.is_ok(), "weight", "out_of_range", || {
            "is no number from 0 to 256".to_owned()
        });
        let name = self.name.trim();
        let (address, port, weight) = (address.ok()?, port.ok()?, weight.ok()?);
        let fresh = || MemberSpec::new(SocketAddr::new(address, port));
        Some(MemberSpec {
            name: (!name.is_empty()).then(|| name.to_owned()),
            address,
            port,
            weight,
            ..self.base.clone().unwrap_or_else(fresh)
        })
    }
}

/// What to say at one input, in the language that was chosen.
pub(crate) fn messages_at(errors: &[FieldError], pointer: &str) -> Option<String> {
    let here = errors.iter().filter(|error| error.pointer == pointer);
    let messages: Vec<_> = here.map(|error| (texts().fault)(error)).collect();
    (!messages.is_empty()).then(|| messages.join("; "))
}

#[cfg(test)]
mod tests;
