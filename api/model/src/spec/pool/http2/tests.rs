use super::*;

fn pointers(settings: &PoolHttp2) -> Vec<String> {
    let mut errors = FieldErrors::default();
    settings.validate(&mut errors);
    errors.into_vec().into_iter().map(|fault| fault.pointer).collect()
}

#[test]
fn bounds_hold_at_the_limit_and_not_beyond() {
    let with = |connections, streams| PoolHttp2 {
        connection_max_count: connections,
        stream_max_count: streams,
        ping_interval_ms: None,
        websockets: MemberWebSockets::Auto,
    };
    for good in [with(1, 1), with(64, 1_024), PoolHttp2::default()] {
        assert_eq!(pointers(&good), [""; 0], "{good:?}");
    }
    assert_eq!(pointers(&with(0, 0)), ["/connection_max_count", "/stream_max_count"]);
    assert_eq!(pointers(&with(65, 1_025)), ["/connection_max_count", "/stream_max_count"]);
    let ping = |ms| PoolHttp2 { ping_interval_ms: Some(ms), ..PoolHttp2::default() };
    assert_eq!(pointers(&ping(100)), [""; 0]);
    assert_eq!(pointers(&ping(99)), ["/ping_interval_ms"]);
}

#[test]
fn never_is_still_never_after_it_was_stored() {
    let never: PoolHttp2 = serde_json::from_str(r#"{"ping_interval_ms": null}"#).unwrap();
    assert_eq!(never.ping_interval_ms, None);
    let stored = serde_json::to_string(&never).unwrap();
    assert_eq!(serde_json::from_str::<PoolHttp2>(&stored).unwrap(), never);
}
