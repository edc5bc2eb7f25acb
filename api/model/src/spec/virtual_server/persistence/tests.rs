use serde_json::{Value, json};

use super::*;
use crate::resource::Spec;
use crate::{FieldErrors, Protocol, VirtualServerSpec};

fn faults(persistence: Value) -> Vec<String> {
    let mut errors = FieldErrors::default();
    serde_json::from_value::<Persistence>(persistence).unwrap().validate(&mut errors);
    errors.into_vec().into_iter().map(|error| format!("{} {}", error.pointer, error.code)).collect()
}

#[test]
fn what_is_not_said_is_the_default() {
    let source: Persistence = serde_json::from_value(json!({"type": "source"})).unwrap();
    let expected =
        Persistence::Source { ipv4_prefix_bits: 32, ipv6_prefix_bits: 64, idle_timeout_s: 1_800 };
    assert_eq!(source, expected);
    let header: Persistence =
        serde_json::from_value(json!({"type": "header", "name": "X-User"})).unwrap();
    assert_eq!(header, Persistence::Header { name: "X-User".to_owned(), idle_timeout_s: 1_800 });
    assert!(serde_json::from_value::<Persistence>(json!({"type": "header"})).is_err());
    let unknown = json!({"type": "source", "prefix": 1});
    assert!(serde_json::from_value::<Persistence>(unknown).is_err());
}

#[test]
fn each_limit_holds_at_its_ends_and_not_beyond() {
    let source = |v4: u32, v6: u32, idle_s: u32| {
        faults(json!({"type": "source", "ipv4_prefix_bits": v4, "ipv6_prefix_bits": v6,
            "idle_timeout_s": idle_s}))
    };
    assert!(source(1, 1, 1).is_empty());
    assert!(source(32, 128, PERSISTENCE_IDLE_MAX_S).is_empty());
    assert_eq!(source(0, 0, 0).len(), 3);
    assert_eq!(source(33, 129, PERSISTENCE_IDLE_MAX_S + 1).len(), 3);
    assert_eq!(faults(json!({"type": "header", "name": "a b"})), ["/name invalid_header_name"]);
    let long = "x".repeat(65);
    let named = |name: &str| faults(json!({"type": "application_cookie", "name": name}));
    assert!(named(&long[..64]).is_empty());
    assert_eq!(named(&long), ["/name invalid_cookie_name"]);
}

#[test]
fn streams_and_datagrams_know_clients_by_their_source_alone() {
    let faults = |protocol, persistence: &Persistence| {
        let mut spec = VirtualServerSpec::new(protocol, "192.0.2.1:80".parse().unwrap(), "pool");
        spec.persistence = persistence.clone();
        let mut errors = FieldErrors::default();
        spec.validate(&mut errors);
        errors.into_vec().into_iter().map(|error| error.pointer).collect::<Vec<_>>()
    };
    let source: Persistence = serde_json::from_value(json!({"type": "source"})).unwrap();
    let header = Persistence::Header { name: "X-User".to_owned(), idle_timeout_s: 60 };
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::TlsPassthrough] {
        assert!(faults(protocol, &source).is_empty(), "{protocol:?}");
        assert_eq!(faults(protocol, &header), ["/persistence/type"], "{protocol:?}");
    }
    assert!(faults(Protocol::Http, &header).is_empty());
}
