//! Maglev lookup tables (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load
//! Balancer", NSDI 2016, §3.4), weighted.
//!
//! Invariant: a table depends on the names and weights of the members and on its size, on nothing
//! else: nodes with equal configuration have equal tables, and health never rebuilds one.

use std::sync::Arc;

use crate::hash::{hash_bytes, mix};

/// Which member has which slot.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Maglev {
    /// What it was built from, to be told from what it would be built from.
    source: Vec<(Arc<str>, u16)>,
    /// Indices of members; pools have at most 4096.
    slots: Box<[u16]>,
}

/// Where a member stands in filling its slots.
struct Filling {
    index: u16,
    weight: u64,
    /// Its next preference, and the step to the one after it.
    position: u64,
    skip: u64,
    /// The turn that is its next.
    due: u64,
}

impl Maglev {
    /// The table of members with these names and weights, in the order of their indices; those of
    /// weight 0 have no slot. None where no member has any weight. `size` is a prime.
    pub(crate) fn new(members: Vec<(Arc<str>, u16)>, size: u32) -> Option<Self> {
        let size = u64::from(size);
        let weight_max = members.iter().map(|(_, weight)| u64::from(*weight)).max()?;
        if weight_max == 0 || size < 2 {
            return None;
        }
        let weighted = members.iter().zip(0_u16..).filter(|((_, weight), _)| *weight > 0);
        let filling = weighted.map(|((name, weight), index)| {
            let hash = hash_bytes(name.as_bytes());
            Filling {
                index,
                weight: u64::from(*weight),
                position: hash % size,
                skip: mix(hash ^ SKIP_SEED) % (size - 1) + 1,
                due: 0,
            }
        });
        let mut filling: Vec<_> = filling.collect();
        // The order in which members take turns must not depend on that of their declaration.
        filling
            .sort_by(|a, b| members[usize::from(a.index)].0.cmp(&members[usize::from(b.index)].0));
        let slots = fill(&mut filling, size, weight_max);
        Some(Self { source: members, slots })
    }

    /// Whether it is the table of those members and that size.
    pub(crate) fn is_of(&self, members: &[(Arc<str>, u16)], size: u32) -> bool {
        self.slots.len() == size as usize && self.source == members
    }

    /// The member that has the slot of `hash`.
    pub(crate) fn index_of(&self, hash: u64) -> u32 {
        let slot = (u128::from(hash) * self.slots.len() as u128) >> 64;
        u32::from(self.slots[slot as usize])
    }

    #[cfg(test)]
    pub(crate) fn slots(&self) -> &[u16] {
        &self.slots
    }
}

const SKIP_SEED: u64 = 0x6d61_676c_6576_2121;
const EMPTY: u16 = u16::MAX;

/// Members take turns, in proportion to weight, at the next slot of their preference that is free.
fn fill(filling: &mut [Filling], size: u64, weight_max: u64) -> Box<[u16]> {
    let mut slots = vec![EMPTY; size as usize].into_boxed_slice();
    let mut left = size;
    let mut turn = 0;
    loop {
        turn += 1;
        for member in &mut *filling {
            // A member of half the heaviest's weight takes every second turn.
            if turn * member.weight < member.due {
                continue;
            }
            member.due += weight_max;
            while slots[member.position as usize] != EMPTY {
                member.position = (member.position + member.skip) % size;
            }
            slots[member.position as usize] = member.index;
            left -= 1;
            if left == 0 {
                return slots;
            }
        }
    }
}

#[cfg(test)]
mod tests;
