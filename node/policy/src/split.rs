//! Which pool of a weighted split serves a request.

use std::net::IpAddr;

use ballast_model::spec::policy::{self as spec, StableBy};

use crate::compile::PoolIndex;
use crate::hash;
use crate::request::{RequestView, Subject};

/// A compiled split.
#[derive(Debug)]
pub struct Split {
    /// Keeps splits apart: a client's place in one says nothing of its place in another.
    salt: Box<str>,
    /// Each pool and the sum of the shares up to its own, in percent.
    shares: Box<[(PoolIndex, u8)]>,
    stable_by: Option<StableBy>,
}

impl Split {
    pub(crate) fn new(
        rule: &str,
        split: &spec::Split,
        mut pool: impl FnMut(&str) -> PoolIndex,
    ) -> Self {
        let mut sum = 0_u8;
        let shares = split.pools.iter().map(|share| {
            sum = sum.saturating_add(share.percent);
            (pool(&share.pool), sum)
        });
        Self { salt: rule.into(), shares: shares.collect(), stable_by: split.stable_by.clone() }
    }

    /// The pool for a request; `random` is drawn evenly from all numbers.
    pub(crate) fn pool<R: RequestView>(
        &self,
        subject: &Subject<'_, R>,
        random: u64,
    ) -> Option<PoolIndex> {
        let percent = percent_of(match &self.stable_by {
            None => random,
            Some(StableBy::Source) => self.by_source(subject),
            Some(StableBy::Cookie(name)) => match subject.cookie(name.as_bytes()).next() {
                Some(value) => hash::stable([self.salt.as_bytes(), value]),
                None => self.by_source(subject),
            },
            Some(StableBy::Header(name)) => match subject.header(name.as_bytes()).next() {
                Some(value) => hash::stable([self.salt.as_bytes(), value]),
                None => self.by_source(subject),
            },
        });
        self.shares.iter().find(|(_, upto)| percent < *upto).map(|(pool, _)| *pool)
    }

    /// Whether a client always gets the same pool.
    pub(crate) fn is_stable(&self) -> bool {
        self.stable_by.is_some()
    }

    /// Pools and shares in percent.
    pub(crate) fn shares(&self) -> impl Iterator<Item = (PoolIndex, u8)> {
        let before = std::iter::once(0).chain(self.shares.iter().map(|(_, upto)| *upto));
        self.shares.iter().zip(before).map(|((pool, upto), before)| (*pool, upto - before))
    }

    fn by_source<R: RequestView>(&self, subject: &Subject<'_, R>) -> u64 {
        let salt = self.salt.as_bytes();
        match subject.request.source().to_canonical() {
            IpAddr::V4(address) => hash::stable([salt, &address.octets()]),
            IpAddr::V6(address) => hash::stable([salt, &address.octets()]),
        }
    }
}

/// Where a number stands among all, in percent from 0 to 99.
pub(crate) fn percent_of(number: u64) -> u8 {
    ((u128::from(number) * 100) >> 64) as u8
}

#[cfg(test)]
mod tests;
