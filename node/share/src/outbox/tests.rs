use ballast_balance::{ClientKey, Known, MemberKey, PersistenceKey, Version};

use super::*;

const ME: u64 = 77;
const THEM: Answer = Answer { boot: 5, wants_all: false };

fn record(client: u64) -> TableRecord {
    TableRecord {
        client: ClientKey(client.into()),
        member: MemberKey::from_bytes([1; 16]),
        version: Version { stamp: client, node_id: 1 },
        idle_ms: 0,
        timeout_ms: 60_000,
    }
}

fn records(count: u64) -> Vec<TableRecord> {
    (0..count).map(record).collect()
}

fn consumption(key: u64) -> Consumption {
    Consumption { key: key.into(), charge_ns: 1, tolerance_ns: 1 }
}

fn uid(name: &str) -> Arc<str> {
    name.into()
}

fn table(client_count: u64) -> Arc<PersistenceTable> {
    let table = PersistenceTable::new(&PersistenceKey::new(&[1; 32]), 1_000_000);
    for client in 0..client_count {
        let client = ClientKey(u128::from(client) << 100 | u128::from(client));
        table.put(Known { client, timeout_ms: 60_000 }, MemberKey::from_bytes([2; 16]), 1_000);
    }
    Arc::new(table)
}

fn next(outbox: &mut Outbox, now_ms: u64) -> Option<Message> {
    outbox.next(ME, now_ms, Vec::new)
}

/// An outbox for a node that has been told everything.
fn settled() -> Outbox {
    let mut outbox = Outbox::default();
    assert!(next(&mut outbox, 0).is_some(), "it is asked who it is");
    outbox.answered(THEM, 0);
    assert!(next(&mut outbox, 1).is_some(), "it is told everything, which is nothing");
    outbox.answered(THEM, 1);
    outbox
}

#[test]
fn nothing_is_sent_while_there_is_nothing_but_a_sign_of_life_each_second() {
    let mut outbox = settled();
    assert_eq!(next(&mut outbox, HEARTBEAT_MS), None);
    let sign = next(&mut outbox, HEARTBEAT_MS + 1).unwrap();
    assert_eq!((sign.boot, sign.record_count(), sign.consumptions.len()), (ME, 0, 0));
    assert_eq!(next(&mut outbox, HEARTBEAT_MS + 2), None, "the last one is not answered");
    assert_eq!(outbox.counts(HEARTBEAT_MS + 2).lag_ms, 0);
}

#[test]
fn what_was_not_answered_is_sent_again_under_the_same_number() {
    let mut outbox = settled();
    outbox.push_records(&uid("a"), &records(3), 100);
    outbox.push_records(&uid("b"), &records(2), 100);
    let first = next(&mut outbox, 100).unwrap();
    let names: Vec<_> = first.sections.iter().map(|s| (&*s.pool_uid, s.records.len())).collect();
    assert_eq!(names, [("a", 3), ("b", 2)]);
    assert_eq!(outbox.counts(150).lag_ms, 50);
    outbox.failed(200);
    assert!(!outbox.counts(200).is_reachable);
    outbox.push_records(&uid("a"), &records(1), 300);
    assert_eq!(next(&mut outbox, 300), None, "a pause");
    assert_eq!(next(&mut outbox, 700), Some(first.clone()));
    outbox.answered(THEM, 710);
    let second = next(&mut outbox, 720).unwrap();
    assert_eq!((second.number, second.record_count()), (first.number + 1, 1));
    outbox.answered(THEM, 730);
    assert_eq!(outbox.counts(740).lag_ms, 0);
}

#[test]
fn of_too_much_the_oldest_is_dropped_and_everything_sent_later() {
    let mut outbox = settled();
    outbox.push_records(&uid("a"), &records(PENDING_MAX_COUNT as u64), 10);
    assert_eq!(outbox.counts(10).dropped_count, 0, "at the limit");
    assert!(!outbox.is_all_wanted);
    outbox.push_records(&uid("a"), &[record(9_999_999)], 10);
    let counts = outbox.counts(10);
    assert_eq!((counts.dropped_count, counts.pending_count), (1, PENDING_MAX_COUNT as u64));
    let tables = || vec![(uid("a"), table(20_000))];
    let mut got_count = 0;
    let mut now_ms = 10;
    while let Some(message) = outbox.next(ME, now_ms, tables) {
        assert!(message.record_count() <= RECORD_MAX_COUNT);
        got_count += message.record_count();
        outbox.answered(THEM, now_ms);
        now_ms += 1;
    }
    assert_eq!(got_count, PENDING_MAX_COUNT + 20_000);
    assert_eq!(outbox.counts(now_ms).full_count, 2);
}

#[test]
fn another_process_and_one_that_asks_are_told_everything() {
    let mut outbox = settled();
    let tables = || vec![(uid("a"), table(10)), (uid("b"), table(5))];
    for answer in [Answer { boot: 6, ..THEM }, Answer { boot: 6, wants_all: true }] {
        outbox.push_records(&uid("c"), &[record(1)], 10);
        assert_eq!(outbox.next(ME, 10, tables).unwrap().record_count(), 1);
        outbox.answered(answer, 10);
        assert_eq!(outbox.next(ME, 11, tables).unwrap().record_count(), 15);
        outbox.answered(Answer { boot: 6, ..THEM }, 11);
        assert_eq!(outbox.next(ME, 12, tables), None);
    }
}

#[test]
fn what_limits_let_through_is_told_once_and_in_time_or_not_at_all() {
    let mut outbox = settled();
    outbox.push_consumptions(&[consumption(1), consumption(2)], 100);
    let message = next(&mut outbox, 100).unwrap();
    assert_eq!(message.consumptions.len(), 2);
    outbox.failed(200);
    outbox.push_consumptions(&[consumption(3)], 200);
    let again = next(&mut outbox, 100 + CONSUMPTION_AGE_MAX_MS).unwrap();
    assert_eq!((again.number, again.consumptions.len()), (message.number, 2), "just in time");
    outbox.failed(1_150);
    let again = next(&mut outbox, 1_700).unwrap();
    assert_eq!((again.number, again.consumptions.len()), (message.number, 0), "too late");
    outbox.answered(THEM, 1_700);
    assert!(next(&mut outbox, 1_701).is_none_or(|message| message.consumptions.is_empty()));
    assert_eq!(outbox.counts(1_701).dropped_count, 3);
    let many: Vec<_> = (0..=CONSUMPTION_PENDING_MAX_COUNT as u64).map(consumption).collect();
    outbox.push_consumptions(&many, 1_702);
    assert_eq!(outbox.counts(1_702).dropped_count, 4, "one beyond the limit");
}
