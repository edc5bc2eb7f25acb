use ballast_model::command::{CommandBody, Origin};
use ballast_model::{AnyDraft, Command, Draft, Edit, Role, UserSpec};

use super::*;

fn snapshot(hash: &str, disabled: bool) -> Snapshot {
    let spec = UserSpec {
        role: Role::Viewer,
        password: None,
        password_hash: Some(hash.to_owned()),
        disabled,
    };
    let mut snapshot = Snapshot::default();
    let edits = vec![Edit::put(AnyDraft::User(Draft::new("ann", spec)), "u")];
    let body = CommandBody::Edit { edits };
    let command = Command { origin: Origin::default(), at_ms: 0, idempotency: None, body };
    snapshot.state.apply(1, &command);
    assert!(snapshot.state.config.users.get("ann").is_some());
    snapshot
}

#[test]
fn session_is_good_on_every_node_with_the_same_key() {
    let (claims, value) = Sessions::new(&[7; 32]).open("ann", "h", 0);
    let elsewhere = Sessions::new(&[7; 32]);
    assert_eq!(elsewhere.verify(&value, &snapshot("h", false), 1), Some(claims));
    assert_eq!(Sessions::new(&[8; 32]).verify(&value, &snapshot("h", false), 1), None);
}

#[test]
fn session_dies_with_time_password_user_and_revocation() {
    let sessions = Sessions::new(&[7; 32]);
    let (claims, value) = sessions.open("ann", "h", 0);
    let good = snapshot("h", false);
    assert!(sessions.verify(&value, &good, SESSION_LIFETIME_MS - 1).is_some());
    assert!(sessions.verify(&value, &good, SESSION_LIFETIME_MS).is_none());
    assert!(sessions.verify(&value, &snapshot("other", false), 1).is_none());
    assert!(sessions.verify(&value, &snapshot("h", true), 1).is_none());
    assert!(sessions.verify(&value, &Snapshot::default(), 1).is_none());
    sessions.revoke(&claims, 1);
    assert!(sessions.verify(&value, &good, 1).is_none());
}

#[test]
fn changed_session_is_refused() {
    let sessions = Sessions::new(&[7; 32]);
    let (_, value) = sessions.open("ann", "h", 0);
    let good = snapshot("h", false);
    for i in 0..value.len() {
        let mut changed = value.clone().into_bytes();
        changed[i] = if changed[i] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        // The last characters of base64 may hold bits that mean nothing.
        if URL_SAFE_NO_PAD.decode(changed.split('.').next_back().unwrap()).is_ok() {
            assert!(sessions.verify(&changed, &good, 1).is_none(), "changed at {i}");
        }
    }
    for nonsense in ["", ".", "a.b", &value[1..]] {
        assert!(sessions.verify(nonsense, &good, 1).is_none());
    }
}

#[test]
fn cookie_is_found_among_others() {
    let mut headers = HeaderMap::new();
    headers.append("cookie", "a=b; xyz".parse().unwrap());
    assert_eq!(from_cookies(&headers), None);
    headers.append("cookie", format!("c=d; {COOKIE}=v.w").parse().unwrap());
    assert_eq!(from_cookies(&headers), Some("v.w"));
}
