use super::*;
use crate::limits::*;

mod arbitrary;

use proptest::prelude::*;

fn rule(when: Condition) -> PolicyRule {
    PolicyRule::new("r", Some(when)).then(Action::Pool("web".to_owned()))
}

fn faults_of(rules: Vec<PolicyRule>) -> Vec<String> {
    let mut errors = FieldErrors::default();
    PolicySpec { rules }.validate(&mut errors);
    errors.into_vec().iter().map(|error| format!("{} {}", error.pointer, error.code)).collect()
}

fn faults(change: impl FnOnce(&mut PolicyRule)) -> Vec<String> {
    let mut rule = PolicyRule::new("r", None);
    change(&mut rule);
    faults_of(vec![rule])
}

fn faults_when(when: Condition) -> Vec<String> {
    faults_of(vec![rule(when)])
}

fn faults_then(action: Action) -> Vec<String> {
    faults(|rule| rule.action = action)
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

const DOCUMENT: &str = r#"{"rules": [
  {"name": "office-only",
   "when": {"all": [{"path": {"prefix": "/admin"}},
                    {"not": {"source": ["192.0.2.0/24", "2001:db8::/32"]}}]},
   "action": {"respond": {"status": 403, "body": "not from here"}}},
  {"name": "colour", "request_headers": {"set": {"X-Colour": "blue", "X-Client": "${client_address}"}}},
  {"name": "api",
   "when": {"all": [{"host": ["api.example.com", "*.api.example.com"]},
                    {"header": {"name": "Accept", "regex": "json"}},
                    {"method": ["GET", "POST"]}]},
   "deny_regions": ["embargo"],
   "rate_limits": [{"key": ["address", {"header": "X-Api-Key"}], "requests": 100, "interval_s": 60, "burst": 20}],
   "require_jwt": {"provider": "login", "scopes": ["read"], "claims": {"/realm/roles": {"contains": "ops"}}},
   "rewrite": {"path": {"regex": {"pattern": "^/v([0-9]+)/", "to": "/$1/"}}, "query": "drop"},
   "mirror": {"pool": "shadow", "percent": 5},
   "persistence": {"type": "cookie"},
   "timeouts": {"response_timeout_ms": 5000}, "queue_priority": -20,
   "action": {"split": {"pools": [{"pool": "old", "percent": 90}, {"pool": "new", "percent": 10}],
                        "stable_by": {"cookie": "uid"}}}},
  {"name": "to-https", "when": {"host": ["*.example.com"]},
   "action": {"redirect": {"status": 308, "scheme": "https"}}}
]}"#;

#[test]
fn a_document_written_by_hand_is_understood() {
    let spec: PolicySpec = serde_json::from_str(DOCUMENT).unwrap();
    let mut errors = FieldErrors::default();
    spec.validate(&mut errors);
    assert_eq!(errors.into_vec(), []);
    assert_eq!(spec.rules[1].action, Action::Continue);
    assert_eq!(spec.rules[2].queue_priority, Some(-20));
    let Action::Split(split) = &spec.rules[2].action else { panic!("no split") };
    assert_eq!(split.stable_by, Some(StableBy::Cookie("uid".to_owned())));
    let again: PolicySpec = serde_json::from_value(serde_json::to_value(&spec).unwrap()).unwrap();
    assert_eq!(again, spec);
}

#[test]
fn pools_regions_and_providers_are_told_with_their_places() {
    let told = |spec: &PolicySpec| -> Vec<_> {
        spec.references().iter().map(|r| format!("{} {}", r.pointer, r.target)).collect()
    };
    let spec: PolicySpec = serde_json::from_str(DOCUMENT).unwrap();
    let expected = [
        "/spec/rules/2/deny_regions/0 regions/embargo",
        "/spec/rules/2/require_jwt/provider jwt-providers/login",
        "/spec/rules/2/mirror/pool pools/shadow",
        "/spec/rules/2/action/split/pools/0/pool pools/old",
        "/spec/rules/2/action/split/pools/1/pool pools/new",
    ];
    assert_eq!(told(&spec), expected);
    let inside = rule(Condition::Region(texts(&["eu", "us"])).negated());
    let expected = [
        "/spec/rules/0/when/not/region/0 regions/eu",
        "/spec/rules/0/when/not/region/1 regions/us",
        "/spec/rules/0/action/pool pools/web",
    ];
    assert_eq!(told(&PolicySpec { rules: vec![inside] }), expected);
}

