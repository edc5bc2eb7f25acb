//! Random policies that are valid.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;

pub(super) fn policy() -> impl Strategy<Value = PolicySpec> {
    vec(rule(), 0..6).prop_map(|mut rules| {
        for (i, rule) in rules.iter_mut().enumerate() {
            rule.name = format!("rule-{i}");
        }
        PolicySpec { rules }
    })
}

fn rule() -> impl Strategy<Value = PolicyRule> {
    let asks = (vec(name(), 0..3), vec(rate_limit(), 0..3), option::of(require_jwt()));
    let edits = (header_edits(), header_edits(), option::of(rewrite()), option::of(mirror()));
    let settings = (option::of(persistence()), timeouts(), option::of(-100..=100_i8));
    (option::of(condition()), asks, edits, settings, action()).prop_map(
        |(when, asks, edits, settings, action)| PolicyRule {
            name: String::new(),
            when,
            deny_regions: asks.0,
            rate_limits: asks.1,
            require_jwt: asks.2,
            request_headers: edits.0,
            response_headers: edits.1,
            rewrite: edits.2,
            mirror: edits.3,
            persistence: settings.0,
            timeouts: settings.1,
            queue_priority: settings.2,
            action,
        },
    )
}

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9.-]{0,8}"
}

fn path() -> impl Strategy<Value = String> {
    "(/[a-z0-9%*~]{1,4}){0,3}/?".prop_map(|path| if path.is_empty() { "/".into() } else { path })
}

fn pattern() -> impl Strategy<Value = String> {
    prop_oneof![Just("^/v([0-9]+)/".to_owned()), Just("(?i)a(b|c)*".to_owned()), "[a-z]{1,5}"]
}

fn cidr() -> impl Strategy<Value = Cidr> {
    let v4 = (any::<u32>(), 0..=32_u8).prop_map(|(bits, length)| {
        let bits = u64::from(bits) >> (32 - length) << (32 - length);
        Cidr::new(Ipv4Addr::from(bits as u32).into(), length).unwrap()
    });
    let v6 = (any::<u64>(), 1..=64_u32).prop_map(|(bits, length)| {
        let bits = u128::from(bits | 1 << 63) >> (64 - length) << (64 - length) << 64;
        Cidr::new(Ipv6Addr::from(bits).into(), length as u8).unwrap()
    });
    prop_oneof![v4, v6]
}

fn field() -> impl Strategy<Value = FieldMatch> {
    prop_oneof![
        name().prop_map(FieldMatch::present),
        (name(), "\\PC{0,8}").prop_map(|(name, value)| FieldMatch::equals(name, value)),
        (name(), "\\PC{0,8}").prop_map(|(name, value)| FieldMatch::prefix(name, value)),
        (name(), pattern()).prop_map(|(name, regex)| FieldMatch::regex(name, regex)),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    let path = prop_oneof![
        path().prop_map(PathMatch::Exact),
        path().prop_map(PathMatch::Prefix),
        pattern().prop_map(PathMatch::Regex)
    ];
    let leaf = prop_oneof![
        vec("(\\*\\.)?[a-z]{1,5}(\\.[a-z]{1,3})?", 1..4).prop_map(Condition::Host),
        path.prop_map(Condition::Path),
        vec("[A-Z]{3,6}", 1..3).prop_map(Condition::Method),
        field().prop_map(Condition::Header),
        field().prop_map(Condition::Cookie),
        field().prop_map(Condition::Query),
        vec("[a-z]{1,5}/([a-z+]{1,5}|\\*)", 1..3).prop_map(Condition::ContentType),
        vec(cidr(), 1..4).prop_map(Condition::Source),
        vec(name(), 1..3).prop_map(Condition::Region),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Condition::All),
            vec(inner.clone(), 0..4).prop_map(Condition::Any),
            inner.prop_map(Condition::negated),
        ]
    })
}

fn template(literal: &'static str) -> impl Strategy<Value = Template> {
    (literal, 0..Variable::ALL.len()).prop_map(|(text, variable)| {
        Template::new(format!("{text}${{{}}}", Variable::ALL[variable].as_str()))
    })
}

fn header_edits() -> impl Strategy<Value = HeaderEdits> {
    let fields = || btree_map("X-[A-Za-z]{1,6}", template("[!-#%-~]{0,8}"), 0..3);
    (vec("X-[A-Z]{1,6}", 0..3), fields(), fields()).prop_map(|(remove, set, add)| HeaderEdits {
        remove,
        set,
        add,
    })
}

fn path_rewrite() -> impl Strategy<Value = PathRewrite> {
    prop_oneof![
        template("/[a-z]{0,5}").prop_map(PathRewrite::Set),
        (path(), path()).prop_map(|(from, to)| PathRewrite::Prefix(PrefixRewrite { from, to })),
        template("/[a-z]{0,5}\\$1/")
            .prop_map(|to| PathRewrite::Regex(RegexRewrite { pattern: "/(.*)$".to_owned(), to })),
    ]
}

