use proptest::prelude::*;

use super::*;

fn record(seed: u64) -> TableRecord {
    TableRecord {
        client: ClientKey(u128::from(seed) << 64 | 5),
        member: MemberKey::from_bytes([seed as u8; 16]),
        version: Version { stamp: seed & (STAMP_MAX - 1), node_id: 3 },
        idle_ms: 7,
        timeout_ms: 60_000,
    }
}

fn message(pools: &[(String, usize)], consumption_count: usize) -> Message {
    let sections = pools.iter().map(|(pool_uid, count)| Section {
        pool_uid: pool_uid.clone(),
        records: (0..*count as u64).map(record).collect(),
    });
    let consumptions = (0..consumption_count as u64).map(|n| Consumption {
        key: n.into(),
        charge_ns: n * 2,
        tolerance_ns: u64::MAX,
    });
    Message {
        boot: u64::MAX,
        number: 1,
        sections: sections.collect(),
        consumptions: consumptions.collect(),
    }
}

#[test]
fn a_message_of_every_limit_is_read_and_one_beyond_is_refused() {
    let full = message(&[("p".repeat(64), RECORD_MAX_COUNT)], CONSUMPTION_MAX_COUNT);
    let bytes = full.encode();
    assert!(bytes.len() <= MESSAGE_MAX_BYTES, "{}", bytes.len());
    assert_eq!(Message::decode(&bytes), Ok(full));
    let refused = |pools: &[(String, usize)], consumption_count| {
        Message::decode(&message(pools, consumption_count).encode())
    };
    let one = |name: &str, count| (name.to_owned(), count);
    let too_many = Err(WireError::TooMany("records"));
    assert_eq!(refused(&[one("a", RECORD_MAX_COUNT + 1)], 0), too_many);
    assert_eq!(refused(&[one("a", RECORD_MAX_COUNT), one("b", 1)], 0), too_many);
    let too_many = Err(WireError::TooMany("consumptions"));
    assert_eq!(refused(&[], CONSUMPTION_MAX_COUNT + 1), too_many);
    let sections: Vec<_> = (0..=SECTION_MAX_COUNT).map(|_| one("a", 0)).collect();
    assert!(refused(&sections[1..], 0).is_ok());
    assert_eq!(refused(&sections, 0), Err(WireError::TooMany("sections")));
}

#[test]
fn another_version_and_a_stamp_that_is_no_time_are_refused() {
    let mut bytes = message(&[("a".to_owned(), 1)], 0).encode();
    bytes[0] = 2;
    assert_eq!(Message::decode(&bytes), Err(WireError::UnknownVersion(2)));
    let mut far = message(&[("a".to_owned(), 1)], 0);
    far.sections[0].records[0].version.stamp = STAMP_MAX;
    assert!(Message::decode(&far.encode()).is_ok());
    far.sections[0].records[0].version.stamp = STAMP_MAX + 1;
    assert_eq!(Message::decode(&far.encode()), Err(WireError::NoStamp));
}

#[test]
fn an_answer_comes_back_as_it_was_sent() {
    for answer in [Answer { boot: 3, wants_all: true }, Answer { boot: u64::MAX, wants_all: false }]
    {
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
    }
    assert_eq!(Answer::decode(&[]), Err(WireError::Short));
    assert_eq!(Answer::decode(&[9]), Err(WireError::UnknownVersion(9)));
}

proptest! {
    #[test]
    fn every_message_comes_back_as_it_was_sent(
        pools in prop::collection::vec(("[a-z0-9-]{0,64}", 0..5_usize), 0..5),
        consumption_count in 0..5_usize,
    ) {
        let message = message(&pools, consumption_count);
        prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn bytes_from_outside_give_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _either = Message::decode(&bytes);
        let _either = Answer::decode(&bytes);
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = VERSION;
        }
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(message.encode(), bytes);
        }
    }

    #[test]
    fn a_message_that_was_cut_or_changed_gives_no_panic(at in 0..300_usize, byte in any::<u8>()) {
        let mut bytes = message(&[("pool".to_owned(), 3)], 2).encode();
        let at = at % bytes.len();
        prop_assert!(Message::decode(&bytes[..at]).is_err());
        bytes[at] = byte;
        let _either = Message::decode(&bytes);
    }
}
