use std::net::IpAddr;

use super::*;
use crate::request::Request;
use crate::testing::{compiled, get, policy};

mod arbitrary;
mod reference;

use proptest::prelude::*;

/// The names of the rules that match, and the verdict.
fn outcome(policy: &CompiledPolicy, request: &Request<'_>) -> String {
    let mut scratch = Scratch::default();
    describe(policy, request, &mut scratch)
}

fn describe(policy: &CompiledPolicy, request: &Request<'_>, scratch: &mut Scratch) -> String {
    let decision = policy.evaluate(request, scratch);
    let rules: Vec<_> = decision.rules().collect();
    let verdict = match decision.verdict() {
        Verdict::Default => "default".to_owned(),
        Verdict::Pool(pool) => policy.pool(pool).to_owned(),
        Verdict::Split(_) => "split".to_owned(),
        Verdict::Redirect(_) => "redirect".to_owned(),
        Verdict::Respond(respond) => respond.status.to_string(),
        Verdict::Denied { rule, region } => format!("{rule} denies {region}"),
    };
    format!("{} => {verdict}", rules.join(" "))
}

#[test]
fn the_first_rule_that_matches_decides_whatever_the_index_finds_first() {
    let policy = policy(
        r#"[
        {"name": "wild", "when": {"host": ["*.example.com"]}, "action": {"pool": "wild"}},
        {"name": "exact", "when": {"host": ["a.example.com"]}, "action": {"pool": "exact"}},
        {"name": "path", "when": {"path": {"exact": "/x"}}, "action": {"pool": "path"}},
        {"name": "rest", "action": {"pool": "rest"}},
        {"name": "late", "when": {"host": ["b"]}, "action": {"pool": "late"}}]"#,
    );
    assert_eq!(outcome(&policy, &get("a.example.com", "/x")), "wild => wild");
    assert_eq!(outcome(&policy, &get("example.com", "/x")), "path => path");
    assert_eq!(outcome(&policy, &get("b", "/y")), "rest => rest");
}

#[test]
fn rules_that_continue_add_up_until_one_decides() {
    let policy = policy(
        r#"[
        {"name": "one", "when": {"host": ["a"]}, "timeouts": {"response_timeout_ms": 100, "body_idle_timeout_ms": 100}},
        {"name": "prio", "when": {"host": ["a"]}, "queue_priority": 7},
        {"name": "two", "when": {"path": {"prefix": "/"}}, "timeouts": {"response_timeout_ms": 200},
         "persistence": {"type": "none"}},
        {"name": "three", "when": {"host": ["b"]}, "action": {"pool": "p"}}]"#,
    );
    let request = get("a", "/x");
    assert_eq!(outcome(&policy, &request), "one prio two => default");
    let mut scratch = Scratch::default();
    let decision = policy.evaluate(&request, &mut scratch);
    assert_eq!(decision.queue_priority(), Some(7));
    let timeouts = decision.timeouts();
    assert_eq!(timeouts.response_timeout_ms, Some(200), "the last counts");
    assert_eq!(timeouts.body_idle_timeout_ms, Some(100), "each by itself");
    assert_eq!(decision.persistence(), Some(&Persistence::None));
    assert_eq!(outcome(&policy, &get("b", "/x")), "two three => p");
}

#[test]
fn a_denied_region_ends_it_before_the_rule_does_anything() {
    let policy = policy(
        r#"[
        {"name": "colour", "response_headers": {"set": {"X-A": "1"}}},
        {"name": "deny", "when": {"path": {"prefix": "/admin"}}, "deny_regions": ["lab", "office"],
         "response_headers": {"set": {"X-B": "1"}}, "action": {"pool": "admin"}},
        {"name": "rest", "action": {"pool": "rest"}}]"#,
    );
    let mut request = get("a", "/admin/x");
    assert_eq!(outcome(&policy, &request), "colour => deny denies office");
    let mut scratch = Scratch::default();
    let decision = policy.evaluate(&request, &mut scratch);
    let edits: Vec<_> = decision.response_edits().map(HeaderEdit::name).collect();
    assert_eq!(edits, ["X-A"]);
    request.source = IpAddr::from([203, 0, 113, 1]);
    assert_eq!(outcome(&policy, &request), "colour deny => admin");
}

#[test]
fn a_path_written_differently_does_not_slip_past_a_rule() {
    let policy = policy(
        r#"[{"name": "closed", "when": {"path": {"prefix": "/admin"}}, "action": {"respond": {"status": 403}}}]"#,
    );
    for target in ["/admin", "/admin/", "//admin", "/%61dmin/x", "/x/../admin", "/./admin/.."] {
        let closed = outcome(&policy, &get("a", target)) == "closed => 403";
        assert_eq!(closed, target != "/./admin/..", "{target}");
    }
    assert_eq!(outcome(&policy, &get("a", "/administrator")), " => default");
}

