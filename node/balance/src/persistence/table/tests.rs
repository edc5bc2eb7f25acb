use proptest::prelude::*;

use super::*;

const NOW_MS: u64 = 1_700_000_000_000;
const TIMEOUT_MS: u32 = 60_000;

fn table(node_id: u64, capacity: usize) -> PersistenceTable {
    PersistenceTable::new(&PersistenceKey::new(&[1; 32]).of_node(node_id), capacity)
}

fn known(client: u128) -> Known {
    // As far from each other as hashes are.
    let client = ClientKey(client.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834));
    Known { client, timeout_ms: TIMEOUT_MS }
}

fn member(number: u8) -> MemberKey {
    MemberKey::from_bytes([number; 16])
}

fn told(table: &PersistenceTable, now_ms: u64) -> Vec<TableRecord> {
    let mut records = Vec::new();
    while table.take_changes(100, now_ms, &mut records) {}
    records
}

fn dumped(table: &PersistenceTable, now_ms: u64) -> Vec<TableRecord> {
    let (mut records, mut cursor) = (Vec::new(), Some(Cursor::default()));
    while let Some(at) = cursor {
        cursor = table.dump(at, 7, now_ms, &mut records);
    }
    records.sort_unstable_by_key(|record| record.client);
    records
}

/// What all nodes must agree on.
fn content(table: &PersistenceTable) -> Vec<(ClientKey, MemberKey, Version)> {
    let records = dumped(table, NOW_MS);
    records.iter().map(|record| (record.client, record.member, record.version)).collect()
}

#[test]
fn a_client_is_remembered_until_it_was_idle_for_its_timeout() {
    let table = table(1, 10);
    assert_eq!(table.remembered(known(1), NOW_MS), None);
    assert!(!table.is_used(), "asking makes no table");
    table.put(known(1), member(1), NOW_MS);
    let last = NOW_MS + u64::from(TIMEOUT_MS) - 1;
    assert_eq!(table.peek(known(1), last + 1), None);
    assert_eq!(table.remembered(known(1), last), Some(member(1)));
    assert_eq!(table.remembered(known(1), last + 30_000), Some(member(1)), "it was seen");
    assert_eq!(table.remembered(known(1), last + 90_000), None);
    assert_eq!(table.counts().entry_count, 0);
}

#[test]
fn of_two_requests_at_once_the_first_decides() {
    let table = table(1, 10);
    assert_eq!(table.remember(known(1), member(1), None, NOW_MS), None);
    assert_eq!(table.remember(known(1), member(2), None, NOW_MS), Some(member(1)));
    assert_eq!(table.remember(known(1), member(1), None, NOW_MS), None);
    // Its member is down; the second request that finds so goes where the first went.
    assert_eq!(table.remember(known(1), member(3), Some(member(1)), NOW_MS), None);
    assert_eq!(table.remember(known(1), member(2), Some(member(1)), NOW_MS), Some(member(3)));
}

#[test]
fn a_full_table_forgets_the_client_not_seen_for_longest() {
    for capacity in [1, 5, 1_000] {
        let table = table(1, capacity);
        for client in 0..capacity as u128 {
            table.put(known(client), member(1), NOW_MS);
        }
        let counts = table.counts();
        assert_eq!((counts.entry_count, counts.evicted_count), (capacity, 0), "at the limit");
        table.put(known(1_000_000), member(2), NOW_MS + 1);
        let counts = table.counts();
        assert_eq!((counts.entry_count, counts.evicted_count), (capacity, 1), "one more");
        assert_eq!(table.remembered(known(1_000_000), NOW_MS + 1), Some(member(2)));
        let lost = (0..capacity as u128).filter(|c| table.peek(known(*c), NOW_MS).is_none());
        assert_eq!(lost.count(), 1);
    }
}

