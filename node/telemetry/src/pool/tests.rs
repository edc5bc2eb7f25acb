use super::*;

#[test]
fn what_workers_count_adds_up() {
    let counters = PoolCounters::new("blue", 2);
    for worker in [0, 1] {
        let shard = counters.shard(worker);
        shard.request(204);
        shard.request(503);
        shard.request(0);
        shard.failure(FailureReason::NoMember);
        shard.retry(RetryKind::Status);
        shard.retry_refused();
        shard.queued(1_000);
        shard.connected(100);
    }
    let totals = counters.totals();
    assert_eq!(totals.responses, [0, 2, 0, 0, 2]);
    assert_eq!((totals.unanswered_total, totals.retries_refused_total), (2, 2));
    assert_eq!(totals.failures[FailureReason::NoMember.index()], 2);
    assert_eq!(totals.failures.iter().sum::<u64>(), 2);
    assert_eq!(totals.retries[RetryKind::Status as usize], 2);
    assert_eq!((totals.queue.count(), totals.queue.sum_us), (2, 2_000));
    assert_eq!((totals.connect.count(), totals.connect.sum_us), (2, 200));
}

#[test]
fn members_that_are_gone_are_forgotten() {
    let counters = PoolCounters::new("blue", 1);
    counters.member("a").shard(0).request(200);
    counters.member("b");
    assert_eq!(counters.member("a").totals().responses[1], 1);
    counters.retain_members(&BTreeSet::from(["b"]));
    let names: Vec<_> = counters.members().iter().map(|m| m.name().to_owned()).collect();
    assert_eq!(names, ["b"]);
    assert_eq!(counters.member("a").totals(), PoolTotals::default());
}
