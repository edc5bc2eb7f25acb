use super::*;
use crate::request::Request;
use crate::testing::{get, policy};

fn told(explanation: &Explanation) -> Vec<String> {
    let steps = explanation.steps.iter().map(|step| {
        let tried = if step.tried { "" } else { " (passed over)" };
        match &step.outcome {
            Outcome::Failed { condition, why } => {
                format!("{}{tried}: {condition} {why}", step.rule)
            }
            Outcome::Matched { does } => format!("{}{tried}: {}", step.rule, does.join(", ")),
        }
    });
    steps.collect()
}

#[test]
fn each_rule_up_to_the_deciding_one_is_told_with_its_reason() {
    let policy = policy(
        r#"[
        {"name": "other", "when": {"host": ["b"]}, "action": {"pool": "b"}},
        {"name": "json", "when": {"all": [{"host": ["a"]}, {"header": {"name": "Accept", "prefix": "json"}}]},
         "action": {"pool": "json"}},
        {"name": "post", "when": {"any": [{"method": ["POST"]}, {"cookie": {"name": "c"}}]}, "action": {"pool": "p"}},
        {"name": "inner", "when": {"not": {"source": ["192.0.2.0/24"]}}, "action": {"pool": "p"}},
        {"name": "colour", "request_headers": {"set": {"X-A": "b"}}, "rate_limits": [{"requests": 1}]},
        {"name": "web", "when": {"path": {"prefix": "/x"}}, "mirror": {"pool": "shadow"}, "action": {"pool": "web"}},
        {"name": "never", "action": {"pool": "never"}}]"#,
    );
    let fields: &[(&[u8], &[u8])] = &[(b"accept", b"text/html")];
    let explanation = policy.explain(&Request { headers: fields, ..get("A:80", "//x") });
    assert_eq!((explanation.host.as_str(), explanation.path.as_str()), ("a", "/x"));
    assert_eq!(
        told(&explanation),
        [
            r#"other (passed over): /when host "a" is none of those"#,
            r#"json: /when/all/1 header Accept ("text/html") does not start with "json""#,
            r#"post: /when/any none of them holds: method "GET" is none of those; cookie c is missing"#,
            "inner: /when/not what must not hold does",
            "colour: limits the rate by address, sets request header X-A, goes on to the next rule",
            "web: mirrors 100 % to pool shadow, sends it to pool web",
        ]
    );
    assert_eq!(explanation.verdict, "pool web");
    let steps = serde_json::to_value(&explanation.steps).unwrap();
    assert_eq!(steps[0]["outcome"], "failed");
    assert_eq!(steps[5]["does"][1], "sends it to pool web");
}

#[test]
fn every_verdict_is_told() {
    let verdict = |rule: &str| {
        policy(&format!(r#"[{{"name": "r", {rule}}}]"#)).explain(&get("a", "/x?q")).verdict
    };
    assert_eq!(verdict(r#""action": "continue""#), "the virtual server's own pool");
    let redirect = r#""action": {"redirect": {"scheme": "https", "status": 301}}"#;
    assert_eq!(verdict(redirect), "301 to https://a/x?q");
    assert_eq!(verdict(r#""action": {"respond": {"status": 404}}"#), "answer 404");
    assert_eq!(verdict(r#""deny_regions": ["office"]"#), "403 by r: in region office");
    let split = r#""action": {"split": {"pools": [{"pool": "a", "percent": 90}, {"pool": "b", "percent": 10}]"#;
    assert_eq!(verdict(&format!("{split}}}}}")), "one of 90 % a, 10 % b");
    let stable = verdict(&format!(r#"{split}, "stable_by": "source"}}}}"#));
    assert!(stable.ends_with(", always for this client"), "{stable}");
}

#[test]
fn an_explanation_is_bounded_however_many_rules_are_passed_over() {
    let rules = |count: usize| {
        let rules: Vec<_> = (0..count)
            .map(|i| {
                format!(
                    r#"{{"name": "r{i}", "when": {{"host": ["h{i}"]}}, "action": {{"pool": "p"}}}}"#
                )
            })
            .collect();
        policy(&format!(r#"[{}, {{"name": "last", "action": {{"pool": "q"}}}}]"#, rules.join(",")))
    };
    let most = rules(PASSED_OVER_MAX_COUNT).explain(&get("a", "/"));
    assert_eq!((most.steps.len(), most.untold_count), (PASSED_OVER_MAX_COUNT + 1, 0));
    let beyond = rules(PASSED_OVER_MAX_COUNT + 1).explain(&get("a", "/"));
    assert_eq!((beyond.steps.len(), beyond.untold_count), (PASSED_OVER_MAX_COUNT + 1, 1));
    assert_eq!(beyond.steps.last().map(|step| step.rule.as_str()), Some("last"));
}

#[test]
fn a_rule_that_the_index_passes_over_never_matches() {
    let policy = policy(
        r#"[
        {"name": "a", "when": {"path": {"exact": "/a"}}},
        {"name": "b", "when": {"host": ["*.b"]}},
        {"name": "c", "when": {"path": {"prefix": "/a"}}}]"#,
    );
    for target in ["/a", "/a/b", "/", "/ab"] {
        for host in ["b", "x.b", "xb"] {
            let explanation = policy.explain(&get(host, target));
            let wrong = explanation
                .steps
                .iter()
                .find(|step| !step.tried && matches!(step.outcome, Outcome::Matched { .. }));
            assert_eq!(wrong, None, "{host}{target}");
            assert_eq!(explanation.steps.len(), 3);
        }
    }
}
