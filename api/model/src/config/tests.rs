use std::net::SocketAddr;

use super::*;
use crate::limits::LISTENER_MAX_COUNT;
use crate::spec::pool::MemberSpec;
use crate::spec::virtual_server::Protocol;

fn pool(name: &str) -> Edit {
    let spec = PoolSpec {
        members: vec![MemberSpec::new("10.0.0.1:80".parse().unwrap())],
        ..PoolSpec::default()
    };
    Edit::put(AnyDraft::Pool(Draft::new(name, spec)), format!("uid-{name}"))
}

fn server(name: &str, listen: &str, pool: &str) -> Edit {
    let spec = VirtualServerSpec::new(Protocol::Http, listen.parse().unwrap(), pool);
    Edit::put(AnyDraft::VirtualServer(Draft::new(name, spec)), format!("uid-{name}"))
}

fn with(edits: &[Edit]) -> Config {
    Config::default().edited(edits, 1, 1_000).unwrap()
}

fn pointers(rejection: Rejection) -> Vec<(String, String)> {
    match rejection {
        Rejection::Invalid { errors } => errors.into_iter().map(|e| (e.pointer, e.code)).collect(),
        other => panic!("not invalid but {other:?}"),
    }
}

#[test]
fn every_fault_is_told_at_once_with_its_pointer() {
    let mut spec = VirtualServerSpec::new(Protocol::Http, "0.0.0.0:0".parse().unwrap(), "gone");
    spec.certificates = vec!["c".to_owned()];
    spec.http.header_max_bytes = 1;
    let edit = Edit::put(AnyDraft::VirtualServer(Draft::new("bad name", spec)), "u");
    let found = pointers(Config::default().edited(&[edit], 1, 0).unwrap_err());
    for wanted in [
        ("/name", "invalid_name"),
        ("/spec/ports/0", "out_of_range"),
        ("/spec/certificates", "not_allowed"),
        ("/spec/http/header_max_bytes", "out_of_range"),
        ("/spec/pool", "unknown_reference"),
        ("/spec/certificates/0", "unknown_reference"),
    ] {
        assert!(
            found.contains(&(wanted.0.to_owned(), wanted.1.to_owned())),
            "{wanted:?} {found:?}"
        );
    }
}

#[test]
fn one_command_may_make_a_pool_and_its_user_in_any_order() {
    let config = with(&[server("web", "0.0.0.0:80", "p"), pool("p")]);
    config.check_invariants().unwrap();
}

#[test]
fn two_virtual_servers_on_one_address_and_port_are_refused() {
    let config = with(&[pool("p"), server("a", "10.0.0.9:80", "p")]);
    let found = pointers(config.edited(&[server("b", "10.0.0.9:80", "p")], 2, 0).unwrap_err());
    assert_eq!(found, [("/spec/addresses".to_owned(), "listener_conflict".to_owned())]);
    let moved = [server("a", "10.0.0.9:81", "p"), server("b", "10.0.0.9:80", "p")];
    config.edited(&moved, 2, 0).unwrap();
}

#[test]
fn a_resource_in_use_is_not_deleted_and_its_users_are_named() {
    let config = with(&[pool("p"), server("a", "10.0.0.9:80", "p")]);
    let rejection = config.edited(&[Edit::delete(Kind::Pool, "p")], 2, 0).unwrap_err();
    let Rejection::Referenced { referrers, .. } = rejection else { panic!("{rejection:?}") };
    assert_eq!(referrers[0].to_string(), "virtual-servers/a");
    let both = [Edit::delete(Kind::Pool, "p"), Edit::delete(Kind::VirtualServer, "a")];
    config.edited(&both, 2, 0).unwrap();
}

#[test]
fn an_edit_that_changes_nothing_keeps_the_revision() {
    let config = with(&[pool("p")]);
    let again = config.edited(&[pool("p")], 7, 0).unwrap();
    assert_eq!(again.pools.get("p").unwrap().revision, 1);
    let uid = &again.pools.get("p").unwrap().uid;
    assert_eq!(uid, "uid-p");
}