#[test]
fn unknown_fields_and_conditions_are_refused() {
    for document in [
        r#"{"rules": [], "extra": 1}"#,
        r#"{"rules": [{"name": "r", "wen": {}}]}"#,
        r#"{"rules": [{"name": "r", "when": {"hosts": ["a"]}}]}"#,
        r#"{"rules": [{"name": "r", "when": {"host": ["a"], "method": ["GET"]}}]}"#,
        r#"{"rules": [{"name": "r", "when": {"header": {"name": "a", "suffix": "b"}}}]}"#,
        r#"{"rules": [{"name": "r", "when": {"source": ["10.0.0.1/8"]}}]}"#,
        r#"{"rules": [{"when": {"host": ["a"]}}]}"#,
    ] {
        assert!(serde_json::from_str::<PolicySpec>(document).is_err(), "{document} was taken");
    }
}

#[test]
fn names_are_unique() {
    let rules = vec![PolicyRule::new("a", None), PolicyRule::new("a", None)];
    assert_eq!(faults_of(rules), ["/rules/1/name duplicate"]);
    assert_eq!(faults(|rule| rule.name.clear()), ["/rules/0/name invalid_name"]);
}

#[test]
fn each_fault_of_a_condition_is_told_where_it_stands() {
    let at = |place: &str| vec![format!("/rules/0/when/{place}")];
    let host = |text: &str| faults_when(Condition::Host(texts(&[text])));
    for bad in ["", "a..b", "a.", "*", "*.", "a.*", "a:80", "a/b", "é.example", "[::0]", "[x]"] {
        assert_eq!(host(bad), at("host/0 invalid_host"), "{bad:?}");
    }
    for good in ["a", "*.a", "A.example", "192.0.2.1", "[2001:db8::1]", "_dmarc.example"] {
        assert!(host(good).is_empty(), "{good:?}");
    }
    assert_eq!(faults_when(Condition::Host(Vec::new())), at("host out_of_range"));
    let path = |path| faults_when(Condition::Path(path));
    assert_eq!(path(PathMatch::Exact("a".to_owned())), at("path/exact invalid_path"));
    assert_eq!(path(PathMatch::Prefix("/a/../b".to_owned())), at("path/prefix invalid_path"));
    assert_eq!(path(PathMatch::Regex("(".to_owned())), at("path/regex invalid_regex"));
    let method = Condition::Method(texts(&["GET", "G T"]));
    assert_eq!(faults_when(method), at("method/1 invalid_method"));
    let header = |field| faults_when(Condition::Header(field));
    assert_eq!(header(FieldMatch::present("a:")), at("header/name invalid_header_name"));
    assert_eq!(header(FieldMatch::regex("a", "[")), at("header/regex invalid_regex"));
    let two = FieldMatch { prefix: Some("x".to_owned()), ..FieldMatch::equals("a", "x") };
    assert_eq!(header(two), at("header not_allowed"));
    let cookie = Condition::Cookie(FieldMatch::present("a=b"));
    assert_eq!(faults_when(cookie), at("cookie/name invalid_cookie_name"));
    let query = Condition::Query(FieldMatch::present(""));
    assert_eq!(faults_when(query), at("query/name out_of_range"));
    for bad in ["json", "*/*", "a/b; c=d"] {
        let content_type = Condition::ContentType(texts(&[bad]));
        assert_eq!(faults_when(content_type), at("content_type/0 invalid_content_type"));
    }
    assert_eq!(faults_when(Condition::Source(Vec::new())), at("source out_of_range"));
    assert_eq!(faults_when(Condition::Region(texts(&["e u"]))), at("region/0 invalid_name"));
}

