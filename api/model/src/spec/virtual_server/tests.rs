use serde_json::{Value, json};

use super::*;

/// Where faults are found in a virtual server with these fields besides the usual ones.
fn faults(protocol: &str, fields: Value) -> Vec<String> {
    let mut document = json!({
        "protocol": protocol, "addresses": ["192.0.2.1"], "ports": [80], "pool": "p",
    });
    let Value::Object(fields) = fields else { panic!("an object") };
    document.as_object_mut().unwrap().extend(fields);
    let spec: VirtualServerSpec = serde_json::from_value(document).unwrap();
    let mut errors = FieldErrors::default();
    spec.validate(&mut errors);
    errors.into_vec().into_iter().map(|error| error.pointer).collect()
}

#[test]
fn limits_of_sources_are_bounded() {
    let limits = |limits: Value| faults("http", json!({ "source_limits": limits }));
    for good in [
        json!({}),
        json!({ "connection_max_count": 1, "ipv4_prefix_length": 8, "ipv6_prefix_length": 128 }),
        json!({ "connection_rate_per_s": 1_000_000, "connection_burst_count": 1_000_000 }),
    ] {
        assert_eq!(limits(good.clone()), Vec::<String>::new(), "{good}");
    }
    for (bad, at) in [
        (json!({ "connection_max_count": 0 }), "connection_max_count"),
        (json!({ "connection_rate_per_s": 1_000_001 }), "connection_rate_per_s"),
        (json!({ "connection_burst_count": 5 }), "connection_burst_count"),
        (json!({ "ipv4_prefix_length": 33 }), "ipv4_prefix_length"),
        (json!({ "ipv6_prefix_length": 15 }), "ipv6_prefix_length"),
    ] {
        assert_eq!(limits(bad.clone()), [format!("/source_limits/{at}")], "{bad}");
    }
}

#[test]
fn queue_priority_is_bounded_and_not_for_datagrams() {
    let of = |protocol, priority: i32| faults(protocol, json!({ "queue_priority": priority }));
    for protocol in ["http", "tcp", "tls_passthrough"] {
        for good in [-100, 0, 100] {
            assert_eq!(of(protocol, good), Vec::<String>::new());
        }
        for bad in [-101, 101] {
            assert_eq!(of(protocol, bad), ["/queue_priority"]);
        }
    }
    assert_eq!(of("udp", 0), Vec::<String>::new());
    assert_eq!(of("udp", 1), ["/queue_priority"]);
}

#[test]
fn routes_of_a_passthrough_are_checked_one_by_one() {
    let routes = |routes: Value| {
        faults("tls_passthrough", json!({ "tls_passthrough": { "routes": routes } }))
    };
    let route = |names: &[&str]| json!({ "server_names": names, "pool": "p" });
    assert_eq!(
        routes(json!([route(&["a.example", "*.a.example", "x_y.example"])])),
        Vec::<String>::new()
    );
    for name in ["", "*", "*.", "a..b", "a.*.b", "*a.example", "a b", "a.example.", "é.example"] {
        let found = routes(json!([route(&["ok.example", name])]));
        assert_eq!(found, ["/tls_passthrough/routes/0/server_names/1"], "{name:?}");
    }
    let twice = routes(json!([route(&["a.example"]), route(&["A.example"])]));
    assert_eq!(twice, ["/tls_passthrough/routes/1/server_names/0"]);
    let by_protocol =
        json!({ "server_names": ["a.example"], "alpn_protocols": ["h2"], "pool": "p" });
    assert_eq!(routes(json!([by_protocol, route(&["a.example"])])), Vec::<String>::new());
    assert_eq!(faults("tcp", json!({ "tls_passthrough": {} })), ["/tls_passthrough"]);
    assert_eq!(faults("tls_passthrough", json!({ "certificates": ["c"] })), ["/certificates"]);
}

#[test]
fn pools_of_routes_are_references() {
    let spec: VirtualServerSpec = serde_json::from_value(json!({
        "protocol": "tls_passthrough", "addresses": ["192.0.2.1"], "ports": [443], "pool": "p",
        "tls_passthrough": { "routes": [{ "server_names": ["a.example"], "pool": "q" }] },
    }))
    .unwrap();
    let references = spec.references();
    let found: Vec<_> = references.iter().map(|r| (r.pointer.as_str(), &*r.target.name)).collect();
    assert_eq!(found, [("/spec/pool", "p"), ("/spec/tls_passthrough/routes/0/pool", "q")]);
}