#[test]
fn preconditions_hold_or_nothing_happens() {
    let config = with(&[pool("p")]);
    let edit = |precondition| [pool("p").only_if(precondition)];
    assert!(matches!(
        config.edited(&edit(Precondition::Absent), 2, 0),
        Err(Rejection::AlreadyExists { revision: 1, .. })
    ));
    assert!(matches!(
        config.edited(&edit(Precondition::Revision(9)), 2, 0),
        Err(Rejection::RevisionMismatch { wanted: 9, found: Some(1), .. })
    ));
    assert!(config.edited(&edit(Precondition::Revision(1)), 2, 0).is_ok());
    assert!(matches!(
        config.edited(&[pool("q").only_if(Precondition::Exists)], 2, 0),
        Err(Rejection::NotFound { .. })
    ));
    assert!(matches!(
        config.edited(&[Edit::delete(Kind::Pool, "q")], 2, 0),
        Err(Rejection::NotFound { .. })
    ));
}

#[test]
fn member_names_must_differ_and_draining_alone_has_a_deadline() {
    let mut spec = PoolSpec {
        members: vec![MemberSpec::new("10.0.0.1:80".parse().unwrap()); 2],
        ..PoolSpec::default()
    };
    spec.members[1].drain_until_ms = Some(5);
    let edit = Edit::put(AnyDraft::Pool(Draft::new("p", spec)), "u");
    let found = pointers(Config::default().edited(&[edit], 1, 0).unwrap_err());
    assert_eq!(
        found,
        [
            ("/spec/members/1/drain_until_ms".to_owned(), "not_allowed".to_owned()),
            ("/spec/members/1/name".to_owned(), "duplicate".to_owned()),
        ]
    );
}

#[test]
fn a_stored_configuration_reads_back_as_it_was() {
    let config = with(&[pool("p"), server("a", "10.0.0.9:80", "p")]);
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
}

#[test]
fn what_a_read_returned_is_accepted_back() {
    let config = with(&[pool("p")]);
    let shown = serde_json::to_value(config.resource(Kind::Pool, "p").unwrap().redacted()).unwrap();
    let mut draft = AnyDraft::from_value(Kind::Pool, shown).unwrap();
    draft.inherit(&config);
    assert!(draft.is_in(&config));
    let unknown = serde_json::json!({"name": "p", "spec": {}, "colour": "red"});
    assert!(AnyDraft::from_value(Kind::Pool, unknown).is_err());
}

#[test]
fn nouns_name_their_kind() {
    for kind in Kind::ALL {
        for noun in [kind.singular(), kind.plural(), kind.field()] {
            assert_eq!(Kind::from_noun(noun), Some(*kind));
        }
    }
    assert_eq!(Kind::from_noun("poodle"), None);
}

#[test]
fn an_input_does_not_choose_how_much_memory_its_refusal_takes() {
    let mut spec = VirtualServerSpec::new(Protocol::Http, "10.0.0.9:80".parse().unwrap(), "p");
    spec.ports = (1..=60_000).collect();
    spec.addresses = (0..2_000_u32).map(|i| std::net::Ipv4Addr::from(i).into()).collect();
    assert_eq!(spec.listeners().count(), spec.listener_count());
    assert!(spec.listener_count() <= 64 * 64);
    spec.ports = vec![0; 60_000];
    let edit = Edit::put(AnyDraft::VirtualServer(Draft::new("v", spec)), "u");
    let Err(Rejection::Invalid { errors }) = with(&[pool("p")]).edited(&[edit], 2, 0) else {
        panic!("accepted")
    };
    assert_eq!(errors.len(), crate::limits::FAULT_MAX_COUNT + 1);
    assert_eq!(errors.last().unwrap().code, "more_faults");
}

#[test]
fn listeners_are_bounded_over_all_virtual_servers() {
    let many = |i: u8| {
        let listen = SocketAddr::from(([10, 0, i, 1], 80));
        let mut spec = VirtualServerSpec::new(Protocol::Http, listen, "p");
        spec.ports = (1..=64).collect();
        spec.addresses = (1..=64).map(|j| std::net::Ipv4Addr::new(10, 0, i, j).into()).collect();
        Edit::put(AnyDraft::VirtualServer(Draft::new(format!("v{i}"), spec)), "u")
    };
    let fitting = LISTENER_MAX_COUNT / (64 * 64);
    let mut edits = vec![pool("p")];
    edits.extend((0..u8::try_from(fitting).unwrap()).map(many));
    Config::default().edited(&edits, 1, 0).unwrap();
    edits.push(many(250));
    let rejection = Config::default().edited(&edits, 1, 0).unwrap_err();
    assert!(matches!(rejection, Rejection::TooMany { .. }), "{rejection:?}");
}

