use serde_json::json;

use super::*;

fn faults(spec: serde_json::Value) -> Vec<(String, String)> {
    let spec: MonitorSpec = serde_json::from_value(spec).unwrap();
    let mut errors = FieldErrors::default();
    errors.within("spec", |errors| spec.validate(errors));
    errors.into_vec().into_iter().map(|error| (error.pointer, error.code)).collect()
}

#[test]
fn each_kind_loads_with_its_defaults_alone() {
    for kind in ["grpc", "http", "tcp", "tls", "udp"] {
        assert_eq!(faults(json!({"type": kind})), [], "{kind}");
    }
    assert_eq!(faults(json!({"type": "agent", "port": 9000})), []);
    assert_eq!(faults(json!({"type": "agent"})), [("/spec/port".into(), "required".into())]);
    let udp: UdpProbe = serde_json::from_value(json!({})).unwrap();
    assert!(udp.answer_required);
}

#[test]
fn settings_of_another_kind_are_refused() {
    for (kind, other) in
        [("tcp", "grpc"), ("http", "tls"), ("udp", "http"), ("grpc", "agent"), ("tls", "udp")]
    {
        let found = faults(json!({"type": kind, other: {}}));
        assert_eq!(found, [(format!("/spec/{other}"), "not_allowed".to_owned())]);
    }
}

#[test]
fn limits_hold_at_the_limit_and_not_beyond() {
    let is_good = |kind: &str, settings: serde_json::Value| {
        faults(json!({"type": kind, "port": 9, kind: settings})).is_empty()
    };
    for (bytes, good) in [(GRPC_SERVICE_MAX, true), (GRPC_SERVICE_MAX + 1, false)] {
        assert_eq!(is_good("grpc", json!({"service": "x".repeat(bytes)})), good);
    }
    for (bytes, good) in [(agent::AGENT_SEND_MAX_BYTES, true), (257, false), (0, false)] {
        assert_eq!(is_good("agent", json!({"send": "x".repeat(bytes)})), good);
    }
    for (bytes, good) in [(udp::UDP_PROBE_MAX_BYTES, true), (1_473, false)] {
        assert_eq!(is_good("udp", json!({"send": "x".repeat(bytes)})), good);
        assert_eq!(is_good("udp", json!({"send_hex": "0a:".repeat(bytes)})), good);
    }
    for (days, good) in [(1, true), (3_650, true), (0, false), (3_651, false)] {
        assert_eq!(is_good("tls", json!({"fail_days": days})), good, "{days}");
    }
    assert!(is_good("tls", json!({"warn_days": 8, "fail_days": 7})));
    assert!(!is_good("tls", json!({"warn_days": 7, "fail_days": 7})), "nobody would be warned");
    assert!(!is_good("udp", json!({"expect": "("})));
    assert!(!is_good("udp", json!({"send": "a", "send_hex": "61"})));
}

const GRPC_SERVICE_MAX: usize = grpc::GRPC_SERVICE_MAX_BYTES;

#[test]
fn payload_is_read_from_text_or_digits() {
    let payload = |send_hex: &str| {
        UdpProbe { send_hex: Some(send_hex.to_owned()), ..UdpProbe::default() }.payload()
    };
    assert_eq!(payload("00:fF 10").unwrap(), [0, 255, 16]);
    assert!(payload("").unwrap().is_empty());
    assert!(payload("0").is_err());
    assert!(payload("0g").is_err());
    let text = UdpProbe { send: Some("ping\r\n".to_owned()), ..UdpProbe::default() };
    assert_eq!(text.payload().unwrap(), b"ping\r\n");
}