fn query_rewrite() -> impl Strategy<Value = QueryRewrite> {
    prop_oneof![
        Just(QueryRewrite::Keep),
        Just(QueryRewrite::Drop),
        template("[a-z]{1,3}=").prop_map(QueryRewrite::Set)
    ]
}

fn rewrite() -> impl Strategy<Value = Rewrite> {
    let host = option::of(template("[a-z]{1,5}\\."));
    (host, option::of(path_rewrite()), query_rewrite()).prop_map(|(host, path, query)| Rewrite {
        host,
        path,
        query,
    })
}

fn mirror() -> impl Strategy<Value = Mirror> {
    (name(), 0..=100_u8).prop_map(|(pool, percent)| Mirror { pool, percent })
}

fn persistence() -> impl Strategy<Value = Persistence> {
    prop_oneof![
        Just(Persistence::None),
        ("[A-Z]{1,8}", 0..1_000_u64).prop_map(|(name, ttl_s)| Persistence::Cookie { name, ttl_s }),
        (1..33_u8, 1..129_u8, 1..1_000_u32).prop_map(|(v4, v6, idle_timeout_s)| {
            Persistence::Source { ipv4_prefix_bits: v4, ipv6_prefix_bits: v6, idle_timeout_s }
        }),
        ("[A-Z]{1,8}", 1..1_000_u32)
            .prop_map(|(name, idle_timeout_s)| Persistence::Header { name, idle_timeout_s }),
        ("[A-Z]{1,8}", 1..1_000_u32).prop_map(|(name, idle_timeout_s)| {
            Persistence::ApplicationCookie { name, idle_timeout_s }
        })
    ]
}

fn timeouts() -> impl Strategy<Value = RequestTimeouts> {
    let timeout = || option::of(100..10_000_u64);
    (timeout(), timeout(), timeout()).prop_map(|(body, response, tunnel)| RequestTimeouts {
        body_idle_timeout_ms: body,
        response_timeout_ms: response,
        tunnel_idle_timeout_ms: tunnel,
    })
}

fn rate_limit() -> impl Strategy<Value = RateLimit> {
    let part = prop_oneof![
        Just(KeyPart::Address),
        Just(KeyPart::Host),
        Just(KeyPart::Path),
        name().prop_map(KeyPart::Header),
        name().prop_map(KeyPart::Cookie)
    ];
    let key = proptest::collection::btree_set(part, 1..4);
    (key, 1..1_000_u32, 1..1_000_u32, option::of(1..1_000_u32)).prop_map(
        |(key, requests, interval_s, burst)| RateLimit {
            key: key.into_iter().collect(),
            requests,
            interval_s,
            burst,
        },
    )
}

fn require_jwt() -> impl Strategy<Value = RequireJwt> {
    let value = prop_oneof![
        any::<bool>().prop_map(ClaimValue::Bool),
        any::<i64>().prop_map(ClaimValue::Integer),
        "\\PC{0,8}".prop_map(ClaimValue::Text)
    ];
    let claim = (any::<bool>(), value).prop_map(|(equals, value)| {
        if equals { ClaimMatch::Equals(value) } else { ClaimMatch::Contains(value) }
    });
    (name(), btree_map("/?[a-z]{1,5}", claim, 0..3), vec("[a-z:]{1,5}", 0..3))
        .prop_map(|(provider, claims, scopes)| RequireJwt { provider, claims, scopes })
}

fn action() -> impl Strategy<Value = Action> {
    let stable_by = prop_oneof![
        Just(StableBy::Source),
        name().prop_map(StableBy::Cookie),
        name().prop_map(StableBy::Header)
    ];
    let split = (0..=100_u8, option::of(stable_by)).prop_map(|(first, stable_by)| Split {
        pools: vec![
            SplitPool { pool: "a".to_owned(), percent: first },
            SplitPool { pool: "b".to_owned(), percent: 100 - first },
        ],
        stable_by,
    });
    let statuses = prop_oneof![Just(301_u16), Just(302), Just(303), Just(307), Just(308)];
    let redirect = (statuses, option::of(1..=u16::MAX), path_rewrite(), query_rewrite()).prop_map(
        |(status, port, path, query)| Redirect {
            status,
            scheme: Some(Scheme::Https),
            host: None,
            port,
            path: Some(path),
            query,
        },
    );
    let respond = ("\\PC{0,20}", 200..=203_u16)
        .prop_map(|(body, status)| Respond { body, ..Respond::new(status) });
    prop_oneof![
        Just(Action::Continue),
        name().prop_map(Action::Pool),
        split.prop_map(Action::Split),
        redirect.prop_map(Action::Redirect),
        respond.prop_map(Action::Respond),
    ]
}