#[test]
fn header_edits_come_in_order_with_their_values() {
    let policy = policy(
        r#"[{"name": "r", "request_headers": {"remove": ["X-Old"], "set": {"X-Client": "${client_address}"},
             "add": {"Via": "${scheme} ${host} ${request_id} $$"}}}]"#,
    );
    let request = Request { source: "::ffff:192.0.2.7".parse().unwrap(), ..get("A.b:80", "/") };
    let mut scratch = Scratch::default();
    let decision = policy.evaluate(&request, &mut scratch);
    let mut told = Vec::new();
    let mut value = Vec::new();
    for edit in decision.request_edits() {
        let kept = decision.edit_value(edit, &mut value);
        told.push(format!("{} {kept} {}", edit.name(), String::from_utf8_lossy(&value)));
    }
    assert_eq!(told, ["X-Old false ", "X-Client true 192.0.2.7", "Via true http a.b r-1 $"]);
}

#[test]
fn a_share_of_requests_is_mirrored() {
    let mirror = |percent: u8| {
        policy(&format!(
            r#"[{{"name": "r", "mirror": {{"pool": "shadow", "percent": {percent}}}, "action": {{"pool": "web"}}}}]"#
        ))
    };
    let count = |percent: u8| {
        let (policy, request) = (mirror(percent), get("a", "/"));
        let mut scratch = Scratch::default();
        let decision = policy.evaluate(&request, &mut scratch);
        (0..1_000_u64).filter(|i| decision.mirror(i * (u64::MAX / 1_000)).is_some()).count()
    };
    assert_eq!(count(0), 0);
    assert_eq!(count(100), 1_000);
    assert!((99..=101).contains(&count(10)));
    let policy = mirror(1);
    assert_eq!(policy.pools().iter().map(|p| &**p).collect::<Vec<_>>(), ["web", "shadow"]);
}

#[test]
fn limits_count_by_their_key_and_apart_from_each_other() {
    let policy = policy(
        r#"[{"name": "r", "rate_limits": [
            {"key": ["address"], "requests": 1}, {"key": ["address"], "requests": 2},
            {"key": [{"header": "X-Key"}, {"cookie": "c"}, "host", "path"], "requests": 1}]}]"#,
    );
    let hasher = KeyHasher::new(&[1; 16]);
    let keys = |request: &Request<'_>| -> Vec<u128> {
        let (mut scratch, mut buffer) = (Scratch::default(), b"left over".to_vec());
        let decision = policy.evaluate(request, &mut scratch);
        decision.limits().map(|l| decision.limit_key(l, &hasher, &mut buffer)).collect()
    };
    let plain = keys(&get("a", "/"));
    assert_eq!(plain.len(), 3);
    assert!(plain[0] != plain[1] && plain[1] != plain[2]);
    assert_eq!(keys(&get("a", "/"))[0], plain[0]);
    let other = keys(&Request { source: IpAddr::from([192, 0, 2, 2]), ..get("a", "/") });
    assert!(other[0] != plain[0] && other[2] == plain[2]);
    let from =
        |source: &str| keys(&Request { source: source.parse().unwrap(), ..get("a", "/") })[0];
    assert_eq!(from("2001:db8::1"), from("2001:db8::ffff:1"), "one /64 is one client");
    assert_ne!(from("2001:db8::1"), from("2001:db8:0:1::1"));
    assert_eq!(from("::ffff:192.0.2.1"), plain[0]);
    let fields: &[(&[u8], &[u8])] = &[(b"x-key", b"k"), (b"cookie", b"b=2; c=1")];
    let named = keys(&Request { headers: fields, ..get("a", "/") });
    assert!(named[2] != plain[2] && named[0] == plain[0]);
    assert_ne!(keys(&get("b", "/"))[2], plain[2]);
    assert_ne!(keys(&get("a", "/b"))[2], plain[2]);
}

#[test]
fn an_unknown_region_does_not_compile() {
    let spec = crate::testing::spec(r#"[{"name": "r", "deny_regions": ["atlantis"]}]"#);
    let error = CompiledPolicy::compile(&spec, &crate::testing::regions()).unwrap_err();
    assert_eq!(error.to_string(), "there is no region \"atlantis\"");
}

/// A thread's scratch goes from policy to policy and request to request.
#[test]
fn nothing_of_one_request_is_left_for_the_next() {
    let regexes: Vec<_> = (0..8)
        .map(|i| format!(r#"{{"name": "r{i}", "when": {{"path": {{"regex": "^/{i}"}}}}, "action": {{"pool": "p{i}"}}}}"#))
        .collect();
    let many = policy(&format!("[{}]", regexes.join(",")));
    let few = policy(&format!("[{}]", regexes[..5].join(",")));
    let mut scratch = Scratch::default();
    for _ in 0..2 {
        assert_eq!(describe(&many, &get("a", "/7"), &mut scratch), "r7 => p7");
        assert_eq!(describe(&few, &get("", "/4"), &mut scratch), "r4 => p4");
        assert_eq!(describe(&few, &get("a", "//x"), &mut scratch), " => default");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn the_compiled_policy_decides_as_trying_every_rule_does(
        spec in arbitrary::policy(),
        requests in proptest::collection::vec(arbitrary::request(), 1..8),
    ) {
        let policy = compiled(&spec);
        let mut scratch = Scratch::default();
        for request in &requests {
            let fields: Vec<(&[u8], &[u8])> = request.fields();
            let view = request.view(&fields);
            prop_assert_eq!(
                describe(&policy, &view, &mut scratch),
                reference::describe(&spec, &view),
                "{:?}", request
            );
        }
    }
}
