use super::*;

#[test]
fn escape_sequences_are_shown_not_obeyed() {
    assert_eq!(safe("a\x1b[31mred\u{9b}2J"), "a\\u{1b}[31mred\\u{9b}2J");
    assert_eq!(safe("two\nlines\r\tand"), "two\\nlines\\r\\tand");
    assert_eq!(safe("abc\u{202e}txt.exe"), "abc\\u{202e}txt.exe");
    assert_eq!(safe("简体中文 → ü"), "简体中文 → ü");
}

#[test]
fn json_means_the_same_without_control_characters() {
    let value = serde_json::json!({ "text": "\u{9b}2J \x7f \u{202e}\n中" });
    let shown = safe_json(&serde_json::to_string_pretty(&value).unwrap());
    assert!(!shown.chars().any(|c| c != '\n' && drives_terminal(c)), "{shown:?}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
}

#[test]
fn long_text_is_cut_between_characters() {
    assert_eq!(short("üüü", 3), "üüü");
    assert_eq!(short("üüüü", 3), "üüü…");
}

#[test]
fn points_in_time_are_those_of_the_calendar() {
    assert_eq!(utc(0), "1970-01-01T00:00:00Z");
    assert_eq!(utc(951_782_400_000), "2000-02-29T00:00:00Z");
    assert_eq!(utc(1_700_000_000_999), "2023-11-14T22:13:20Z");
    assert_eq!(utc(4_102_444_799_000), "2099-12-31T23:59:59Z");
    // The largest that can be said is no reason to fail.
    utc(u64::MAX);
}