#[test]
fn conditions_are_bounded_in_depth_and_count() {
    let nested = |depth: usize| {
        (1..depth).fold(Condition::Method(texts(&["GET"])), |inner, _| inner.negated())
    };
    assert!(faults_when(nested(POLICY_CONDITION_MAX_DEPTH)).is_empty());
    assert_eq!(faults_when(nested(POLICY_CONDITION_MAX_DEPTH + 1)).len(), 1);
    let wide = |count: usize| Condition::Any(vec![Condition::All(Vec::new()); count - 1]);
    assert!(faults_when(wide(POLICY_CONDITION_MAX_COUNT)).is_empty());
    assert_eq!(faults_when(wide(POLICY_CONDITION_MAX_COUNT + 1)), ["/rules/0/when out_of_range"]);
    let hosts = |count| Condition::Host(vec!["a".to_owned(); count]);
    assert!(faults_when(hosts(POLICY_LIST_MAX_COUNT)).is_empty());
    let beyond = faults_when(hosts(POLICY_LIST_MAX_COUNT + 1));
    assert_eq!(beyond, ["/rules/0/when/host out_of_range"]);
}

#[test]
fn rules_are_bounded_in_count() {
    let rules = |count| (0..count).map(|i| PolicyRule::new(format!("r{i}"), None)).collect();
    assert!(faults_of(rules(POLICY_RULE_MAX_COUNT)).is_empty());
    assert_eq!(faults_of(rules(POLICY_RULE_MAX_COUNT + 1)), ["/rules out_of_range"]);
}

#[test]
fn expressions_are_bounded_in_size_however_they_are_written() {
    let path = |pattern: &str| {
        faults_when(Condition::Path(PathMatch::Regex(pattern.to_owned()))).is_empty()
    };
    assert!(path(&"a".repeat(POLICY_REGEX_MAX_BYTES)));
    assert!(!path(&"a".repeat(POLICY_REGEX_MAX_BYTES + 1)));
    // A repetition costs its content and one, times its count.
    assert!(path(&format!("a{{{}}}", POLICY_REGEX_MAX_COST / 2)));
    assert!(!path(&format!("a{{{}}}", POLICY_REGEX_MAX_COST / 2 + 1)));
    assert!(!path("((a{1000}){1000}){1000}"));
    assert!(!path(r"(?u)\w"), "Unicode tables are large");
    assert!(path(r"(?i)^/\w+/[^/]*\.php$"));
    let rule = |i: usize| {
        let pattern = format!("a{{{}}}", POLICY_REGEX_MAX_COST / 2);
        let when = Condition::Path(PathMatch::Regex(pattern));
        PolicyRule::new(format!("r{i}"), Some(when))
    };
    let most = POLICY_REGEX_TOTAL_MAX_COST / POLICY_REGEX_MAX_COST;
    assert!(faults_of((0..most).map(rule).collect()).is_empty());
    assert_eq!(faults_of((0..=most).map(rule).collect()), ["/rules regex_too_large"]);
}

#[test]
fn fields_of_connection_and_framing_cannot_be_edited() {
    for name in ["Connection", "content-length", "Transfer-Encoding", "HOST", "te", "Upgrade"] {
        let removed = faults(|rule| rule.request_headers.remove.push(name.to_owned()));
        assert_eq!(removed, ["/rules/0/request_headers/remove/0 not_allowed"]);
        let set = faults(|rule| {
            rule.response_headers.set.insert(name.to_owned(), Template::new("x"));
        });
        assert_eq!(set, [format!("/rules/0/response_headers/set/{name} not_allowed")]);
    }
    let split = faults(|rule| {
        rule.request_headers.add.insert("X-A".to_owned(), Template::new("a\r\nX-B: b"));
    });
    assert_eq!(split, ["/rules/0/request_headers/add/X-A invalid_header_value"]);
}

#[test]
fn answers_are_bounded_and_fit_their_status() {
    let respond = |change: &dyn Fn(&mut Respond)| {
        let mut respond = Respond::new(200);
        change(&mut respond);
        faults_then(Action::Respond(respond))
    };
    assert!(respond(&|r| r.body = "x".repeat(POLICY_BODY_MAX_BYTES)).is_empty());
    let beyond = respond(&|r| r.body = "x".repeat(POLICY_BODY_MAX_BYTES + 1));
    assert_eq!(beyond, ["/rules/0/action/respond/body out_of_range"]);
    for status in [199, 600] {
        let found = respond(&|r| r.status = status);
        assert_eq!(found, ["/rules/0/action/respond/status out_of_range"]);
    }
    let found = respond(&|r| (r.status, r.body) = (304, "x".to_owned()));
    assert_eq!(found, ["/rules/0/action/respond/body not_allowed"]);
    for bad in ["", "text", "text/html\r\nX: y", "text/html; a=\u{e9}"] {
        let found = respond(&|r| r.content_type = bad.to_owned());
        assert_eq!(found, ["/rules/0/action/respond/content_type invalid_content_type"]);
    }
}

