use proptest::prelude::*;

use super::*;
use crate::command::{Origin, Precondition};
use crate::spec::pool::{MemberSpec, PoolSpec};
use crate::spec::user::UserSpec;
use crate::spec::virtual_server::{Protocol, VirtualServerSpec};

fn sealed() -> Sealed {
    Sealed { key_id: 1, nonce: "n".to_owned(), ciphertext: "c".to_owned() }
}

fn command(at_ms: u64, body: CommandBody) -> Command {
    Command { origin: Origin::default(), at_ms, idempotency: None, body }
}

fn node(name: &str, node_id: u64) -> Edit {
    let spec = NodeSpec::new(node_id, NodeRole::Traffic, "10.0.0.1:7400", Vec::new());
    Edit::put(AnyDraft::Node(Draft::new(name, spec)), "uid-node")
}

fn user(name: &str, role: Role, disabled: bool) -> Edit {
    let spec =
        UserSpec { role, password: None, password_hash: Some("$argon2id$".to_owned()), disabled };
    Edit::put(AnyDraft::User(Draft::new(name, spec)), "uid-user")
}

fn bootstrapped() -> State {
    let mut state = State::default();
    let outcome = state.apply(
        1,
        &command(
            0,
            CommandBody::Bootstrap {
                cluster_name: "c".to_owned(),
                cluster_uid: "u".to_owned(),
                ca_certificate_pem: "pem".to_owned(),
                ca_key_sealed: sealed(),
                setup_code_hash: Some("hash".to_owned()),
                edits: vec![node("n1", 1)],
            },
        ),
    );
    assert!(matches!(outcome, Outcome::Applied { index: 1, .. }), "{outcome:?}");
    state
}

fn rejected(outcome: Outcome) -> Rejection {
    match outcome {
        Outcome::Rejected { rejection } => rejection,
        other => panic!("not rejected but {other:?}"),
    }
}

fn redeem(secret_hash: &str, node_name: &str) -> CommandBody {
    CommandBody::RedeemJoinTicket {
        id: "t".to_owned(),
        secret_hash: secret_hash.to_owned(),
        node_name: node_name.to_owned(),
        uid: "uid".to_owned(),
        cluster_address: "10.0.0.2:7400".to_owned(),
        api_addresses: Vec::new(),
    }
}

fn ticket(expires_at_ms: u64) -> CommandBody {
    CommandBody::CreateJoinTicket {
        id: "t".to_owned(),
        secret_hash: "s".to_owned(),
        role: NodeRole::Witness,
        expires_at_ms,
    }
}

#[test]
fn the_setup_code_makes_one_administrator_and_is_used_up() {
    let mut state = bootstrapped();
    let setup = |code: &str| {
        let edits = vec![user("ada", Role::Admin, false)];
        command(0, CommandBody::Setup { code_hash: code.to_owned(), edits })
    };
    assert_eq!(rejected(state.apply(2, &setup("wrong"))), Rejection::SetupCodeInvalid);
    assert!(matches!(state.apply(3, &setup("hash")), Outcome::Applied { .. }));
    assert_eq!(rejected(state.apply(4, &setup("hash"))), Rejection::SetupCodeInvalid);
}

#[test]
fn a_setup_that_is_rejected_leaves_the_code_usable() {
    let mut state = bootstrapped();
    let edits = vec![user("not a name", Role::Admin, false)];
    let outcome =
        state.apply(2, &command(0, CommandBody::Setup { code_hash: "hash".to_owned(), edits }));
    assert!(matches!(rejected(outcome), Rejection::Invalid { .. }));
    assert!(state.cluster.setup_code_hash.is_some());
}

#[test]
fn a_join_ticket_works_once_in_time_and_numbers_the_node_by_its_index() {
    let mut state = bootstrapped();
    state.apply(2, &command(0, ticket(100)));
    let wrong = state.apply(3, &command(1, redeem("guess", "n2")));
    assert_eq!(rejected(wrong), Rejection::JoinTicketInvalid);
    let late = state.apply(4, &command(100, redeem("s", "n2")));
    assert_eq!(rejected(late), Rejection::JoinTicketInvalid);
    let taken = state.apply(5, &command(99, redeem("s", "n1")));
    assert!(matches!(rejected(taken), Rejection::AlreadyExists { .. }));
    assert!(matches!(state.apply(6, &command(99, redeem("s", "n2"))), Outcome::Applied { .. }));
    let spec = &state.config.nodes.get("n2").unwrap().spec;
    assert_eq!((spec.node_id, spec.role), (6, NodeRole::Witness));
    let again = state.apply(7, &command(99, redeem("s", "n3")));
    assert_eq!(rejected(again), Rejection::JoinTicketInvalid);
}

