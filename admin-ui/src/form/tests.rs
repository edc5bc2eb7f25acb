use ballast_model::AdminState;

use super::*;

fn pool() -> Resource<PoolSpec> {
    let member = MemberSpec {
        name: Some("web-1".to_owned()),
        admin_state: AdminState::Draining,
        drain_until_ms: Some(99),
        ..MemberSpec::new(([10, 0, 0, 1], 8080).into())
    };
    Resource {
        name: "web".to_owned(),
        labels: [("tier".to_owned(), "front".to_owned())].into(),
        description: "the shop".to_owned(),
        spec: PoolSpec { connect_timeout_ms: 1_234, members: vec![member], ..PoolSpec::default() },
        uid: "u".to_owned(),
        revision: 7,
        created_at_ms: 1,
        updated_at_ms: 2,
    }
}

#[test]
fn a_form_that_nobody_touched_declares_what_is_there() {
    let pool = pool();
    let form = PoolForm::edit(&pool);
    assert_eq!(form.revision(), Some(7));
    assert!(form.declare().unwrap().is_as(&pool));
}

#[test]
fn members_keep_what_the_form_does_not_show() {
    let mut form = PoolForm::edit(&pool());
    form.members[0].weight = " 5 ".to_owned();
    form.members.push(MemberForm {
        address: "fd00::1".to_owned(),
        port: "80".to_owned(),
        ..MemberForm::new(1)
    });
    let draft = form.declare().unwrap();
    let [old, new] = draft.spec.members.as_slice() else { panic!("two members") };
    assert_eq!((old.weight, old.drain_until_ms), (5, Some(99)));
    assert_eq!((new.weight, new.admin_state, new.name.clone()), (1, AdminState::Enabled, None));
    assert_eq!(draft.spec.connect_timeout_ms, 1_234);
}

#[test]
fn inputs_that_are_no_numbers_or_addresses_are_all_named_where_they_are() {
    let mut form = PoolForm::edit(&pool());
    form.members.push(MemberForm {
        address: "web.example".to_owned(),
        port: "99999".to_owned(),
        weight: String::new(),
        ..MemberForm::new(1)
    });
    let errors = form.declare().unwrap_err();
    let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
    assert_eq!(
        pointers,
        ["/spec/members/1/address", "/spec/members/1/port", "/spec/members/1/weight"]
    );
    assert!(messages_at(&errors, "/spec/members/1/port").is_some());
    assert_eq!(messages_at(&errors, "/spec/members/0/port"), None);
}

#[test]
fn the_models_own_rules_are_checked_too() {
    let mut form = PoolForm::edit(&pool());
    form.name = "-".to_owned();
    form.members[0].weight = "257".to_owned();
    let errors = form.declare().unwrap_err();
    let found: Vec<_> = errors.iter().map(|e| (e.pointer.as_str(), e.code.as_str())).collect();
    assert_eq!(found, [("/name", "invalid_name"), ("/spec/members/0/weight", "out_of_range")]);
}
