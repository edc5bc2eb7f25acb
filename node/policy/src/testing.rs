//! What the tests of this crate share: requests and policies written in few words.

use std::net::IpAddr;

use ballast_model::spec::policy::{RegionSpec, Scheme};
use ballast_model::{FieldErrors, PolicySpec, Spec};

use crate::compile::{CompiledPolicy, Regions};
use crate::request::Request;

/// A policy of rules written as JSON; it must be valid.
pub(crate) fn policy(rules: &str) -> CompiledPolicy {
    compiled(&spec(rules))
}

pub(crate) fn spec(rules: &str) -> PolicySpec {
    serde_json::from_str(&format!("{{\"rules\": {rules}}}")).unwrap()
}

/// Compiles a policy that must be valid; there are the regions `office` and `lab`.
pub(crate) fn compiled(spec: &PolicySpec) -> CompiledPolicy {
    let mut errors = FieldErrors::default();
    spec.validate(&mut errors);
    assert_eq!(errors.into_vec(), []);
    CompiledPolicy::compile(spec, &regions()).unwrap()
}

pub(crate) fn regions() -> Regions {
    let region = |cidrs: &[&str]| RegionSpec {
        cidrs: cidrs.iter().map(|text| text.parse().unwrap()).collect(),
    };
    let (office, lab) = (region(&["192.0.2.0/24"]), region(&["198.51.100.0/25", "2001:db8::/32"]));
    Regions::new([("office", &office), ("lab", &lab)])
}

/// A `GET` for `http://authority/target` by 192.0.2.1.
pub(crate) fn get<'a>(authority: &'a str, target: &'a str) -> Request<'a> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.as_bytes())),
        None => (target, None),
    };
    Request {
        method: b"GET",
        scheme: Scheme::Http,
        authority: authority.as_bytes(),
        path: path.as_bytes(),
        query,
        source: IpAddr::from([192, 0, 2, 1]),
        request_id: b"r-1",
        headers: &[],
    }
}
