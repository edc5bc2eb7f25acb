use serde_json::json;

use super::*;
use crate::HttpSettings;

fn parse(value: impl Serialize) -> AccessLogSettings {
    let http: HttpSettings = serde_json::from_value(json!({ "access_log": value })).unwrap();
    http.access_log
}

fn faults(settings: &AccessLogSettings) -> Vec<String> {
    let mut errors = FieldErrors::default();
    settings.validate(&mut errors);
    errors.into_vec().into_iter().map(|error| error.pointer).collect()
}

#[test]
fn a_truth_value_of_old_means_the_same_as_before() {
    assert_eq!(parse(json!(true)), AccessLogSettings::default());
    assert_eq!(parse(json!(false)), AccessLogSettings { enabled: false, ..Default::default() });
    assert_eq!(HttpSettings::default().access_log, parse(json!({})));
}

#[test]
fn settings_are_read_and_written_alike() {
    let settings = parse(json!({ "sample_percent": 0.5, "request_headers": ["User-Agent"] }));
    assert!((settings.sample_percent - 0.5).abs() < f64::EPSILON && settings.enabled);
    let written = serde_json::to_value(&settings).unwrap();
    assert_eq!(parse(written), settings);
    let unknown = serde_json::from_value::<HttpSettings>(json!({ "access_log": { "colour": 1 } }));
    assert!(unknown.unwrap_err().to_string().contains("colour"));
    let text = serde_json::from_value::<HttpSettings>(json!({ "access_log": "yes" }));
    assert!(text.unwrap_err().to_string().contains("true or false"));
}

#[test]
fn limits_hold_at_the_limit_and_break_one_further() {
    let named = |count: usize| (0..count).map(|i| format!("x-{i}")).collect::<Vec<_>>();
    let at = AccessLogSettings {
        sample_percent: 0.0,
        request_headers: named(LOGGED_HEADER_MAX_COUNT),
        response_headers: vec!["a".repeat(LOGGED_HEADER_NAME_MAX_BYTES)],
        ..Default::default()
    };
    assert_eq!(faults(&at), [""; 0]);
    let beyond = AccessLogSettings {
        sample_percent: 100.1,
        request_headers: named(LOGGED_HEADER_MAX_COUNT + 1),
        response_headers: vec![
            "a".repeat(LOGGED_HEADER_NAME_MAX_BYTES + 1),
            "x y".to_owned(),
            "Age".to_owned(),
            "age".to_owned(),
        ],
        ..Default::default()
    };
    assert_eq!(
        faults(&beyond),
        [
            "/sample_percent",
            "/request_headers",
            "/response_headers/0",
            "/response_headers/1",
            "/response_headers/3"
        ]
    );
}
