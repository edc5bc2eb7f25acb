use super::*;
use crate::testing::spec;

fn index(rules: &str) -> Index {
    Index::new(spec(rules).rules.iter().map(|rule| rule.when.as_ref())).0
}

fn found(index: &Index, host: &str, path: &str) -> Vec<u32> {
    let mut candidates = Candidates::default();
    index.look_up(host.as_bytes(), path.as_bytes(), &mut candidates);
    std::iter::from_fn(|| index.next(&mut candidates)).collect()
}

#[test]
fn only_rules_for_the_host_and_path_are_shown_in_order_and_once() {
    let index = index(
        r#"[
        {"name": "r0", "when": {"all": [{"host": ["a", "*.a"]}, {"path": {"prefix": "/x"}}]}},
        {"name": "r1", "when": {"any": [{"host": ["b.a"]}, {"host": ["*.a"]}]}},
        {"name": "r2", "when": {"any": [{"path": {"exact": "/x/y"}}, {"path": {"prefix": "/x"}}]}},
        {"name": "r3", "when": {"any": [{"host": ["b.a"]}, {"method": ["GET"]}]}},
        {"name": "r4", "when": {"not": {"host": ["b.a"]}}},
        {"name": "r5"},
        {"name": "r6", "when": {"any": []}}]"#,
    );
    assert_eq!(found(&index, "b.a", "/x/y"), [0, 1, 2, 3, 4, 5]);
    assert_eq!(found(&index, "a", "/x"), [0, 2, 3, 4, 5]);
    assert_eq!(found(&index, "c.b.a", "/"), [1, 3, 4, 5]);
    assert_eq!(found(&index, "ba", "/xy"), [3, 4, 5]);
    assert_eq!(found(&index, ".a", "*"), [3, 4, 5]);
}

#[test]
fn of_many_host_rules_one_is_looked_at() {
    let rules: Vec<_> = (0..10_000)
        .map(|i| {
            format!(r#"{{"name": "r{i}", "when": {{"host": ["h{i}.example.com", "*.h{i}.net"]}}}}"#)
        })
        .collect();
    let index = index(&format!("[{}]", rules.join(",")));
    assert_eq!(found(&index, "h7777.example.com", "/"), [7_777]);
    assert_eq!(found(&index, "deep.below.h9999.net", "/"), [9_999]);
    assert_eq!(found(&index, "h1.net", "/"), [0; 0]);
}

#[test]
fn regular_expressions_are_searched_all_at_once() {
    let rules: Vec<_> = (0..500)
        .map(|i| format!(r#"{{"name": "r{i}", "when": {{"path": {{"regex": "^/n{i}(/|$)"}}}}}}"#))
        .collect();
    let index = index(&format!("[{}]", rules.join(",")));
    assert_eq!(found(&index, "a", "/n499"), [499]);
    assert_eq!(found(&index, "a", "/n4999"), [0; 0]);
}

#[test]
fn a_rule_that_would_take_too_many_places_is_still_found() {
    let hosts: Vec<_> = (0..100).map(|i| format!(r#""h{i}""#)).collect();
    let paths: Vec<_> = (0..100).map(|i| format!(r#"{{"path": {{"exact": "/{i}"}}}}"#)).collect();
    let rule = format!(
        r#"[{{"name": "r", "when": {{"all": [{{"host": [{}]}}, {{"any": [{}]}}]}}}}]"#,
        hosts.join(","),
        paths.join(",")
    );
    let index = index(&rule);
    assert!(index.exact.values().all(|place| place.paths.is_none()), "by host alone");
    assert_eq!(found(&index, "h99", "/99"), [0]);
    assert_eq!(found(&index, "h100", "/99"), [0; 0]);
}

#[test]
fn only_conditions_that_the_look_up_answers_in_full_are_settled() {
    let settled = |when: &str| {
        let rules = spec(&format!(r#"[{{"name": "r", "when": {when}}}]"#)).rules;
        Index::new(rules.iter().map(|rule| rule.when.as_ref())).1[0]
    };
    for when in [
        r#"{"host": ["a", "*.b"]}"#,
        r#"{"path": {"prefix": "/a"}}"#,
        r#"{"all": [{"path": {"exact": "/a"}}, {"host": ["a"]}]}"#,
    ] {
        assert!(settled(when), "{when}");
    }
    for when in [
        r#"{"path": {"regex": "a"}}"#,
        r#"{"method": ["GET"]}"#,
        r#"{"not": {"host": ["a"]}}"#,
        r#"{"all": [{"host": ["a"]}, {"host": ["b"]}]}"#,
        r#"{"all": [{"host": ["a"]}, {"path": {"regex": "a"}}]}"#,
        r#"{"all": [{"host": ["a"]}, {"method": ["GET"]}]}"#,
        r#"{"any": [{"host": ["a"]}, {"path": {"exact": "/a"}}]}"#,
    ] {
        assert!(!settled(when), "{when}");
    }
}
