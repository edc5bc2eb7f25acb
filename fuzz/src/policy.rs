//! Policies: requests before a policy that looks at everything, and policies that nobody has checked.

use std::net::IpAddr;
use std::sync::OnceLock;

use ballast_model::spec::policy::{RegionSpec, Scheme};
use ballast_model::{FieldErrors, PolicySpec, Spec};
use ballast_policy::{CompiledPolicy, KeyHasher, Outcome, Regions, Request, Scratch, Verdict};

/// Most fields of a request.
const FIELD_MAX_COUNT: usize = 32;

const RULES: &str = r#"{"rules": [
  {"name": "closed", "when": {"path": {"prefix": "/admin"}}, "deny_regions": ["lab"]},
  {"name": "colour", "when": {"any": [{"header": {"name": "X-Colour", "regex": "^(red|blue)+$"}},
    {"cookie": {"name": "colour", "prefix": "gre"}}, {"query": {"name": "colour", "equals": "white"}}]},
    "request_headers": {"set": {"X-Client": "${client_address} ${host} ${path} ${request_id}"}, "remove": ["X-Colour"]},
    "response_headers": {"add": {"X-Served-By": "ballast"}}},
  {"name": "limited", "when": {"not": {"source": ["192.0.2.0/24", "2001:db8::/32"]}},
    "rate_limits": [{"key": ["address", {"header": "X-Key"}, {"cookie": "c"}, "host", "path"], "requests": 5}]},
  {"name": "old", "when": {"all": [{"host": ["old.example.com", "*.old.example.com"]}, {"method": ["GET", "HEAD"]}]},
    "action": {"redirect": {"scheme": "https", "host": "new.example.com"}}},
  {"name": "json", "when": {"content_type": ["application/json", "text/*"]}, "action": {"pool": "json"}},
  {"name": "exact", "when": {"path": {"exact": "/exact/path"}}, "action": {"pool": "exact"}},
  {"name": "digits", "when": {"path": {"regex": "^/(\\d+)/[^/]*$"}}, "action": {"respond": {"status": 204}}},
  {"name": "office", "when": {"region": ["office"]}, "mirror": {"pool": "shadow", "percent": 50},
    "action": {"split": {"pools": [{"pool": "a", "percent": 30}, {"pool": "b", "percent": 70}], "stable_by": {"cookie": "id"}}}},
  {"name": "split", "when": {"path": {"prefix": "/split"}},
    "action": {"split": {"pools": [{"pool": "a", "percent": 1}, {"pool": "b", "percent": 99}], "stable_by": {"header": "X-Id"}}}}
]}"#;

fn regions() -> Regions {
    let region = |texts: &[&str]| RegionSpec {
        cidrs: texts.iter().filter_map(|text| text.parse().ok()).collect(),
    };
    let (office, lab) =
        (region(&["192.0.2.0/25"]), region(&["198.51.100.0/24", "2001:db8:1::/48"]));
    Regions::new([("office", &office), ("lab", &lab)])
}

/// Lines: method, authority, target, then fields; the address is made of the first bytes.
///
/// # Panics
/// What is decided and what is explained differ.
pub fn request(data: &[u8]) {
    static POLICY: OnceLock<CompiledPolicy> = OnceLock::new();
    let policy = POLICY.get_or_init(|| {
        let spec: PolicySpec = serde_json::from_str(RULES).expect("it is a policy");
        let mut errors = FieldErrors::default();
        spec.validate(&mut errors);
        assert_eq!(errors.into_vec(), []);
        CompiledPolicy::compile(&spec, &regions()).expect("it compiles")
    });
    let Some((address, text)) = data.split_first_chunk::<4>() else { return };
    let mut lines = text.split(|byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (method, authority, target) = (line(), line(), line());
    let split = |text: &'_ [u8], byte: u8| text.iter().position(|other| *other == byte);
    let (path, query) = match split(target, b'?') {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    };
    let headers: Vec<(&[u8], &[u8])> = lines
        .filter_map(|line| split(line, b':').map(|at| (&line[..at], line[at + 1..].trim_ascii())))
        .take(FIELD_MAX_COUNT)
        .collect();
    let request = Request {
        method,
        scheme: if address[0] % 2 == 0 { Scheme::Http } else { Scheme::Https },
        authority,
        path,
        query,
        source: IpAddr::from(*address),
        request_id: b"id",
        headers: &headers,
    };
    decide(policy, &request);
}

fn decide(policy: &CompiledPolicy, request: &Request<'_>) {
    let (mut scratch, mut buffer) = (Scratch::default(), Vec::new());
    let decision = policy.evaluate(request, &mut scratch);
    let hasher = KeyHasher::new(&[7; 16]);
    for random in [0, u64::MAX / 2, u64::MAX] {
        let pool = decision.pool(random).map(|pool| policy.pool(pool));
        let has_pool = matches!(decision.verdict(), Verdict::Pool(_) | Verdict::Split(_));
        assert_eq!(pool.is_some(), has_pool);
    }
    for limit in decision.limits() {
        let key = decision.limit_key(limit, &hasher, &mut buffer);
        assert_eq!(key, decision.limit_key(limit, &hasher, &mut Vec::new()));
    }
    for edit in decision.request_edits() {
        decision.edit_value(edit, &mut buffer);
        assert!(!buffer.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "a field is split");
    }
    if decision.location(&mut buffer).is_some() {
        assert!(!buffer.iter().any(u8::is_ascii_control), "a location is split");
    }
    let matched: Vec<String> = decision.rules().map(str::to_owned).collect();
    let is_denied = matches!(decision.verdict(), Verdict::Denied { .. });
    let explained = policy.explain(request);
    let mut told: Vec<String> = explained
        .steps
        .into_iter()
        .filter(|step| step.tried && matches!(step.outcome, Outcome::Matched { .. }))
        .map(|step| step.rule)
        .collect();
    if is_denied {
        // The one that denies is a step of the explanation, and no rule of the decision.
        told.pop();
    }
    assert_eq!(matched, told, "decided and explained differently");
}

/// A policy as it comes over the API: what validates compiles, and what compiles decides.
///
/// # Panics
/// What was found to be valid can't be compiled.
pub fn spec(data: &[u8]) {
    let Ok(spec) = serde_json::from_slice::<PolicySpec>(data) else { return };
    let mut errors = FieldErrors::default();
    spec.validate(&mut errors);
    if !errors.into_vec().is_empty() {
        return;
    }
    // Regions are looked up in the configuration as a whole: there may be none of that name.
    let Ok(policy) = CompiledPolicy::compile(&spec, &regions()) else { return };
    let headers: [(&[u8], &[u8]); 2] = [(b"Cookie", b"a=b; c=d"), (b"X-Colour", b"red")];
    let request = Request {
        method: b"GET",
        scheme: Scheme::Https,
        authority: b"www.example.com:443",
        path: b"/a/../b/%41//c",
        query: Some(b"x=1&y"),
        source: IpAddr::from([192, 0, 2, 1]),
        request_id: b"id",
        headers: &headers,
    };
    decide(&policy, &request);
}
