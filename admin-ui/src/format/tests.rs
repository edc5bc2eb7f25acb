use super::*;
use crate::i18n::Language;

#[test]
fn digits_are_grouped() {
    assert_eq!(count(0), "0");
    assert_eq!(count(999), "999");
    assert_eq!(count(1_000), "1,000");
    assert_eq!(count(12_345_678), "12,345,678");
}

#[test]
fn rates_keep_the_digits_that_matter() {
    assert_eq!(rate(0.0), "0");
    assert_eq!(rate(0.42), "0.4");
    assert_eq!(rate(9.96), "10");
    assert_eq!(rate(417.3), "417");
    assert_eq!(rate(999.7), "1.0k");
    assert_eq!(rate(38_412.0), "38k");
    assert_eq!(rate(1_250_000.0), "1.2M");
}

#[test]
fn traffic_is_shown_in_bits() {
    assert_eq!(bit_rate(0.0), "0 bit/s");
    assert_eq!(bit_rate(125.0), "1.0 kbit/s");
    assert_eq!(bit_rate(2_500_000.0), "20 Mbit/s");
}

#[test]
fn durations_lose_their_fraction_as_they_grow() {
    assert_eq!(duration(412), "0.41 ms");
    assert_eq!(duration(12_340), "12.3 ms");
    assert_eq!(duration(2_000_100), "2,000 ms");
}

#[test]
fn spans_name_their_two_largest_units() {
    let en = Language::English.texts();
    let span = |t, ms| span(t, ms).replace('\u{a0}', " ");
    assert_eq!(span(en, 999), "0 s");
    assert_eq!(span(en, 42_000), "42 s");
    assert_eq!(span(en, 125_000), "2 min 5 s");
    assert_eq!(span(en, 1_205_000), "20 min");
    assert_eq!(span(en, 7_200_000), "2 h");
    assert_eq!(span(en, 93_600_000), "1 d 2 h");
    assert_eq!(span(Language::Chinese.texts(), 125_000), "2 分钟 5 秒");
}

#[test]
fn sentences_begin_with_a_capital() {
    assert_eq!(sentence("node b does not answer"), "Node b does not answer");
    assert_eq!(sentence("É"), "É");
    assert_eq!(sentence(""), "");
}
