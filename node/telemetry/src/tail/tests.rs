use ballast_model::tail::RATE_DEFAULT_PER_S;

use super::*;
use crate::reason::FailureReason;

fn record() -> AccessRecord<'static> {
    let mut record = AccessRecord::new(0, "web", "192.0.2.7:50000".parse().unwrap());
    record.uri = b"/api/x?token=t";
    record.status = 503;
    record.reason = Some(FailureReason::NoMember);
    record.pool = "blue";
    record.member = Some("m1");
    record.total_us = 5_000;
    record
}

fn all() -> TailFilter {
    TailFilter { rate_max_per_s: 1_000, ..TailFilter::default() }
}

#[test]
fn a_filter_lets_pass_what_it_says() {
    let text = |text: &str| Some(text.to_owned());
    let status = |text: &str| Some(text.parse().unwrap());
    let network = |text: &str| Some(text.parse().unwrap());
    for (filter, expected) in [
        (all(), true),
        (TailFilter { virtual_server: text("web"), ..all() }, true),
        (TailFilter { virtual_server: text("we"), ..all() }, false),
        (TailFilter { pool: text("blue"), member: text("m1"), ..all() }, true),
        (TailFilter { pool: text("green"), ..all() }, false),
        (TailFilter { member: text("m"), ..all() }, false),
        (TailFilter { status: status("5xx"), ..all() }, true),
        (TailFilter { status: status("500-502"), ..all() }, false),
        (TailFilter { status: status("none"), ..all() }, false),
        (TailFilter { path_prefix: text("/api/"), ..all() }, true),
        (TailFilter { path_prefix: text("/b"), ..all() }, false),
        (TailFilter { client: network("192.0.2.0/24"), ..all() }, true),
        (TailFilter { client: network("192.0.2.6"), ..all() }, false),
        (TailFilter { client: network("0.0.0.0/0"), ..all() }, true),
        (TailFilter { client: network("::/0"), ..all() }, false),
        (TailFilter { reason: text("any"), ..all() }, true),
        (TailFilter { reason: text("no_member"), ..all() }, true),
        (TailFilter { reason: text("internal"), ..all() }, false),
        (TailFilter { min_duration_ms: 5, ..all() }, true),
        (TailFilter { min_duration_ms: 6, ..all() }, false),
    ] {
        assert_eq!(matches(&filter, &record()), expected, "{filter:?}");
    }
    let failed = TailFilter { reason: text("any"), ..all() };
    assert!(!matches(&failed, &AccessRecord { reason: None, ..record() }));
}

#[tokio::test]
async fn readers_get_what_they_want_as_json_without_secrets() {
    let tail = Tail::default();
    assert!(!tail.is_on());
    let mut every = tail.watch(all()).unwrap();
    let other = TailFilter { virtual_server: Some("other".to_owned()), ..all() };
    let mut none = tail.watch(other).unwrap();
    assert!(tail.is_on());
    let names = ["cookie".to_owned()];
    let mut values = Vec::new();
    crate::HeaderValues::keep(&mut values, Some(b"sid=1"));
    let request_headers = crate::HeaderValues { names: &names, values: &values };
    tail.offer(&AccessRecord { request_headers, ..record() }, 0);
    let shown: serde_json::Value = serde_json::from_str(&every.next().await.unwrap()).unwrap();
    assert_eq!(shown["reason"], "no_member");
    assert_eq!(shown["uri"], "/api/x?token=***");
    assert_eq!(shown["request_headers"]["cookie"], "***");
    assert!(none.records.try_recv().is_err());
    drop((every, none));
    assert!(!tail.is_on());
}

#[tokio::test]
async fn a_slow_reader_loses_records_and_learns_how_many() {
    let tail = Tail::default();
    let mut reader = tail.watch(all()).unwrap();
    for _ in 0..BEHIND_MAX_COUNT {
        tail.offer(&record(), 0);
    }
    assert_eq!(reader.take_left_out(), 0);
    tail.offer(&record(), 0);
    assert_eq!((reader.take_left_out(), reader.take_left_out()), (1, 0));
    assert!(reader.next().await.is_some());
}

#[test]
fn a_reader_gets_as_many_in_a_second_as_it_asks_for() {
    let tail = Tail::default();
    let mut reader = tail.watch(TailFilter::default()).unwrap();
    let mut offered = |count: u32, now_ms| {
        (0..count).for_each(|_| tail.offer(&record(), now_ms));
        let mut shown = 0;
        while reader.records.try_recv().is_ok() {
            shown += 1;
        }
        (shown, reader.take_left_out())
    };
    assert_eq!(offered(RATE_DEFAULT_PER_S, 5_000), (100, 0));
    assert_eq!(offered(1, 5_999), (0, 1));
    assert_eq!(offered(RATE_DEFAULT_PER_S + 1, 6_000), (100, 1));
    // A worker whose clock is behind.
    assert_eq!(offered(1, 5_999), (0, 1));
}

#[test]
fn there_are_as_many_readers_as_may_be() {
    let tail = Tail::default();
    let readers: Vec<_> = (0..READER_MAX_COUNT).map(|_| tail.watch(all()).unwrap()).collect();
    assert_eq!(tail.watch(all()).unwrap_err(), TooManyReaders);
    drop(readers);
    assert!(tail.watch(all()).is_ok());
}
