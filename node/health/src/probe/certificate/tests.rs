use super::*;

fn told(left_s: i64, warn_days: Option<u32>, fail_days: Option<u32>) -> Result<String, String> {
    let settings = TlsProbe { warn_days, fail_days, server_name: None };
    // 2026-11-23, noon.
    let now_s = 1_795_435_200;
    judge(now_s + left_s, now_s, &settings, "TLS 1.3 after 2 ms").map_err(|fault| match fault {
        Fault::Answer(text) => text,
        other => panic!("{other:?}"),
    })
}

#[test]
fn days_ahead_are_judged_at_the_limit_and_beyond() {
    let (week_s, month_s) = (7 * DAY_S, 30 * DAY_S);
    let told = |left_s| told(left_s, Some(30), Some(7));
    assert!(told(month_s).unwrap().contains("lasts until 2026-12-23"));
    assert!(told(month_s - 1).unwrap().contains("warning: the certificate expires in 29 days"));
    assert!(told(week_s).unwrap().contains("warning"));
    let failed = told(week_s - 1).unwrap_err();
    assert!(failed.contains("expires in 6 days, on 2026-11-30; expected 7 or more"), "{failed}");
}

#[test]
fn certificate_that_has_expired_fails_whatever_is_set() {
    assert!(told(0, None, None).is_ok());
    assert!(told(-1, None, None).unwrap_err().contains("expired on 2026-11-23"));
}

#[test]
fn dates_are_those_of_the_calendar() {
    for (day, text) in [
        (0, "1970-01-01"),
        (59, "1970-03-01"),
        (11_016, "2000-02-29"),
        (11_017, "2000-03-01"),
        (20_780, "2026-11-23"),
        (47_540, "2100-02-28"),
        (47_541, "2100-03-01"),
    ] {
        assert_eq!(date(day * DAY_S + 5), text);
    }
}

#[test]
fn bytes_that_are_no_certificate_have_no_date() {
    assert_eq!(not_after_s(b""), None);
    assert_eq!(not_after_s(&[0x30; 2_000]), None);
}