#[test]
fn a_removed_node_is_barred_for_good_and_edits_can_not_make_or_delete_nodes() {
    let mut state = bootstrapped();
    let edit = |edits| command(0, CommandBody::Edit { edits });
    assert!(matches!(
        rejected(state.apply(2, &edit(vec![node("n9", 9)]))),
        Rejection::Invalid { .. }
    ));
    assert!(matches!(
        rejected(state.apply(3, &edit(vec![Edit::delete(Kind::Node, "n1")]))),
        Rejection::Invalid { .. }
    ));
    let removal = command(0, CommandBody::RemoveNode { name: "n1".to_owned() });
    assert!(matches!(rejected(state.apply(4, &removal)), Rejection::LastNode { .. }));
    state.apply(5, &command(0, ticket(100)));
    state.apply(6, &command(0, redeem("s", "n2")));
    assert!(matches!(state.apply(7, &removal), Outcome::Applied { .. }));
    assert!(state.cluster.removed_node_ids.contains(&1));
}

#[test]
fn the_last_administrator_stays() {
    let mut state = bootstrapped();
    let edit = |edits| command(0, CommandBody::Edit { edits });
    state.apply(2, &edit(vec![user("ada", Role::Admin, false)]));
    for edits in [
        vec![Edit::delete(Kind::User, "ada")],
        vec![user("ada", Role::Viewer, false)],
        vec![user("ada", Role::Admin, true)],
    ] {
        assert_eq!(rejected(state.apply(3, &edit(edits))), Rejection::LastAdministrator);
    }
    let swap = vec![user("bob", Role::Admin, false), Edit::delete(Kind::User, "ada")];
    assert!(matches!(state.apply(4, &edit(swap)), Outcome::Applied { .. }));
}

#[test]
fn an_idempotency_key_does_its_write_once_for_a_day() {
    let mut state = bootstrapped();
    let write = |at_ms, fingerprint: &str| Command {
        idempotency: Some(IdempotencyKey {
            key: "k".to_owned(),
            fingerprint: fingerprint.to_owned(),
        }),
        ..command(at_ms, CommandBody::Edit { edits: vec![pool("p", 1)] })
    };
    assert!(matches!(state.apply(2, &write(0, "f")), Outcome::Applied { .. }));
    assert_eq!(state.apply(3, &write(5, "f")), Outcome::Replayed { index: 2 });
    assert_eq!(rejected(state.apply(4, &write(5, "g"))), Rejection::IdempotencyKeyReused);
}

fn pool(name: &str, weight: u16) -> Edit {
    let member = MemberSpec { weight, ..MemberSpec::new("10.0.0.1:80".parse().unwrap()) };
    let spec = PoolSpec { members: vec![member], ..PoolSpec::default() };
    Edit::put(AnyDraft::Pool(Draft::new(name, spec)), name)
}

fn server(name: &str, port: u16, pool: &str) -> Edit {
    let listen = std::net::SocketAddr::from(([10, 0, 0, 9], port));
    let spec = VirtualServerSpec::new(Protocol::Http, listen, pool);
    Edit::put(AnyDraft::VirtualServer(Draft::new(name, spec)), name)
}

fn any_edit() -> impl Strategy<Value = Edit> {
    let name = || prop::sample::select(vec!["a", "b", "c"]);
    let precondition = prop_oneof![
        4 => Just(Precondition::Any),
        1 => Just(Precondition::Absent),
        1 => (1..40_u64).prop_map(Precondition::Revision),
    ];
    let edit = prop_oneof![
        (name(), 0..300_u16).prop_map(|(name, weight)| pool(name, weight)),
        (name(), 0..4_u16, name()).prop_map(|(name, port, pool)| server(name, port, pool)),
        name().prop_map(|name| Edit::delete(Kind::Pool, name)),
        name().prop_map(|name| Edit::delete(Kind::VirtualServer, name)),
    ];
    (edit, precondition).prop_map(|(edit, precondition)| edit.only_if(precondition))
}

proptest! {
    #[test]
    fn whatever_is_asked_the_invariants_hold_and_a_rejection_changes_nothing(
        commands in prop::collection::vec(prop::collection::vec(any_edit(), 1..4), 1..40),
    ) {
        let mut state = bootstrapped();
        for (i, edits) in commands.into_iter().enumerate() {
            let before = state.clone();
            let index = i as u64 + 2;
            let command = command(index, CommandBody::Edit { edits });
            let expected = state.check(&command);
            let outcome = state.apply(index, &command);
            prop_assert_eq!(state.config.check_invariants(), Ok(()));
            match outcome {
                Outcome::Applied { changed, .. } => prop_assert_eq!(expected, Ok(changed)),
                Outcome::Rejected { rejection } => {
                    prop_assert_eq!(expected, Err(rejection));
                    prop_assert_eq!(&state, &before);
                }
                Outcome::Replayed { .. } => prop_assert!(false, "no key was given"),
            }
            let text = serde_json::to_string(&state).unwrap();
            prop_assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state.clone());
        }
    }
}
