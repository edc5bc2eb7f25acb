//! Random policies and requests from few words, so that they meet often.

use std::net::IpAddr;

use ballast_model::spec::policy::{Action, FieldMatch, PathMatch, Respond, Scheme};
use ballast_model::{Condition, PolicyRule, PolicySpec};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::request::Request;

const HOSTS: [&str; 8] = ["a", "a.b", "b.c", "a.b.c", "x.a.b.c", "c", "A.B", "xa.b.c"];
const HOST_PATTERNS: [&str; 9] =
    ["a", "a.b", "a.b.c", "*.c", "*.b.c", "*.a.b.c", "c", "*.B", "b.c"];
const PATHS: [&str; 12] =
    ["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/b", "/b/a", "*", "", "/a/../b", "/%61//b"];
const PATH_PATTERNS: [&str; 7] = ["/", "/a", "/a/b", "/a/b/c", "/ab", "/b", "/b/a"];
const REGEXES: [&str; 8] = ["^/a", "b$", "^/$", "a|b", "/[a-c]/", "^(/b)+", "", "c"];
const VALUES: [&str; 4] = ["", "v", "vw", "w"];
const NAMES: [&str; 3] = ["k", "l", "m"];

#[derive(Clone, Debug)]
pub(super) struct Words {
    method: &'static str,
    authority: String,
    path: &'static str,
    query: Option<String>,
    source: IpAddr,
    headers: Vec<(&'static str, String)>,
}

impl Words {
    pub(super) fn fields(&self) -> Vec<(&[u8], &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
    }

    pub(super) fn view<'a>(&'a self, headers: &'a [(&'a [u8], &'a [u8])]) -> Request<'a> {
        Request {
            method: self.method.as_bytes(),
            scheme: Scheme::Https,
            authority: self.authority.as_bytes(),
            path: self.path.as_bytes(),
            query: self.query.as_deref().map(str::as_bytes),
            source: self.source,
            request_id: b"",
            headers,
        }
    }
}

pub(super) fn request() -> impl Strategy<Value = Words> {
    let authority = (select(&HOSTS[..]), select(&["", ":80", "."][..]))
        .prop_map(|(host, end)| format!("{host}{end}"));
    let authority = prop_oneof![20 => authority, 1 => Just(String::new())];
    let pair = || (select(&NAMES[..]), select(&VALUES[..])).prop_map(|(n, v)| format!("{n}={v}"));
    let query = proptest::option::of(vec(pair(), 0..3).prop_map(|pairs| pairs.join("&")));
    let header = prop_oneof![
        (select(&["k", "K", "l"][..]), select(&VALUES[..])).prop_map(|(n, v)| (n, v.to_owned())),
        vec(pair(), 1..3).prop_map(|pairs| ("Cookie", pairs.join("; "))),
        select(&["text/html", "text/plain; a=b", "image/png"][..])
            .prop_map(|value| ("Content-Type", value.to_owned())),
    ];
    let source = select(&["192.0.2.1", "198.51.100.1", "198.51.100.200", "2001:db8::1"][..])
        .prop_map(|text| text.parse().unwrap());
    let method = select(&["GET", "POST"][..]);
    (method, authority, select(&PATHS[..]), query, source, vec(header, 0..3)).prop_map(
        |(method, authority, path, query, source, headers)| Words {
            method,
            authority,
            path,
            query,
            source,
            headers,
        },
    )
}

pub(super) fn policy() -> impl Strategy<Value = PolicySpec> {
    vec(rule(), 0..24).prop_map(|mut rules| {
        for (i, rule) in rules.iter_mut().enumerate() {
            rule.name = format!("r{i}");
            if let Action::Pool(name) = &mut rule.action {
                *name = format!("p{}", i % 5);
            }
        }
        PolicySpec { rules }
    })
}

fn rule() -> impl Strategy<Value = PolicyRule> {
    let action = prop_oneof![
        2 => Just(Action::Continue),
        2 => Just(Action::Pool(String::new())),
        1 => (200..204_u16).prop_map(|status| Action::Respond(Respond::new(status))),
    ];
    let denied = prop_oneof![
        9 => Just(Vec::new()),
        1 => vec(select(&["office", "lab"][..]).prop_map(str::to_owned), 1..3),
    ];
    (proptest::option::weighted(0.95, condition()), denied, action).prop_map(
        |(when, deny_regions, action)| PolicyRule {
            deny_regions,
            ..PolicyRule::new("", when).then(action)
        },
    )
}

fn owned(words: &'static [&'static str], max: usize) -> impl Strategy<Value = Vec<String>> {
    vec(select(words).prop_map(str::to_owned), 1..=max)
}

fn field() -> impl Strategy<Value = FieldMatch> {
    let name = || select(&NAMES[..]);
    prop_oneof![
        name().prop_map(FieldMatch::present),
        (name(), select(&VALUES[..])).prop_map(|(name, value)| FieldMatch::equals(name, value)),
        (name(), select(&VALUES[..])).prop_map(|(name, value)| FieldMatch::prefix(name, value)),
        (name(), select(&["^v", "w$"][..])).prop_map(|(name, re)| FieldMatch::regex(name, re)),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    let path = prop_oneof![
        select(&PATH_PATTERNS[..]).prop_map(|path| PathMatch::Exact(path.to_owned())),
        select(&PATH_PATTERNS[..]).prop_map(|path| PathMatch::Prefix(path.to_owned())),
        select(&REGEXES[..]).prop_map(|pattern| PathMatch::Regex(pattern.to_owned())),
    ];
    let network = select(&["192.0.2.0/25", "198.51.100.0/24", "2001:db8::/64"][..]);
    let leaf = prop_oneof![
        6 => owned(&HOST_PATTERNS, 3).prop_map(Condition::Host),
        6 => path.prop_map(Condition::Path),
        1 => owned(&["GET", "POST", "PUT"], 2).prop_map(Condition::Method),
        1 => field().prop_map(Condition::Header),
        1 => field().prop_map(Condition::Cookie),
        1 => field().prop_map(Condition::Query),
        1 => owned(&["text/html", "text/*", "image/png"], 2).prop_map(Condition::ContentType),
        1 => vec(network.prop_map(|text| text.parse().unwrap()), 1..3).prop_map(Condition::Source),
        1 => owned(&["office", "lab"], 2).prop_map(Condition::Region),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            3 => vec(inner.clone(), 0..4).prop_map(Condition::All),
            2 => vec(inner.clone(), 0..4).prop_map(Condition::Any),
            1 => inner.prop_map(Condition::negated),
        ]
    })
}
