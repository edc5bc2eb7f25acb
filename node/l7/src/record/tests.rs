use ballast_telemetry::VirtualServerCounters;
use proptest::prelude::*;

use super::*;
use crate::connection::tests::session;

/// What came of requests that ended so, one after another.
fn counted(ends: &[(u16, Option<FailureReason>)]) -> Vec<u64> {
    let counters = VirtualServerCounters::new("a", 1);
    let session = session(counters.shard(0));
    for (status, reason) in ends {
        let mut record = Record { status: *status, reason: *reason, ..Record::default() };
        record.finish(&session);
    }
    let totals = counters.totals();
    assert_eq!(totals.requests_total(), ends.len() as u64);
    FailureReason::ALL.iter().map(|reason| totals.failures_for(*reason)).collect()
}

#[test]
fn each_reason_is_counted_once_for_each_request_that_failed_so() {
    for (at, reason) in FailureReason::ALL.iter().enumerate() {
        let counts = counted(&[(502, Some(*reason)), (200, None)]);
        for (other, count) in counts.iter().enumerate() {
            assert_eq!(*count, u64::from(other == at), "{reason}");
        }
    }
}

proptest! {
    #[test]
    fn failures_are_as_many_as_requests_with_a_reason(
        ends in prop::collection::vec(
            (0_u16..600, prop::option::of(0..FailureReason::COUNT)), 0..50,
        ),
    ) {
        let ends: Vec<_> = ends
            .into_iter()
            .map(|(status, at)| (status, at.map(|at| FailureReason::ALL[at])))
            .collect();
        let counts = counted(&ends);
        for (reason, count) in FailureReason::ALL.iter().zip(counts) {
            let expected = ends.iter().filter(|(_, own)| *own == Some(*reason)).count();
            prop_assert_eq!(count, expected as u64);
        }
    }
}

#[test]
fn phases_lie_within_the_whole() {
    let record = Record {
        start_us: 10,
        head_us: 15,
        first_byte_us: Some(20),
        connect_us: Some(4),
        ..Record::default()
    };
    let phases = record.phases(100);
    let shown: Vec<_> = Phase::ALL.iter().map(|phase| phases.us(*phase)).collect();
    assert_eq!(shown, [Some(5), None, Some(4), None, Some(20), Some(75)]);
}

#[test]
fn failures_are_logged_whatever_the_sample() {
    let none = AccessLogSettings { sample_percent: 0.0, ..Default::default() };
    let failures = AccessLogSettings { failures_only: true, ..Default::default() };
    let off = AccessLogSettings { enabled: false, ..Default::default() };
    let all = AccessLogSettings::default();
    let client = "192.0.2.7:1".parse().unwrap();
    for (status, reason, expected) in [
        (200, None, [false, false, false, true]),
        (404, None, [false, false, false, true]),
        (500, None, [true, true, false, true]),
        (408, Some(FailureReason::HeaderTimeout), [true, true, false, true]),
        (0, Some(FailureReason::ClientClosed), [true, true, false, true]),
    ] {
        let record = AccessRecord { status, reason, ..AccessRecord::new(0, "a", client) };
        let shown = [&none, &failures, &off, &all].map(|own| is_logged(own, &record, || 1 << 63));
        assert_eq!(shown, expected, "{status} {reason:?}");
    }
}
