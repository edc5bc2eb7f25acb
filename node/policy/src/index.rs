//! Which rules can match a request, by its host and path, without looking at the others.
//!
//! ```text
//! host: exact name ──┐
//!       each suffix ─┼─► path: exact ──────┐
//!       any host ────┘         each prefix ─┼─► rules in order ─┐
//!                              any path ────┘                   ├─► merged, in order, each once
//!       any host: paths by regular expression, all at once ─────┘
//! ```
//!
//! Invariant: what is left out can't match. What is shown may still not match, and its condition is
//! tried in full, unless it asks for no more than the host and path by which it was found.

use std::collections::BTreeSet;

use ballast_model::spec::policy::{Condition, PathMatch};
use regex_automata::meta;
use regex_automata::util::syntax;
use regex_automata::{Input, MatchKind, PatternSet};
use rustc_hash::FxHashMap;

use crate::condition::{normalized, prefix_key};

/// Most places of the index that one rule takes; a rule that would take more is found by its host
/// alone, or always tried.
const PLACE_MAX_COUNT: usize = 4_096;
/// As many regular expressions are tried one by one faster than all at once.
const REGEX_SET_MIN_COUNT: usize = 4;
/// Most memory for all regular expressions at once, in bytes; beyond, they are tried one by one.
const REGEX_SET_MAX_BYTES: usize = 64 << 20;
/// Memory that each thread takes to search for all of them at once, in bytes.
const REGEX_SET_CACHE_BYTES: usize = 4 << 20;

/// The index of a policy.
#[derive(Debug)]
pub(crate) struct Index {
    /// All lists of rules, one after the other.
    lists: Box<[u32]>,
    exact: FxHashMap<Box<[u8]>, PathIndex>,
    /// By suffix, without the dot in front. A suffix that only leads to longer ones has none.
    below: FxHashMap<Box<[u8]>, Option<PathIndex>>,
    any: PathIndex,
    regexes: Option<RegexIndex>,
}

/// What is found for a host. Small where nothing depends on the path, as it is for most: with many
/// hosts, memory that is touched is what a look-up costs.
#[derive(Debug, Default)]
struct PathIndex {
    rest: Cursor,
    paths: Option<Box<Paths>>,
}

#[derive(Debug)]
struct Paths {
    exact: FxHashMap<Box<[u8]>, Cursor>,
    /// By prefix, without a slash at its end. A prefix that only leads to longer ones has none.
    below: FxHashMap<Box<[u8]>, Option<Cursor>>,
}

#[derive(Debug)]
struct RegexIndex {
    set: meta::Regex,
    lists: Box<[Cursor]>,
}

/// What is left of one list of rules: where it stands in all lists, or, if its end is [`ALONE`], the
/// one rule that it has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cursor {
    next: u32,
    end: u32,
}

/// Marks a list of one rule, which needs no place among the lists.
const ALONE: u32 = u32::MAX;

/// The rules that can match one request.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    cursors: Vec<Cursor>,
    patterns: Option<PatternSet>,
}