#[test]
fn who_is_trusted_to_announce_clients_must_be_said() {
    let trusting = |networks: Value| {
        faults("tcp", json!({ "accept_proxy_protocol": { "trusted_sources": networks } }))
    };
    assert_eq!(trusting(json!(["10.0.0.0/8", "2001:db8::1"])), Vec::<String>::new());
    assert_eq!(trusting(json!([])), ["/accept_proxy_protocol/trusted_sources"]);
    let many: Vec<String> = (0..=256).map(|n| format!("10.0.{}.{}", n / 256, n % 256)).collect();
    assert_eq!(trusting(json!(many[..256])), Vec::<String>::new());
    assert_eq!(trusting(json!(many)), ["/accept_proxy_protocol/trusted_sources"]);
}

#[test]
fn times_and_attempts_of_tcp_are_bounded() {
    let tcp = |tcp: Value| faults("tcp", json!({ "tcp": tcp }));
    assert_eq!(
        tcp(json!({ "lifetime_max_ms": 1_000, "keep_alive_s": 32_767 })),
        Vec::<String>::new()
    );
    for (bad, at) in [
        (json!({ "lifetime_max_ms": 999 }), "lifetime_max_ms"),
        (json!({ "keep_alive_s": 0 }), "keep_alive_s"),
        (json!({ "connect_attempt_max_count": 0 }), "connect_attempt_max_count"),
        (json!({ "connect_attempt_max_count": 17 }), "connect_attempt_max_count"),
    ] {
        assert_eq!(tcp(bad.clone()), [format!("/tcp/{at}")], "{bad}");
    }
}

#[test]
fn limits_of_http_2_are_bounded() {
    let limits = |limits: Value| faults("http", json!({ "http": { "http2_limits": limits } }));
    for (name, min, max) in [
        ("stream_max_count", 1, 1_000),
        ("request_max_count", 1, 1_000_000_000),
        ("reset_max_count", 10, 1_000_000),
        ("control_frame_max_count", 10, 1_000_000),
    ] {
        for good in [min, max] {
            assert_eq!(limits(json!({ name: good })), Vec::<String>::new(), "{name} {good}");
        }
        for bad in [min - 1, max + 1] {
            assert_eq!(limits(json!({ name: bad })), [format!("/http/http2_limits/{name}")]);
        }
    }
}

#[test]
fn protocols_to_change_to_are_names_and_never_http() {
    let upgrades = |upgrades: Value| faults("http", json!({ "http": { "upgrades": upgrades } }));
    let many: Vec<String> = (0..9).map(|n| format!("p{n}")).collect();
    for good in [json!([]), json!(["websocket", "tcp", "SPDY/3.1"]), json!(many[..8])] {
        assert_eq!(upgrades(good.clone()), Vec::<String>::new(), "{good}");
    }
    assert_eq!(upgrades(json!(many)), ["/http/upgrades"]);
    for bad in ["", "a b", "a/", "a/b/c", "h2c", "HTTP/2.0", "h2", "TLS/1.2", "Websocket"] {
        let faults = upgrades(json!(["websocket", bad]));
        assert_eq!(faults, ["/http/upgrades/1"], "{bad}");
    }
}

#[test]
fn settings_of_datagrams_are_bounded_and_streams_alone_are_announced() {
    let udp = |udp: Value| faults("udp", json!({ "udp": udp }));
    assert_eq!(udp(json!({ "responses": 1, "idle_timeout_ms": 100 })), Vec::<String>::new());
    assert_eq!(udp(json!({ "responses": 0 })), ["/udp/responses"]);
    assert_eq!(udp(json!({ "idle_timeout_ms": 99 })), ["/udp/idle_timeout_ms"]);
    let accept = json!({ "accept_proxy_protocol": { "trusted_sources": ["10.0.0.0/8"] } });
    assert_eq!(faults("udp", accept), ["/accept_proxy_protocol"]);
}
