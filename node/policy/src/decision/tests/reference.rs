//! What the declaration says, rule by rule, without index or compilation.

use ballast_model::spec::policy::{
    Action, Condition, FieldMatch, PathMatch, PolicySpec, ValueMatch,
};

use crate::normalize;
use crate::request::Request;

struct Seen<'a> {
    request: &'a Request<'a>,
    host: String,
    path: Vec<u8>,
}

/// As the tests describe a decision.
pub(super) fn describe(spec: &PolicySpec, request: &Request<'_>) -> String {
    let (mut host, mut buffer) = (Vec::new(), Vec::new());
    normalize::host(request.authority, &mut host);
    let path = normalize::path(request.path, &mut buffer).to_vec();
    let seen = Seen { request, host: String::from_utf8(host).unwrap(), path };
    let mut matched = Vec::new();
    let mut verdict = "default".to_owned();
    for rule in &spec.rules {
        if !rule.when.as_ref().is_none_or(|when| holds(when, &seen)) {
            continue;
        }
        if let Some(region) = rule.deny_regions.iter().find(|name| in_region(name, &seen)) {
            verdict = format!("{} denies {region}", rule.name);
            break;
        }
        matched.push(rule.name.as_str());
        verdict = match &rule.action {
            Action::Continue => continue,
            Action::Pool(name) => name.clone(),
            Action::Split(_) => "split".to_owned(),
            Action::Redirect(_) => "redirect".to_owned(),
            Action::Respond(respond) => respond.status.to_string(),
        };
        break;
    }
    format!("{} => {verdict}", matched.join(" "))
}

fn in_region(name: &str, seen: &Seen<'_>) -> bool {
    let networks: &[&str] = match name {
        "office" => &["192.0.2.0/24"],
        _ => &["198.51.100.0/25", "2001:db8::/32"],
    };
    let networks = networks.iter().map(|text| text.parse::<ballast_model::Cidr>().unwrap());
    networks.into_iter().any(|network| network.contains(seen.request.source))
}

fn holds(condition: &Condition, seen: &Seen<'_>) -> bool {
    match condition {
        Condition::Host(names) => names.iter().any(|name| {
            let name = name.to_lowercase();
            match name.strip_prefix('*') {
                Some(suffix) => seen.host.strip_suffix(suffix).is_some_and(|rest| !rest.is_empty()),
                None => seen.host == name,
            }
        }),
        Condition::Path(path) => path_holds(path, &seen.path),
        Condition::Method(methods) => methods.iter().any(|m| m.as_bytes() == seen.request.method),
        Condition::Header(field) => {
            let name = field.name.to_lowercase();
            let values = seen
                .request
                .headers
                .iter()
                .filter(|(other, _)| String::from_utf8_lossy(other).to_lowercase() == name);
            values.into_iter().any(|(_, value)| value_holds(field, value))
        }
        Condition::Cookie(field) => cookies(seen)
            .iter()
            .any(|(name, value)| *name == field.name && value_holds(field, value.as_bytes())),
        Condition::Query(field) => seen.request.query.is_some_and(|query| {
            let query = String::from_utf8_lossy(query).replace('+', " ");
            query.split('&').filter(|pair| !pair.is_empty()).any(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                name == field.name && value_holds(field, value.as_bytes())
            })
        }),
        Condition::ContentType(ranges) => {
            let found = seen.request.headers.iter().find(|(name, _)| *name == b"Content-Type");
            found.is_some_and(|(_, value)| {
                let value = String::from_utf8_lossy(value).to_lowercase();
                let named = value.split(';').next().unwrap().trim();
                ranges.iter().any(|range| match range.strip_suffix('*') {
                    Some(kind) => named.starts_with(kind),
                    None => named == range,
                })
            })
        }
        Condition::Source(networks) => {
            networks.iter().any(|network| network.contains(seen.request.source))
        }
        Condition::Region(names) => names.iter().any(|name| in_region(name, seen)),
        Condition::All(list) => !list.iter().any(|inner| !holds(inner, seen)),
        Condition::Any(list) => list.iter().any(|inner| holds(inner, seen)),
        Condition::Not(inner) => !holds(inner, seen),
    }
}

fn cookies(seen: &Seen<'_>) -> Vec<(String, String)> {
    let fields = seen.request.headers.iter().filter(|(name, _)| *name == b"Cookie");
    let texts = fields.map(|(_, value)| String::from_utf8_lossy(value).into_owned());
    texts
        .flat_map(|text| {
            let pairs = text.split(';').filter_map(|pair| pair.trim().split_once('='));
            pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>()
        })
        .collect()
}

fn path_holds(wanted: &PathMatch, path: &[u8]) -> bool {
    let path = String::from_utf8_lossy(path);
    match wanted {
        PathMatch::Exact(exact) => path == exact.as_str(),
        PathMatch::Prefix(prefix) => {
            let wanted = prefix.trim_end_matches('/').split('/').skip(1);
            let mut segments = path.split('/').skip(1);
            path.starts_with('/') && wanted.into_iter().all(|w| segments.next() == Some(w))
        }
        PathMatch::Regex(pattern) => regex::Regex::new(pattern).unwrap().is_match(&path),
    }
}

fn value_holds(field: &FieldMatch, value: &[u8]) -> bool {
    let value = String::from_utf8_lossy(value);
    match field.value() {
        ValueMatch::Present => true,
        ValueMatch::Equals(wanted) => value == wanted,
        ValueMatch::Prefix(prefix) => value.starts_with(prefix),
        ValueMatch::Regex(pattern) => regex::Regex::new(pattern).unwrap().is_match(&value),
    }
}
