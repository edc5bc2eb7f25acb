//! Deciding takes no memory from the heap once a thread's scratch has grown.

use std::net::IpAddr;

use ballast_model::PolicySpec;
use ballast_model::spec::policy::Scheme;
use ballast_policy::{CompiledPolicy, KeyHasher, Regions, Request, Scratch};

const RULES: &str = r#"{"rules": [
  {"name": "wild", "when": {"all": [{"host": ["*.example.com"]}, {"path": {"prefix": "/api"}},
     {"method": ["GET"]}, {"header": {"name": "accept", "prefix": "text/"}}]}, "action": {"pool": "wild"}},
  {"name": "limit", "when": {"path": {"prefix": "/"}}, "rate_limits": [{"requests": 5}],
     "request_headers": {"set": {"X-Client": "${client_address}"}}},
  {"name": "query", "when": {"query": {"name": "a", "equals": "b c"}}, "action": {"pool": "query"}},
  {"name": "cookie", "when": {"cookie": {"name": "c", "equals": "d"}}, "action": {"pool": "cookie"}},
  {"name": "network", "when": {"source": ["198.51.100.0/24"]}, "action": {"pool": "network"}},
  {"name": "re1", "when": {"path": {"regex": "^/v[0-9]+/one"}}, "action": {"pool": "re1"}},
  {"name": "re2", "when": {"path": {"regex": "^/v[0-9]+/two"}}, "action": {"pool": "re2"}},
  {"name": "re3", "when": {"path": {"regex": "^/v[0-9]+/three"}}, "action": {"pool": "re3"}},
  {"name": "re4", "when": {"path": {"regex": "^/v[0-9]+/four"}}, "action": {"pool": "re4"}},
  {"name": "exact", "when": {"host": ["a.example"]}, "action": {"split": {"stable_by": "source",
     "pools": [{"pool": "x", "percent": 50}, {"pool": "y", "percent": 50}]}}}
]}"#;

#[test]
fn deciding_allocates_nothing() {
    let spec: PolicySpec = serde_json::from_str(RULES).unwrap();
    let policy = CompiledPolicy::compile(&spec, &Regions::default()).unwrap();
    let headers: [(&[u8], &[u8]); 2] = [(b"Accept", b"text/html"), (b"Cookie", b"b=1; c=2")];
    let request = |authority: &'static str, path: &'static str| Request {
        method: b"GET",
        scheme: Scheme::Https,
        authority: authority.as_bytes(),
        path: path.as_bytes(),
        query: Some(b"x=y&a=b+d"),
        source: IpAddr::from([192, 0, 2, 1]),
        request_id: b"",
        headers: &headers,
    };
    let requests = [
        (request("www.example.com:443", "/api/x"), Some("wild")),
        (request("WWW.Example.com", "//%61pi/../api/x"), Some("wild")),
        (request("a.example", "/x"), Some("x or y")),
        (request("b.example", "/v2/three"), Some("re3")),
        (request("b.example", "/"), None),
    ];
    let hasher = KeyHasher::new(&[3; 16]);
    let (mut scratch, mut buffer) = (Scratch::default(), Vec::new());
    let mut decide_all = || {
        for (request, expected) in &requests {
            let decision = policy.evaluate(request, &mut scratch);
            let pool = decision.pool(0).map(|pool| policy.pool(pool));
            assert!(pool == *expected || *expected == Some("x or y"), "{pool:?}");
            for limit in decision.limits() {
                decision.limit_key(limit, &hasher, &mut buffer);
            }
            for edit in decision.request_edits() {
                decision.edit_value(edit, &mut buffer);
            }
        }
    };
    decide_all();
    let info = allocation_counter::measure(&mut decide_all);
    assert_eq!(info.count_total, 0, "{info:?}");
    let counted = allocation_counter::measure(|| drop(vec![1; 9]));
    assert_eq!(counted.count_total, 1, "the counter counts");
}
