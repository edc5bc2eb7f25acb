use serde_json::{Value, json};

use super::*;

fn faults(document: &Value) -> Vec<String> {
    let settings: Buffering = serde_json::from_value(document.clone()).unwrap();
    let mut errors = FieldErrors::default();
    settings.validate(&mut errors);
    errors.into_vec().into_iter().map(|error| error.pointer).collect()
}

#[test]
fn what_is_held_is_bounded_both_ways() {
    for good in [
        json!({}),
        json!({ "request_max_bytes": 1_024, "connection_max_bytes": 1_024 }),
        json!({ "response_max_bytes": 67_108_864, "connection_max_bytes": 268_435_456 }),
        json!({ "request_max_bytes": 4_194_304, "response_max_bytes": 4_194_304 }),
    ] {
        assert_eq!(faults(&good), Vec::<String>::new(), "{good}");
    }
    for (bad, at) in [
        (json!({ "request_max_bytes": 1_023 }), "/request_max_bytes"),
        (json!({ "response_max_bytes": 4_194_305 }), "/connection_max_bytes"),
        (json!({ "connection_max_bytes": 268_435_457 }), "/connection_max_bytes"),
        (json!({ "connection_max_bytes": 1_023 }), "/connection_max_bytes"),
        (
            json!({ "response_max_bytes": 67_108_865, "connection_max_bytes": 67_108_864 }),
            "/response_max_bytes",
        ),
    ] {
        assert_eq!(faults(&bad), [at], "{bad}");
    }
}