#[test]
fn shares_add_up_to_all() {
    let split = |shares: &[(&str, u8)]| {
        let pools = shares
            .iter()
            .map(|(pool, percent)| SplitPool { pool: (*pool).to_owned(), percent: *percent });
        faults_then(Action::Split(Split { pools: pools.collect(), stable_by: None }))
    };
    assert!(split(&[("a", 100), ("b", 0)]).is_empty());
    assert_eq!(split(&[("a", 50), ("b", 49)]), ["/rules/0/action/split/pools not_100_percent"]);
    assert_eq!(split(&[("a", 50), ("a", 50)]), ["/rules/0/action/split/pools/1/pool duplicate"]);
    assert!(!split(&[]).is_empty());
}

#[test]
fn a_redirect_changes_something_and_has_a_status_that_redirects() {
    let redirect = |change: &dyn Fn(&mut Redirect)| {
        let mut redirect = Redirect { scheme: Some(Scheme::Https), ..Redirect::new() };
        change(&mut redirect);
        faults_then(Action::Redirect(redirect))
    };
    assert!(redirect(&|_| ()).is_empty());
    assert_eq!(redirect(&|r| r.scheme = None), ["/rules/0/action/redirect required"]);
    let status = redirect(&|r| r.status = 300);
    assert_eq!(status, ["/rules/0/action/redirect/status out_of_range"]);
    let port = redirect(&|r| r.port = Some(0));
    assert_eq!(port, ["/rules/0/action/redirect/port out_of_range"]);
    let query = redirect(&|r| r.query = QueryRewrite::Set(Template::new("a b")));
    assert_eq!(query, ["/rules/0/action/redirect/query/set invalid_query"]);
}

#[test]
fn rate_limits_are_bounded() {
    let limit = |change: &dyn Fn(&mut RateLimit)| {
        faults(|rule| {
            let mut limit = RateLimit::new(1, 1);
            change(&mut limit);
            rule.rate_limits.push(limit);
        })
    };
    let most = |l: &mut RateLimit| {
        (l.requests, l.interval_s) = (POLICY_RATE_MAX_COUNT, POLICY_RATE_INTERVAL_MAX_S);
    };
    assert!(limit(&most).is_empty());
    let interval = limit(&|l| l.interval_s = POLICY_RATE_INTERVAL_MAX_S + 1);
    assert_eq!(interval, ["/rules/0/rate_limits/0/interval_s out_of_range"]);
    assert_eq!(limit(&|l| l.interval_s = 0).len(), 1);
    assert_eq!(limit(&|l| l.burst = Some(0)).len(), 1);
    assert_eq!(limit(&|l| l.requests = POLICY_RATE_MAX_COUNT + 1).len(), 2, "burst follows");
    assert_eq!(limit(&|l| l.key.clear()), ["/rules/0/rate_limits/0/key out_of_range"]);
    let twice = limit(&|l| l.key.push(KeyPart::Address));
    assert_eq!(twice, ["/rules/0/rate_limits/0/key/1 duplicate"]);
}

#[cfg(feature = "openapi")]
#[test]
fn the_schema_of_conditions_inside_of_conditions_ends() {
    let mut schemas = Vec::new();
    <PolicySpec as utoipa::ToSchema>::schemas(&mut schemas);
    let names: Vec<_> = schemas.iter().map(|(name, _)| name.as_str()).collect();
    for name in ["PolicyRule", "Condition", "Action", "Template"] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(spec in arbitrary::policy()) {
        let text = serde_json::to_string(&spec).unwrap();
        let read: PolicySpec = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&read, &spec);
        let mut errors = FieldErrors::default();
        spec.validate(&mut errors);
        prop_assert_eq!(errors.into_vec(), vec![]);
    }

    #[test]
    fn any_pattern_is_measured_or_refused(pattern in "\\PC{0,40}") {
        if let Ok(regex) = syntax::Regex::parse(&pattern) {
            prop_assert!(regex.cost <= POLICY_REGEX_MAX_COST && regex.group_count >= 1);
        }
    }
}