fn named(server: &str, policies: &[&str]) -> Edit {
    let mut spec = VirtualServerSpec::new(Protocol::Http, "0.0.0.0:80".parse().unwrap(), "p");
    spec.policies = policies.iter().map(|name| (*name).to_owned()).collect();
    Edit::put(AnyDraft::VirtualServer(Draft::new(server, spec)), format!("uid-{server}"))
}

#[test]
fn what_a_policy_names_must_be_there_and_stay() {
    let rules = r#"{"rules": [{"name": "r", "when": {"region": ["office"]},
        "require_jwt": {"provider": "login"}, "action": {"pool": "p"}}]}"#;
    let rules: PolicySpec = serde_json::from_str(rules).unwrap();
    let policy = Edit::put(AnyDraft::Policy(Draft::new("rules", rules)), "uid-rules");
    let found =
        pointers(with(&[pool("p")]).edited(std::slice::from_ref(&policy), 2, 0).unwrap_err());
    assert_eq!(
        found,
        [
            ("/spec/rules/0/when/region/0".to_owned(), "unknown_reference".to_owned()),
            ("/spec/rules/0/require_jwt/provider".to_owned(), "unknown_reference".to_owned()),
        ]
    );
    let region = Draft::new("office", RegionSpec { cidrs: vec!["192.0.2.0/24".parse().unwrap()] });
    let keys = serde_json::json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": "AAAA" }] });
    let provider = Draft::new("login", JwtProviderSpec::inline(keys));
    let config = with(&[
        pool("p"),
        Edit::put(AnyDraft::Region(region), "uid-region"),
        Edit::put(AnyDraft::JwtProvider(provider), "uid-provider"),
        policy,
        named("web", &["rules"]),
    ]);
    config.check_invariants().unwrap();
    for (kind, name, referrer) in [
        (Kind::Region, "office", "policies/rules"),
        (Kind::JwtProvider, "login", "policies/rules"),
        (Kind::Policy, "rules", "virtual-servers/web"),
    ] {
        match config.edited(&[Edit::delete(kind, name)], 2, 0) {
            Err(Rejection::Referenced { referrers, .. }) => {
                assert_eq!(
                    referrers.iter().map(ToString::to_string).collect::<Vec<_>>(),
                    [referrer]
                );
            }
            other => panic!("{kind:?} was deleted: {other:?}"),
        }
    }
    let found = pointers(config.edited(&[named("web", &["rules", "rules"])], 2, 0).unwrap_err());
    assert_eq!(found, [("/spec/policies/1".to_owned(), "duplicate".to_owned())]);
}

#[test]
fn only_http_has_policies_and_not_too_many() {
    let mut spec = VirtualServerSpec::new(Protocol::Tcp, "0.0.0.0:80".parse().unwrap(), "p");
    let faults = |spec: &VirtualServerSpec| {
        let mut errors = FieldErrors::default();
        spec.validate(&mut errors);
        errors
            .into_vec()
            .into_iter()
            .map(|e| format!("{} {}", e.pointer, e.code))
            .collect::<Vec<_>>()
    };
    spec.policies = vec!["a".to_owned()];
    assert_eq!(faults(&spec), ["/policies not_allowed"]);
    spec.protocol = Protocol::Http;
    for (count, is_good) in [(16, true), (17, false)] {
        spec.policies = (0..count).map(|i| format!("p{i}")).collect();
        assert_eq!(faults(&spec).is_empty(), is_good, "{count}");
    }
}

#[test]
fn a_name_that_is_empty_names_nothing() {
    let mut spec = VirtualServerSpec::new(Protocol::Http, "127.0.0.1:80".parse().unwrap(), "p");
    spec.policies = vec![String::new()];
    let server = Edit::put(AnyDraft::VirtualServer(Draft::new("v", spec)), "uid-v");
    let found = pointers(with(&[pool("p")]).edited(&[server], 2, 0).unwrap_err());
    assert_eq!(found, [("/spec/policies/0".to_owned(), "unknown_reference".to_owned())]);
}