impl Index {
    /// The index of rules with these conditions, and for each rule whether being found says that its
    /// condition holds, so that it need not be tried.
    pub(crate) fn new<'a>(
        conditions: impl Iterator<Item = Option<&'a Condition>>,
    ) -> (Self, Vec<bool>) {
        let mut builder = Builder::default();
        // A policy has fewer than 2^32 rules.
        let settled = conditions.enumerate().map(|(rule, when)| builder.add(rule as u32, when));
        let settled = settled.collect();
        (builder.finish(), settled)
    }

    /// Starts to look for the rules that can match a host and path.
    pub(crate) fn look_up(&self, host: &[u8], path: &[u8], candidates: &mut Candidates) {
        candidates.cursors.clear();
        if let Some(found) = self.exact.get(host) {
            found.look_up(path, candidates);
        }
        if !self.below.is_empty() {
            for dot in host.iter().enumerate().rev().filter(|(_, b)| **b == b'.').map(|(i, _)| i) {
                match self.below.get(&host[dot + 1..]) {
                    Some(Some(found)) if dot > 0 => found.look_up(path, candidates),
                    Some(_) => {}
                    None => break,
                }
            }
        }
        self.any.look_up(path, candidates);
        if let Some(regexes) = &self.regexes {
            regexes.look_up(path, candidates);
        }
    }

    /// The next rule that can match.
    pub(crate) fn next(&self, candidates: &mut Candidates) -> Option<u32> {
        let cursors = &mut candidates.cursors;
        let first = cursors.iter().map(|cursor| self.rule(*cursor)).min()?;
        let mut i = 0;
        while let Some(cursor) = cursors.get_mut(i) {
            if self.rule(*cursor) == first {
                cursor.next += 1;
                if cursor.end == ALONE || cursor.next == cursor.end {
                    cursors.swap_remove(i);
                    continue;
                }
            }
            i += 1;
        }
        Some(first)
    }

    fn rule(&self, cursor: Cursor) -> u32 {
        if cursor.end == ALONE { cursor.next } else { self.lists[cursor.next as usize] }
    }
}

impl Candidates {
    fn add(&mut self, list: Cursor) {
        if list.next < list.end {
            self.cursors.push(list);
        }
    }
}

impl PathIndex {
    fn look_up(&self, path: &[u8], candidates: &mut Candidates) {
        candidates.add(self.rest);
        if let Some(paths) = &self.paths {
            paths.look_up(path, candidates);
        }
    }
}

impl Paths {
    fn look_up(&self, path: &[u8], candidates: &mut Candidates) {
        if !self.exact.is_empty()
            && let Some(list) = self.exact.get(path)
        {
            candidates.add(*list);
        }
        if self.below.is_empty() || path.first() != Some(&b'/') {
            return;
        }
        let borders = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(i, _)| i);
        for border in borders.chain([path.len()]) {
            match self.below.get(&path[..border]) {
                Some(list) => candidates.add(list.unwrap_or_default()),
                None => break,
            }
        }
    }
}