#[test]
fn clients_that_are_seen_outlive_those_that_are_not() {
    let table = table(1, 1_000);
    (0..1_000).for_each(|client| table.put(known(client), member(1), NOW_MS));
    for round in 0..10_u128 {
        (0..100).for_each(|client| {
            table.remembered(known(client), NOW_MS);
        });
        (0..100).for_each(|c| table.put(known(10_000 + round * 100 + c), member(2), NOW_MS));
    }
    let kept = (0..100).filter(|client| table.peek(known(*client), NOW_MS).is_some()).count();
    // In each part by itself, so that it is not exact.
    assert!(kept >= 99, "{kept}");
    assert_eq!(table.counts().entry_count, 1_000);
}

#[test]
fn a_lower_capacity_is_reached_as_clients_come() {
    let table = table(1, 1_000);
    (0..1_000).for_each(|client| table.put(known(client), member(1), NOW_MS));
    table.set_capacity(500);
    (0..600).for_each(|client| table.put(known(5_000 + client), member(1), NOW_MS));
    assert_eq!(table.counts().entry_count, 500);
}

#[test]
fn what_has_changed_is_told_once_and_being_seen_eight_times_in_a_timeout() {
    let table = table(1, 10_000);
    (0..1_000).for_each(|client| table.put(known(client), member(1), NOW_MS));
    let mut records = Vec::new();
    assert!(table.take_changes(300, NOW_MS, &mut records));
    assert_eq!(records.len(), 300);
    records.extend(told(&table, NOW_MS));
    assert_eq!(records.len(), 1_000);
    assert_eq!(told(&table, NOW_MS), []);
    let span_ms = u64::from(TIMEOUT_MS);
    let mut told_count = 0;
    for now_ms in (NOW_MS..NOW_MS + span_ms).step_by(100) {
        assert_eq!(table.remembered(known(1), now_ms), Some(member(1)));
        told_count += told(&table, now_ms).len();
    }
    assert_eq!(told_count, 7);
}

#[test]
fn a_client_that_one_node_sees_is_not_forgotten_by_the_other() {
    let (one, other) = (table(1, 10), table(2, 10));
    one.put(known(1), member(1), NOW_MS);
    let mut now_ms = NOW_MS;
    for _ in 0..1_000 {
        for record in told(&one, now_ms) {
            assert!(other.merge(&record, now_ms));
        }
        assert_eq!(other.peek(known(1), now_ms), Some(member(1)));
        now_ms += 1_000;
        assert_eq!(one.remembered(known(1), now_ms), Some(member(1)));
    }
    // Seen last by the first node: the second forgets it an eighth later at most.
    other.expire(now_ms + u64::from(TIMEOUT_MS) * 9 / 8 + 1_000);
    assert_eq!(other.counts().entry_count, 0);
}

#[test]
fn expired_clients_make_room_unasked() {
    let table = table(1, 10_000);
    (0..2_000).for_each(|client| table.put(known(client), member(1), NOW_MS));
    (2_000..2_010).for_each(|client| table.put(known(client), member(1), NOW_MS + 1_000));
    table.expire(NOW_MS + u64::from(TIMEOUT_MS));
    assert_eq!(table.counts().entry_count, 10);
    assert_eq!(told(&table, NOW_MS).len(), 10, "what is forgotten is not told");
}

#[test]
fn what_is_deleted_stays_deleted_whoever_still_tells_of_it() {
    let (one, other) = (table(1, 100), table(2, 100));
    (0..50).for_each(|client| one.put(known(client), member(1), NOW_MS));
    let records = told(&one, NOW_MS);
    let stamp = NOW_MS + 1_000;
    one.clear_until(stamp);
    assert_eq!(one.counts().entry_count, 0);
    other.clear_until(stamp);
    assert!(records.iter().all(|record| !other.merge(record, NOW_MS)));
    assert_eq!(other.counts().entry_count, 0);
    // By a node whose clock is behind, too.
    one.put(known(1), member(2), NOW_MS - 1_000_000);
    let records = told(&one, NOW_MS - 1_000_000);
    assert!(records.iter().all(|record| other.merge(record, NOW_MS)));
    assert_eq!(other.counts().entry_count, 1);
}

