use super::*;

#[test]
fn shards_add_up() {
    let counters = VirtualServerCounters::new("web", 2);
    for worker in [0, 1] {
        let shard = counters.shard(worker);
        shard.connection_opened();
        shard.request(200, 100);
        shard.request(503, 70_000_000);
        shard.failure(FailureReason::NoMember);
        shard.received_bytes(10);
        shard.sent_bytes(20);
    }
    counters.shard(0).connection_closed();
    counters.shard(1).request_unanswered(5);
    counters.shard(1).request(999, 5);
    let totals = counters.totals();
    assert_eq!((totals.connections, totals.connections_total), (1, 2));
    assert_eq!((totals.responses, totals.unanswered_total), ([0, 2, 0, 0, 3], 1));
    assert_eq!((totals.requests_total(), totals.failures_total()), (6, 2));
    assert_eq!(totals.failures_for(FailureReason::NoMember), 2);
    assert_eq!((totals.received_bytes_total, totals.sent_bytes_total), (20, 40));
    assert_eq!((totals.latency.count(), totals.latency.buckets[BUCKETS - 1]), (6, 2));
    assert_eq!(counters.status().requests_total, 6);
}

/// RFC 9110 §15: beyond 599 there is none, and clients take it for 5xx.
#[test]
fn every_status_has_a_class_and_no_answer_has_none() {
    for (status, class) in
        [(100, 0), (199, 0), (200, 1), (499, 3), (500, 4), (599, 4), (600, 4), (999, 4)]
    {
        assert_eq!(status_class(status), Some(class), "{status}");
    }
    assert_eq!((status_class(0), status_class(99)), (None, None));
}

const BUCKETS: usize = crate::histogram::BUCKET_COUNT;

#[test]
fn each_worker_has_cache_lines_of_its_own() {
    assert_eq!(align_of::<CounterShard>(), 128);
    let counters = VirtualServerCounters::new("web", 2);
    assert!(!Arc::ptr_eq(counters.shard(0), counters.shard(1)));
    assert!(Arc::ptr_eq(counters.shard(0), counters.shard(2)), "never out of bounds");
}

#[test]
fn reader_sees_what_another_thread_wrote() {
    let counters = Arc::new(VirtualServerCounters::new("web", 1));
    let shard = Arc::clone(counters.shard(0));
    std::thread::spawn(move || (0..1_000).for_each(|_| shard.request(204, 1))).join().unwrap();
    assert_eq!(counters.totals().requests_total(), 1_000);
}

#[test]
fn codes_are_unique_and_stable_in_form() {
    let codes: std::collections::BTreeSet<_> =
        FailureReason::ALL.iter().map(|reason| reason.code()).collect();
    assert_eq!(codes.len(), FailureReason::COUNT);
    let is_plain = |code: &str| {
        code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    assert!(codes.iter().all(|code| is_plain(code)));
}