impl RegexIndex {
    fn look_up(&self, path: &[u8], candidates: &mut Candidates) {
        let count = self.lists.len();
        let mut patterns = match candidates.patterns.take() {
            Some(mut patterns) if patterns.capacity() == count => {
                patterns.clear();
                patterns
            }
            _ => PatternSet::new(count),
        };
        self.set.which_overlapping_matches(&Input::new(path), &mut patterns);
        for pattern in patterns.iter() {
            candidates.add(self.lists[pattern.as_usize()]);
        }
        candidates.patterns = Some(patterns);
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum HostKey {
    Exact(Box<[u8]>),
    Below(Box<[u8]>),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PathKey {
    Exact(Box<[u8]>),
    Below(Box<[u8]>),
    Regex(Box<str>),
}

/// Keys of which a request must have one for the condition to hold; none where nothing is known.
fn host_keys(condition: &Condition) -> Option<BTreeSet<HostKey>> {
    keys(condition, &|leaf| match leaf {
        Condition::Host(names) => Some(names.iter().map(|name| host_key(name)).collect()),
        _ => None,
    })
}

fn host_key(name: &str) -> HostKey {
    let name = name.to_ascii_lowercase();
    match name.strip_prefix("*.") {
        Some(suffix) => HostKey::Below(suffix.as_bytes().into()),
        None => HostKey::Exact(name.into_bytes().into()),
    }
}

fn path_keys(condition: &Condition) -> Option<BTreeSet<PathKey>> {
    keys(condition, &|leaf| match leaf {
        Condition::Path(path) => Some(BTreeSet::from([match path {
            PathMatch::Exact(path) => PathKey::Exact(normalized(path)),
            PathMatch::Prefix(prefix) => PathKey::Below(prefix_key(prefix)),
            PathMatch::Regex(pattern) => PathKey::Regex(pattern.as_str().into()),
        }])),
        _ => None,
    })
}

/// Of conditions that must all hold, the one with the fewest keys; of those of which one must hold,
/// all keys, if each has some. Of a negation nothing is known.
fn keys<K: Ord>(
    condition: &Condition,
    of_leaf: &dyn Fn(&Condition) -> Option<BTreeSet<K>>,
) -> Option<BTreeSet<K>> {
    match condition {
        Condition::All(list) => {
            list.iter().filter_map(|inner| keys(inner, of_leaf)).min_by_key(BTreeSet::len)
        }
        Condition::Any(list) => list.iter().try_fold(BTreeSet::new(), |mut all, inner| {
            all.append(&mut keys(inner, of_leaf)?);
            Some(all)
        }),
        Condition::Not(_) => None,
        leaf => of_leaf(leaf),
    }
}

/// Whether a condition that asks for hosts, for a path, for both at once or for nothing asks for
/// hosts, and whether for a path; none for any other condition.
fn plain_parts(condition: Option<&Condition>) -> Option<(bool, bool)> {
    match condition {
        None => Some((false, false)),
        Some(Condition::Host(_)) => Some((true, false)),
        Some(Condition::Path(_)) => Some((false, true)),
        Some(Condition::All(list)) => match list.as_slice() {
            [Condition::Host(_), Condition::Path(_)] | [Condition::Path(_), Condition::Host(_)] => {
                Some((true, true))
            }
            _ => None,
        },
        Some(_) => None,
    }
}

#[derive(Default)]
struct Builder {
    exact: FxHashMap<Box<[u8]>, PathBuilder>,
    below: FxHashMap<Box<[u8]>, PathBuilder>,
    any: PathBuilder,
    regexes: FxHashMap<Box<str>, Vec<u32>>,
}

#[derive(Default)]
struct PathBuilder {
    exact: FxHashMap<Box<[u8]>, Vec<u32>>,
    below: FxHashMap<Box<[u8]>, Vec<u32>>,
    rest: Vec<u32>,
}

impl Builder {
    /// Adds a rule; true if it is found exactly when its condition holds.
    fn add(&mut self, rule: u32, condition: Option<&Condition>) -> bool {
        let hosts = condition.and_then(host_keys).filter(|keys| keys.len() <= PLACE_MAX_COUNT);
        let paths = condition.and_then(path_keys);
        let place_count = hosts.as_ref().map_or(1, BTreeSet::len);
        let paths =
            paths.filter(|paths| paths.len().saturating_mul(place_count) <= PLACE_MAX_COUNT);
        let has_regex =
            paths.as_ref().is_some_and(|k| k.iter().any(|k| matches!(k, PathKey::Regex(_))));
        let is_settled =
            !has_regex && plain_parts(condition) == Some((hosts.is_some(), paths.is_some()));
        let Some(hosts) = hosts else {
            self.add_for_any_host(rule, paths);
            return is_settled;
        };
        // Regular expressions are searched all at once for any host only.
        let paths = paths.filter(|_| !has_regex);
        for host in hosts {
            let place = match host {
                HostKey::Exact(name) => self.exact.entry(name).or_default(),
                HostKey::Below(suffix) => self.below.entry(suffix).or_default(),
            };
            place.add(rule, paths.as_ref());
        }
        is_settled
    }

    fn add_for_any_host(&mut self, rule: u32, paths: Option<BTreeSet<PathKey>>) {
        let Some(paths) = paths else { return self.any.add(rule, None) };
        for path in paths {
            match path {
                PathKey::Regex(pattern) => self.regexes.entry(pattern).or_default().push(rule),
                other => self.any.add(rule, Some(&BTreeSet::from([other]))),
            }
        }
    }

    fn finish(mut self) -> Index {
        let set = self.regex_set();
        if set.is_none() {
            // One by one: each is tried whenever its rule's turn comes.
            self.any.rest.extend(self.regexes.drain().flat_map(|(_, rules)| rules));
            self.any.rest.sort_unstable();
            self.any.rest.dedup();
        }
        let mut lists = Vec::new();
        let regexes = set.map(|(set, order)| {
            let mut list = |pattern: &str| append(&mut lists, &self.regexes[pattern]);
            RegexIndex { set, lists: order.iter().map(|pattern| list(pattern)).collect() }
        });
        let exact = self.exact.into_iter().map(|(name, place)| (name, place.finish(&mut lists)));
        let exact = exact.collect();
        let below = self.below.into_iter().map(|(name, place)| (name, place.finish(&mut lists)));
        let below = with_ways(below.collect(), |suffix, way| {
            let dots = suffix.iter().enumerate().filter(|(_, b)| **b == b'.');
            dots.for_each(|(dot, _)| way(&suffix[dot + 1..]));
        });
        let any = self.any.finish(&mut lists);
        Index { lists: lists.into(), exact, below, any, regexes }
    }

    fn regex_set(&self) -> Option<(meta::Regex, Vec<Box<str>>)> {
        if self.regexes.len() < REGEX_SET_MIN_COUNT {
            return None;
        }
        let mut order: Vec<_> = self.regexes.keys().cloned().collect();
        order.sort_unstable();
        let config = meta::Config::new()
            .match_kind(MatchKind::All)
            .utf8_empty(false)
            .nfa_size_limit(Some(REGEX_SET_MAX_BYTES))
            .hybrid_cache_capacity(REGEX_SET_CACHE_BYTES);
        let syntax = syntax::Config::new().unicode(false).utf8(false);
        let built = meta::Builder::new().configure(config).syntax(syntax).build_many(&order);
        Some((built.ok()?, order))
    }
}

impl PathBuilder {
    fn add(&mut self, rule: u32, paths: Option<&BTreeSet<PathKey>>) {
        let Some(paths) = paths else { return self.rest.push(rule) };
        for path in paths {
            match path {
                PathKey::Exact(path) => self.exact.entry(path.clone()).or_default().push(rule),
                PathKey::Below(prefix) => self.below.entry(prefix.clone()).or_default().push(rule),
                PathKey::Regex(_) => self.rest.push(rule),
            }
        }
    }

    fn finish(self, lists: &mut Vec<u32>) -> PathIndex {
        let exact = self.exact.into_iter().map(|(path, rules)| (path, append(lists, &rules)));
        let exact: FxHashMap<_, _> = exact.collect();
        let below = self.below.into_iter().map(|(path, rules)| (path, append(lists, &rules)));
        let below = with_ways(below.collect(), |prefix, way| {
            let slashes = prefix.iter().enumerate().filter(|(_, b)| **b == b'/');
            slashes.for_each(|(slash, _)| way(&prefix[..slash]));
        });
        let depends = !(exact.is_empty() && below.is_empty());
        let paths = depends.then(|| Box::new(Paths { exact, below }));
        PathIndex { rest: append(lists, &self.rest), paths }
    }
}

/// Appends a list of rules, which is in order, and says where it stands.
fn append(lists: &mut Vec<u32>, rules: &[u32]) -> Cursor {
    if let [rule] = rules {
        return Cursor { next: *rule, end: ALONE };
    }
    let next = lists.len() as u32;
    lists.extend(rules);
    Cursor { next, end: lists.len() as u32 }
}

/// Adds the keys that lead to others, so that a look-up can stop at the first that is not there.
fn with_ways<V>(
    places: FxHashMap<Box<[u8]>, V>,
    ways_to: impl Fn(&[u8], &mut dyn FnMut(&[u8])),
) -> FxHashMap<Box<[u8]>, Option<V>> {
    let mut all: FxHashMap<Box<[u8]>, Option<V>> = FxHashMap::default();
    for key in places.keys() {
        ways_to(key, &mut |way| {
            if !all.contains_key(way) {
                all.insert(way.into(), None);
            }
        });
    }
    all.extend(places.into_iter().map(|(key, value)| (key, Some(value))));
    all
}

#[cfg(test)]
mod tests;
