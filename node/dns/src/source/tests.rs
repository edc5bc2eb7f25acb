use super::*;

const SHAPE: Shape = Shape { weight: 1, priority: 0 };

fn source(change: impl FnOnce(&mut DnsMember)) -> Source {
    let mut spec = DnsMember::new("app.test", 80);
    change(&mut spec);
    Source::new(spec, 0)
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 80))
}

fn answer(ttl_s: u32, lasts: impl IntoIterator<Item = u8>) -> Result<Answer, String> {
    let found = lasts.into_iter().map(|last| (address(last), SHAPE)).collect();
    Ok(Answer { found, ttl_s, ..Answer::default() })
}

fn present(source: &Source) -> Vec<SocketAddr> {
    source.members().iter().filter(|m| !m.leaving).map(|m| m.address).collect()
}

fn leaving(source: &Source) -> Vec<SocketAddr> {
    source.members().iter().filter(|m| m.leaving).map(|m| m.address).collect()
}

#[test]
fn time_to_live_is_kept_within_its_bounds() {
    for (ttl_s, held_s) in [(0, 5), (5, 5), (60, 60), (300, 300), (301, 300), (u32::MAX, 300)] {
        let mut source = source(|_| {});
        assert!(source.answered(answer(ttl_s, [1]), 1_000));
        assert_eq!(source.ask_at_ms(), 1_000 + held_s * 1_000, "{ttl_s}");
        assert_eq!(u64::from(source.status("p").ttl_s), held_s);
    }
}

#[test]
fn address_that_vanishes_is_drained_and_then_gone() {
    let mut source = source(|spec| spec.drain_s = 10);
    source.answered(answer(5, [1, 2]), 0);
    assert!(source.answered(answer(5, [2, 3]), 5_000));
    assert_eq!(present(&source), [address(2), address(3)]);
    assert_eq!(leaving(&source), [address(1)]);
    assert_eq!(source.gone_at_ms(), Some(15_000));
    assert!(!source.expire(14_999));
    assert!(source.expire(15_000));
    assert_eq!((leaving(&source).len(), source.gone_at_ms()), (0, None));
}

#[test]
fn address_that_comes_back_in_time_serves_again() {
    let mut source = source(|_| {});
    source.answered(answer(5, [1, 2]), 0);
    source.answered(answer(5, [2]), 5_000);
    assert!(source.answered(answer(5, [1, 2]), 10_000));
    assert_eq!((present(&source).len(), leaving(&source).len()), (2, 0));
    assert!(!source.answered(answer(5, [2, 1]), 15_000), "nothing is new");
}

#[test]
fn last_good_answer_stays_and_is_asked_for_at_growing_distance() {
    let mut source = source(|_| {});
    source.answered(answer(5, [1]), 0);
    let mut now_ms = 5_000;
    for wait_s in [1, 2, 4, 8, 16, 30, 30] {
        assert!(!source.answered(Err("SERVFAIL".to_owned()), now_ms));
        assert_eq!(source.ask_at_ms(), now_ms + wait_s * 1_000);
        now_ms = source.ask_at_ms();
    }
    assert!(!source.answered(answer(5, []), now_ms), "no address is no good answer");
    assert_eq!(present(&source), [address(1)]);
    let status = source.status("p");
    assert_eq!(status.error.as_deref(), Some("it has no address"));
    assert_eq!((status.resolved_at_ms, status.failures_total), (Some(0), 8));
    assert!(!source.answered(answer(5, [1]), now_ms));
    let status = source.status("p");
    assert_eq!((status.error, status.answers_total), (None, 2));
    source.answered(Err("timeout".to_owned()), now_ms);
    assert_eq!(source.ask_at_ms(), now_ms + 1_000, "a good answer forgets the failures");
}

#[test]
fn of_too_many_those_stay_that_serve_already() {
    let mut source = source(|spec| spec.address_max_count = 3);
    source.answered(answer(5, [7, 8, 9]), 0);
    assert_eq!(source.status("p").left_out_count, 0);
    assert!(!source.answered(answer(5, 1..=9), 5_000));
    assert_eq!(present(&source), [7, 8, 9].map(address));
    assert_eq!(source.status("p").left_out_count, 6);
    source.answered(answer(5, 1..=8), 10_000);
    assert_eq!(present(&source), [1, 7, 8].map(address));
}

#[test]
fn leaving_addresses_are_bounded_too_and_the_first_to_go_goes() {
    let mut source = source(|spec| {
        spec.address_max_count = 2;
        spec.drain_s = 86_400;
    });
    for round in 0..50_u8 {
        source.answered(answer(5, [2 * round, 2 * round + 1]), u64::from(round) * 5_000);
        assert!(source.members().len() <= 4);
    }
    assert_eq!(leaving(&source), [96, 97].map(address));
}

#[test]
fn other_declaration_is_asked_for_at_once_and_the_same_is_not() {
    let mut source = source(|_| {});
    source.answered(answer(100, [1]), 0);
    source.set_spec(DnsMember::new("app.test", 80), 1_000);
    assert_eq!(source.ask_at_ms(), 100_000);
    let other = DnsMember { ttl_max_s: 50, ..DnsMember::new("app.test", 80) };
    source.set_spec(other, 1_000);
    assert_eq!(source.ask_at_ms(), 1_000);
    assert_eq!(present(&source), [address(1)], "what is known stays until the answer");
}

#[test]
fn family_that_was_not_answered_keeps_what_it_had() {
    let ipv6: SocketAddr = "[2001:db8::1]:80".parse().unwrap();
    let both = |lasts: Vec<u8>| {
        let mut both = answer(300, lasts).unwrap();
        both.found.insert(ipv6, SHAPE);
        both
    };
    let refused = |lasts: Vec<u8>| {
        let mut answer = answer(300, lasts).unwrap();
        answer.unanswered.ipv6 = Some("refused".to_owned());
        answer
    };
    let mut source = source(|_| {});
    assert!(source.answered(Ok(both(vec![1])), 0));
    assert!(source.answered(Ok(refused(vec![2])), 300_000));
    assert_eq!(present(&source), [address(2), ipv6]);
    assert_eq!(leaving(&source), [address(1)]);
    assert_eq!(source.status("p").error.as_deref(), Some("refused"));
    assert_eq!(source.ask_at_ms(), 300_000 + RETRY_MAX_MS, "it is asked again soon");
    assert!(source.answered(answer(300, [2]), 400_000), "an answer without it lets it go");
    assert_eq!((present(&source), source.status("p").error), (vec![address(2)], None));
}

#[test]
fn family_that_never_had_an_answer_is_no_fault() {
    let mut source = source(|_| {});
    let mut partial = answer(5, [1]).unwrap();
    partial.unanswered.ipv6 = Some("refused".to_owned());
    assert!(source.answered(Ok(partial), 0));
    assert_eq!((present(&source), source.status("p").error), (vec![address(1)], None));
    assert_eq!(source.ask_at_ms(), 5_000);
}
