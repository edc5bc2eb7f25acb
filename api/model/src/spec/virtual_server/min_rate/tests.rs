use serde_json::{Value, json};

use super::*;

fn faults(document: &Value) -> Vec<String> {
    let settings: HttpSettings = serde_json::from_value(document.clone()).unwrap();
    let mut errors = FieldErrors::default();
    validate(&mut errors, &settings);
    errors.into_vec().into_iter().map(|error| error.pointer).collect()
}

#[test]
fn rates_and_grace_are_bounded_both_ways() {
    for good in [
        json!({}),
        json!({ "body_min_bytes_per_s": 0, "response_min_bytes_per_s": 0 }),
        json!({ "body_min_bytes_per_s": 1_000_000, "response_min_bytes_per_s": 1_000_000 }),
        json!({ "min_rate_grace_ms": 1_000 }),
        json!({ "min_rate_grace_ms": 600_000 }),
    ] {
        assert_eq!(faults(&good), Vec::<String>::new(), "{good}");
    }
    for (bad, at) in [
        (json!({ "body_min_bytes_per_s": 1_000_001 }), "/body_min_bytes_per_s"),
        (json!({ "response_min_bytes_per_s": 1_000_001 }), "/response_min_bytes_per_s"),
        (json!({ "min_rate_grace_ms": 999 }), "/min_rate_grace_ms"),
        (json!({ "min_rate_grace_ms": 600_001 }), "/min_rate_grace_ms"),
    ] {
        assert_eq!(faults(&bad), [at], "{bad}");
    }
}
