use ballast_model::limits::MEMBER_CONNECTION_LIMIT_MAX;

use super::*;

fn said(line: &str) -> AgentWord {
    parse(line.as_bytes()).unwrap()
}

#[test]
fn words_are_read_in_any_case_and_apart_by_any_blank() {
    let word = said("UP, 75%\tmaxconn:30 Ready # all is well ");
    assert_eq!(word.up, Some(true));
    assert_eq!(word.wish, Some(AgentWish::Ready));
    assert_eq!((word.weight_percent, word.connection_limit), (Some(75), Some(30)));
    assert_eq!(word.text.as_deref(), Some("all is well"));
    for down in ["down", "fail", "failed", "stopped", "down#disk full"] {
        assert_eq!(said(down).up, Some(false), "{down}");
    }
    assert_eq!(said("drain").wish, Some(AgentWish::Drain));
    assert_eq!(said("maint").wish, Some(AgentWish::Maint));
    assert_eq!(said("50%"), AgentWord { weight_percent: Some(50), ..AgentWord::default() });
}

#[test]
fn what_is_not_understood_is_a_fault_unless_something_is() {
    for line in ["", "   ", "#text alone", "hello", "-1%", "%", "maxconn:", "maxconn:x", "7 %"] {
        assert!(parse(line.as_bytes()).is_err(), "{line:?}");
    }
    assert_eq!(said("up tomorrow's-word").up, Some(true));
    assert!(parse(&[0xff, 0xfe]).is_err());
}

#[test]
fn numbers_and_texts_are_bounded() {
    assert_eq!(said("99999999999999%").weight_percent, Some(PERCENT_MAX));
    assert_eq!(said("maxconn:4294967296").connection_limit, Some(MEMBER_CONNECTION_LIMIT_MAX));
    let text = said(&format!("up #\u{1b}[31m{}", "x".repeat(900))).text.unwrap();
    assert_eq!(text.chars().count(), TEXT_MAX_CHARS);
    assert!(!text.contains('\u{1b}'), "a terminal would act on it");
}