#[test]
fn a_record_that_is_too_old_is_not_taken_in() {
    let table = table(2, 100);
    let record = |idle_ms| TableRecord {
        client: known(1).client,
        member: member(1),
        version: Version { stamp: NOW_MS, node_id: 1 },
        idle_ms,
        timeout_ms: TIMEOUT_MS,
    };
    let kept_ms = TIMEOUT_MS / 8 * 9;
    assert!(!table.merge(&record(kept_ms), NOW_MS));
    assert!(table.merge(&record(kept_ms - 1), NOW_MS));
    assert!(!table.merge(&record(kept_ms - 1), NOW_MS), "the same again is no news");
}

/// What happens in a cluster of three.
#[derive(Clone, Debug)]
enum Happening {
    /// A node remembers a client.
    Put { node: usize, client: u8, member: u8 },
    /// A client is seen at a node, that many ms after what was before.
    Seen { node: usize, client: u8, after_ms: u64 },
    /// A node tells; which of the others get it.
    Tell { node: usize, reaches: [bool; 3] },
    /// One of the messages told before comes again, or for the first time, at a node.
    Arrives { message: usize, node: usize },
}

fn happening() -> impl Strategy<Value = Happening> {
    let (node, client) = (0..3_usize, 0..6_u8);
    prop_oneof![
        (node.clone(), client.clone(), 0..4_u8).prop_map(|(node, client, member)| Happening::Put {
            node,
            client,
            member
        }),
        (node.clone(), client, 0..20_000_u64)
            .prop_map(|(node, client, after_ms)| Happening::Seen { node, client, after_ms }),
        (node.clone(), any::<[bool; 3]>())
            .prop_map(|(node, reaches)| Happening::Tell { node, reaches }),
        (any::<usize>(), node).prop_map(|(message, node)| Happening::Arrives { message, node }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn all_nodes_end_with_the_same_whatever_order_loss_and_repetition(
        happenings in prop::collection::vec(happening(), 0..60),
        order in any::<u64>(),
    ) {
        let nodes: Vec<_> = (1..=3).map(|id| table(id, 1_000)).collect();
        let mut messages: Vec<Vec<TableRecord>> = Vec::new();
        let mut now_ms = NOW_MS;
        for happening in happenings {
            match happening {
                Happening::Put { node, client, member: number } => {
                    // Each node's clock is wrong in its own way.
                    let own_ms = now_ms + node as u64 * 5_000;
                    nodes[node].put(known(client.into()), member(number), own_ms);
                }
                Happening::Seen { node, client, after_ms } => {
                    now_ms += after_ms;
                    nodes[node].remembered(known(client.into()), now_ms + node as u64 * 5_000);
                }
                Happening::Tell { node, reaches } => {
                    let records = told(&nodes[node], now_ms);
                    for (at, other) in nodes.iter().enumerate() {
                        if at != node && reaches[at] {
                            records.iter().for_each(|record| { other.merge(record, now_ms); });
                        }
                    }
                    messages.push(records);
                }
                Happening::Arrives { message, node } if !messages.is_empty() => {
                    let records = &messages[message % messages.len()];
                    records.iter().rev().for_each(|record| {
                        nodes[node].merge(&TableRecord { idle_ms: 0, ..*record }, now_ms);
                    });
                }
                Happening::Arrives { .. } => {}
            }
        }
        // Whatever was lost: each gets all that each of the others has, in some order.
        let mut pairs: Vec<_> = (0..3).flat_map(|a| (0..3).map(move |b| (a, b))).collect();
        let rotation = order as usize % pairs.len();
        pairs.rotate_left(rotation);
        for (from, to) in pairs.iter().chain(&pairs) {
            for record in dumped(&nodes[*from], now_ms) {
                nodes[*to].merge(&TableRecord { idle_ms: 0, ..record }, now_ms);
            }
        }
        prop_assert_eq!(content(&nodes[0]), content(&nodes[1]));
        prop_assert_eq!(content(&nodes[0]), content(&nodes[2]));
    }
}
