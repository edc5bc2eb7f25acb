use super::*;

fn leader(name: &str) -> EventBody {
    EventBody::Leader { leader: Some(name.to_owned()) }
}

#[test]
fn ring_forgets_the_oldest_and_says_so() {
    let hub = Hub::new("a", 1);
    for i in 0..=RING_MAX_COUNT {
        hub.publish(0, leader(&i.to_string()));
    }
    // Identifiers start at 1000: the first event, of identifier 1000, is gone.
    let kept = hub.read(Some(1_000), 0).missed;
    assert_eq!(kept.len(), RING_MAX_COUNT);
    assert_eq!(kept[0].id, 1_001);
    let lost = hub.read(Some(999), 0).missed;
    assert_eq!((lost.len(), &lost[0].body), (1, &EventBody::Lagged));
}

#[test]
fn reader_that_is_up_to_date_misses_nothing() {
    let hub = Hub::new("a", 1);
    assert!(hub.read(Some(999), 0).missed.is_empty(), "nothing has happened yet");
    hub.publish(0, leader("x"));
    assert!(hub.read(Some(1_000), 0).missed.is_empty());
    assert_eq!(hub.read(Some(1_001), 0).missed[0].body, EventBody::Lagged);
    assert_eq!(hub.read(Some(u64::MAX), 0).missed[0].body, EventBody::Lagged);
}
