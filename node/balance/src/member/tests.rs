use super::*;
use crate::persistence::PersistenceKey;

fn state() -> Arc<MemberState> {
    let key = PersistenceKey::new(&[1; 32]).member_key("uid", "m1");
    let report = HealthReport { health: Health::Up, ..HealthReport::default() };
    Arc::new(MemberState::new(2, key, Arc::default(), report))
}

#[test]
fn guard_counts_until_dropped_also_on_another_thread() {
    let state = state();
    let first = state.begin(0).unwrap();
    let second = state.begin(1).unwrap();
    let beyond = state.begin(7).unwrap();
    assert_eq!((state.in_flight(), state.requests_total()), (3, 3));
    std::thread::spawn(move || drop(first)).join().unwrap();
    second.count_failure();
    drop((second, beyond));
    assert_eq!((state.in_flight(), state.requests_total(), state.failures_total()), (0, 3, 1));
}

#[test]
fn admin_state_and_deadline_decide_who_is_taken() {
    let state = state();
    let taken = |state: &MemberState, now_ms| {
        (state.takes_new(), state.takes_persistent(now_ms), state.is_cut(now_ms))
    };
    assert_eq!(taken(&state, 5), (true, true, false));
    state.set_admin_state(AdminState::Disabled, None);
    assert_eq!(taken(&state, 5), (false, true, false));
    state.set_admin_state(AdminState::Draining, Some(10));
    assert_eq!(taken(&state, 9), (false, true, false));
    assert_eq!(taken(&state, 10), (false, false, true));
    state.set_admin_state(AdminState::Draining, None);
    assert_eq!(taken(&state, u64::MAX - 1), (false, true, false));
    state.set_admin_state(AdminState::ForcedOffline, None);
    assert_eq!(taken(&state, 5), (false, false, true));
    state.set_admin_state(AdminState::Enabled, None);
    assert_eq!(taken(&state, 5), (true, true, false));
}

#[test]
fn shards_share_no_cache_line() {
    assert_eq!(size_of::<Padded<Shard>>() % 128, 0);
}
