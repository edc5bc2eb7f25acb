use serde_json::json;

use super::*;
use crate::resource::Spec;
use crate::spec::pool::PoolSpec;

fn faults(member: &serde_json::Value) -> Vec<(String, String)> {
    let spec: PoolSpec = serde_json::from_value(json!({"dns_members": [member]})).unwrap();
    faults_of(&spec)
}

fn faults_of(spec: &PoolSpec) -> Vec<(String, String)> {
    let mut errors = FieldErrors::default();
    errors.within("spec", |errors| spec.validate(errors));
    errors.into_vec().into_iter().map(|error| (error.pointer, error.code)).collect()
}

#[test]
fn name_and_port_are_enough() {
    assert_eq!(faults(&json!({"host": "app.example.com", "port": 80})), []);
    assert_eq!(faults(&json!({"host": "_http._tcp.example.com", "record": "srv"})), []);
    let spec: PoolSpec = serde_json::from_value(json!({})).unwrap();
    assert_eq!(spec.dns_members, [], "pools of before have none");
}

#[test]
fn hosts_that_are_none_are_refused() {
    let long = ["x".repeat(63), "y".repeat(63), "z".repeat(63), "w".repeat(61)].join(".");
    assert_eq!(long.len(), 253);
    assert_eq!(faults(&json!({"host": long, "port": 80})), []);
    for host in
        ["", "10.0.0.1", "::1", "a..b", "a.", "-a", "a b", &format!("w{long}"), &"x".repeat(64)]
    {
        let found = faults(&json!({"host": host, "port": 80}));
        let expected = ("/spec/dns_members/0/host".to_owned(), "invalid_host".to_owned());
        assert_eq!(found, [expected], "{host}");
    }
}

#[test]
fn limits_hold_at_the_limit_and_not_beyond() {
    let is_good = |field: &str, value: serde_json::Value| {
        let mut member = json!({"host": "a", "port": 80});
        member[field] = value;
        faults(&member).is_empty()
    };
    for (field, good, bad) in [
        ("address_max_count", 256, 257),
        ("address_max_count", 1, 0),
        ("weight", 256, 257),
        ("ttl_min_s", 300, 301),
        ("ttl_min_s", 1, 0),
        ("ttl_max_s", 86_400, 86_401),
        ("ttl_max_s", 5, 4),
        ("drain_s", 86_400, 86_401),
    ] {
        assert!(is_good(field, good.into()), "{field} {good}");
        assert!(!is_good(field, bad.into()), "{field} {bad}");
    }
    let resolvers = |count: usize| json!(vec!["10.0.0.53:53"; count]);
    assert!(is_good("resolvers", resolvers(4)));
    assert!(!is_good("resolvers", resolvers(5)));
    assert!(!is_good("resolvers", json!(["0.0.0.0:53"])));
}

#[test]
fn port_is_needed_where_the_record_brings_none() {
    let code = |member: serde_json::Value| {
        faults(&member).into_iter().map(|(_, code)| code).collect::<Vec<_>>()
    };
    assert_eq!(code(json!({"host": "a"})), ["required"]);
    assert_eq!(code(json!({"host": "a", "port": 1, "record": "srv"})), ["not_allowed"]);
}

#[test]
fn names_bring_no_more_members_than_a_pool_may_have() {
    let member = |n: usize| DnsMember {
        address_max_count: 256,
        ..DnsMember::new(&format!("h{n}.test"), 80)
    };
    let mut spec = PoolSpec { dns_members: (0..16).map(member).collect(), ..PoolSpec::default() };
    assert_eq!(faults_of(&spec), []);
    spec.members.push(crate::MemberSpec::new(([10, 0, 0, 1], 80).into()));
    assert_eq!(faults_of(&spec), [("/spec/dns_members".to_owned(), "out_of_range".to_owned())]);
}

#[test]
fn same_name_and_port_twice_is_refused() {
    let dns_members = vec![DnsMember::new("a.test", 80), DnsMember::new("a.test", 81)];
    let mut spec = PoolSpec { dns_members, ..PoolSpec::default() };
    assert_eq!(faults_of(&spec), []);
    spec.dns_members[1].port = Some(80);
    spec.dns_members[1].host = "A.test".to_owned();
    let expected = ("/spec/dns_members/1/host".to_owned(), "duplicate".to_owned());
    assert_eq!(faults_of(&spec), [expected]);
}
