use super::*;

const GROUP: GroupId = 7;

fn limits(connections: Option<u32>, rate_per_s: Option<u32>) -> SourceLimits {
    SourceLimits {
        connection_max_count: connections,
        connection_rate_per_s: rate_per_s,
        ..SourceLimits::default()
    }
}

fn admit(
    table: &Arc<SourceTable>,
    source: &str,
    limits: &SourceLimits,
    now_us: u64,
) -> Result<SourceHold, FailureReason> {
    table.admit(GROUP, source.parse().unwrap(), limits, now_us).map(|hold| hold.expect("a place"))
}

#[test]
fn connections_of_a_source_are_limited_at_the_limit_and_not_below() {
    let table = Arc::default();
    let limits = limits(Some(3), None);
    let mut held: Vec<_> =
        (0..3).map(|_| admit(&table, "192.0.2.1", &limits, 0).unwrap()).collect();
    let refused = admit(&table, "192.0.2.1", &limits, 0).unwrap_err();
    assert_eq!(refused, FailureReason::SourceConnectionLimit);
    let _other = admit(&table, "192.0.2.2", &limits, 0).expect("another source");
    held.pop();
    held.push(admit(&table, "192.0.2.1", &limits, 0).expect("one has gone"));
    assert!(admit(&table, "::ffff:192.0.2.1", &limits, 0).is_err(), "the same address");
}

#[test]
fn virtual_servers_count_apart() {
    let table: Arc<SourceTable> = Arc::default();
    let limits = limits(Some(1), None);
    let source = "192.0.2.1".parse().unwrap();
    let _one = table.admit(1, source, &limits, 0).unwrap();
    assert!(table.admit(1, source, &limits, 0).is_err());
    assert!(table.admit(2, source, &limits, 0).is_ok());
}

#[test]
fn new_connections_are_limited_at_the_burst_and_then_at_the_rate() {
    let table = Arc::default();
    let mut limits = limits(None, Some(10));
    limits.connection_burst_count = Some(4);
    let begin = |now_us| admit(&table, "192.0.2.1", &limits, now_us).map(drop);
    let start_us = 5_000_000;
    for _ in 0..4 {
        begin(start_us).unwrap();
    }
    assert_eq!(begin(start_us), Err(FailureReason::SourceRateLimit));
    assert_eq!(begin(start_us + 99_999), Err(FailureReason::SourceRateLimit));
    begin(start_us + 100_000).expect("a tenth of a second later");
    assert!(begin(start_us + 100_000).is_err(), "one, and no more");
    let admitted = (0..100).filter(|_| begin(start_us + 60_000_000).is_ok()).count();
    assert_eq!(admitted, 4, "silence saves up the burst and no more");
}

#[test]
fn a_source_is_a_prefix_where_that_is_wished() {
    let table = Arc::default();
    let mut limits = limits(Some(1), None);
    let _one = admit(&table, "2001:db8:0:1::1", &limits, 0).unwrap();
    assert!(admit(&table, "2001:db8:0:1:ffff::9", &limits, 0).is_err(), "the same /64");
    assert!(admit(&table, "2001:db8:0:2::1", &limits, 0).is_ok());
    limits.ipv4_prefix_length = 24;
    let _two = admit(&table, "192.0.2.1", &limits, 0).unwrap();
    assert!(admit(&table, "192.0.2.255", &limits, 0).is_err(), "the same /24");
    assert!(admit(&table, "192.0.3.1", &limits, 0).is_ok());
}

#[test]
fn places_are_used_again_and_their_number_is_bounded() {
    let table: Arc<SourceTable> = Arc::default();
    let limits = limits(Some(1), Some(1));
    let source = |n: u32| IpAddr::from(Ipv4Addr::from_bits(n));
    for n in 0..2 * SOURCE_MAX_COUNT as u32 {
        // A second later the places of those before are free again.
        let now_us = u64::from(n) * 1_000_000;
        assert!(table.admit(GROUP, source(n), &limits, now_us).unwrap().is_some());
    }
    assert_eq!(table.untracked_total(), 0);
    let mut held = Vec::new();
    for n in 0..2 * SOURCE_MAX_COUNT as u32 {
        held.extend(table.admit(GROUP, source(n), &limits, u64::MAX / 2).unwrap());
    }
    assert!(held.len() <= SOURCE_MAX_COUNT);
    assert_eq!(held.len() as u64 + table.untracked_total(), 2 * SOURCE_MAX_COUNT as u64);
}

#[test]
fn threads_together_keep_to_the_limit() {
    let table: Arc<SourceTable> = Arc::default();
    let limits = limits(Some(5), None);
    for round in 0..200_u32 {
        let source = IpAddr::from(Ipv4Addr::from_bits(round));
        let barrier = std::sync::Barrier::new(4);
        let held: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        let attempts = (0..4).map(|_| table.admit(GROUP, source, &limits, 0));
                        attempts.filter_map(|attempt| attempt.ok().flatten()).collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(held.len(), 5, "round {round}");
    }
}
