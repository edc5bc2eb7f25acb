use std::sync::atomic::AtomicU32;
use std::task::Wake;

use ballast_model::status::Health;
use ballast_model::{
    AdminState, AnyDraft, CircuitBreaker, Config, Draft, Edit, MemberSpec, PoolSpec,
};

use super::*;
use crate::member::{HealthReport, InFlight};
use crate::persistence::PersistenceKey;
use crate::registry::PoolRegistry;

#[derive(Default)]
struct Alarm(AtomicU32);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// A pool of members with these limits, all of them up.
fn pool_of(limits: &[Option<u32>], change: impl FnOnce(&mut PoolSpec)) -> Arc<Pool> {
    let member = |(limit, number): (&Option<u32>, u16)| MemberSpec {
        connection_limit: *limit,
        ..MemberSpec::new(([10, 0, 0, 1], 1 + number).into())
    };
    let mut spec =
        PoolSpec { members: limits.iter().zip(0..).map(member).collect(), ..PoolSpec::default() };
    change(&mut spec);
    let edit = Edit::put(AnyDraft::Pool(Draft::new("pool", spec)), "uid");
    let config = Config::default().edited(&[edit], 1, 1).unwrap();
    let mut registry = PoolRegistry::new(2, PersistenceKey::new(&[1; 32]));
    registry.reconcile(&config, 0);
    Arc::clone(registry.pool("pool").unwrap())
}

/// A pool, its queue, and its members.
type Parts = (Arc<Pool>, Arc<PoolQueue>, Vec<Arc<MemberState>>);

fn parts(limits: &[Option<u32>], change: impl FnOnce(&mut PoolSpec)) -> Parts {
    let pool = pool_of(limits, change);
    let members = pool.members().iter().map(|member| Arc::clone(&member.state)).collect();
    let queue = Arc::clone(pool.queue());
    (pool, queue, members)
}

fn members(limits: &[Option<u32>]) -> Parts {
    parts(limits, |_| {})
}

fn granted(place: &Place) -> Option<Slot> {
    match place.poll_granted(&Context::from_waker(Waker::noop())) {
        Poll::Ready(decided) => Some(decided.expect("not displaced")),
        Poll::Pending => None,
    }
}

fn is_displaced(place: &Place) -> bool {
    matches!(place.poll_granted(&Context::from_waker(Waker::noop())), Poll::Ready(Err(Displaced)))
}

fn fill(member: &Arc<MemberState>) -> Vec<InFlight> {
    std::iter::from_fn(|| member.begin(0)).collect()
}

#[test]
fn limit_holds_at_the_limit_and_not_before() {
    let (_pool, _, members) = members(&[Some(3)]);
    let first = members[0].begin(0).unwrap();
    let _others = (members[0].begin(1).unwrap(), members[0].begin(0).unwrap());
    assert!(!members[0].has_room());
    assert!(members[0].begin(1).is_none());
    drop(first);
    assert!(members[0].has_room());
    let _again = members[0].begin(1).unwrap();
    assert!(members[0].begin(0).is_none());
    members[0].set_limit(Some(4));
    let _one_more = members[0].begin(0).unwrap();
    assert!(members[0].begin(0).is_none());
    members[0].set_limit(None);
    assert!(members[0].begin(0).is_some());
}

#[test]
fn queue_takes_as_many_as_it_may() {
    let (_pool, queue, _) = members(&[]);
    let places: Vec<_> = (0..3).map(|_| queue.enter(None, 0, 3).unwrap()).collect();
    assert!(queue.enter(None, 0, 3).is_none());
    assert_eq!(queue.waiting_count(), 3);
    drop(places);
    assert_eq!(queue.waiting_count(), 0);
    assert!(queue.enter(None, 0, 0).is_none());
}

#[test]
fn who_matters_more_takes_the_place_of_the_last_in_a_full_line() {
    let (_pool, queue, members) = members(&[Some(1)]);
    let current = members[0].begin(0).unwrap();
    let own = Some(members[0].key());
    let enter = |member, priority| queue.enter(member, priority, 3);
    let (old, high) = (enter(None, 0).unwrap(), enter(None, 5).unwrap());
    let young = enter(own, 0).unwrap();
    let alarm = Arc::<Alarm>::default();
    let waker = Waker::from(Arc::clone(&alarm));
    assert!(young.poll_granted(&Context::from_waker(&waker)).is_pending());
    assert!(enter(None, 0).is_none() && enter(None, -1).is_none(), "no more than they");
    let higher = enter(None, 1).unwrap();
    assert_eq!(alarm.0.load(SeqCst), 1, "told at once");
    assert!(is_displaced(&young) && !is_displaced(&old));
    assert!(!young.wait_for(None), "it has lost its place");
    assert!(is_displaced(&young));
    let _also = enter(own, 1).unwrap();
    assert!(is_displaced(&old));
    assert!(enter(None, 1).is_none());
    assert_eq!(queue.waiting_count(), 3);
    assert!(queue.enter(None, 9, 0).is_none(), "there is no line any more");
    drop(current);
    drop(granted(&high).expect("the highest"));
    assert!(granted(&higher).is_some());
}

#[test]
fn who_cannot_use_a_slot_waits_on_where_it_stood() {
    let (_pool, queue, members) = members(&[Some(1)]);
    let current = members[0].begin(0).unwrap();
    let first = queue.enter(None, 0, 2).unwrap();
    let second = queue.enter(None, 0, 2).unwrap();
    drop(current);
    let of_no_use = granted(&first).unwrap();
    let third = queue.enter(None, 0, 2).unwrap();
    drop(of_no_use);
    let current = granted(&second).expect("passed on").begin(0).unwrap();
    assert!(first.wait_for(None) && !first.wait_for(None));
    assert_eq!(queue.waiting_count(), 2);
    drop(current);
    assert!(granted(&third).is_none());
    assert!(granted(&first).is_some(), "before those that came after it");
}

#[test]
fn who_waits_for_something_else_now_keeps_its_age() {
    let (_pool, queue, members) = members(&[Some(1), Some(1)]);
    let (one, _other) = (members[0].begin(0).unwrap(), members[1].begin(0).unwrap());
    let own = queue.enter(Some(members[1].key()), 0, 9).unwrap();
    let any = queue.enter(None, 0, 9).unwrap();
    assert!(own.wait_for(None));
    drop(one);
    assert!(granted(&any).is_none());
    assert!(granted(&own).is_some());
}

#[test]
fn room_that_nobody_gave_back_is_handed_out_in_order() {
    let (pool, queue, members) = members(&[Some(2), Some(1), None]);
    members[2].set_health(HealthReport { health: Health::Down, ..HealthReport::default() });
    let _busy = (members[0].begin(0).unwrap(), members[0].begin(0).unwrap(), members[1].begin(0));
    let places: Vec<_> =
        [0, 0, 7].iter().map(|priority| queue.enter(None, *priority, 9).unwrap()).collect();
    queue.hand_out(&pool);
    assert_eq!(queue.waiting_count(), 3);
    members[1].set_limit(Some(3));
    queue.hand_out(&pool);
    assert_eq!(queue.waiting_count(), 1);
    assert!(granted(&places[1]).is_none());
    let held = [granted(&places[2]).unwrap(), granted(&places[0]).unwrap()];
    assert!(held.iter().all(|slot| Arc::ptr_eq(slot.member().unwrap(), &members[1])));
}

#[test]
fn room_goes_by_priority_and_then_by_age() {
    let (_pool, queue, members) = members(&[Some(1)]);
    let mut current = members[0].begin(0).unwrap();
    let places: Vec<_> =
        [0, 5, -3, 5, 0].iter().map(|priority| queue.enter(None, *priority, 9).unwrap()).collect();
    for turn in [1, 3, 0, 4, 2] {
        assert!(places.iter().all(|place| granted(place).is_none()));
        drop(current);
        // Handed over: it was never free.
        assert!(members[0].begin(1).is_none());
        current = granted(&places[turn]).expect("its turn").begin(0).unwrap();
    }
    assert_eq!(queue.waiting_count(), 0);
    drop(current);
    assert!(members[0].begin(0).is_some());
    assert_eq!(members[0].in_flight(), 0);
}

#[test]
fn who_belongs_to_a_member_waits_for_it() {
    let (_pool, queue, members) = members(&[Some(1), Some(1)]);
    let (first, second) = (members[0].begin(0).unwrap(), members[1].begin(0).unwrap());
    let own = queue.enter(Some(members[1].key()), 0, 9).unwrap();
    let any = queue.enter(None, 0, 9).unwrap();
    drop(first);
    assert!(granted(&own).is_none());
    let slot = granted(&any).unwrap();
    assert!(Arc::ptr_eq(slot.member().unwrap(), &members[0]));
    drop(second);
    assert!(Arc::ptr_eq(granted(&own).unwrap().member().unwrap(), &members[1]));
}

#[test]
fn who_leaves_is_passed_over_also_when_its_turn_had_come() {
    let (_pool, queue, members) = members(&[Some(1)]);
    let current = members[0].begin(0).unwrap();
    let leaves_early = queue.enter(None, 0, 9).unwrap();
    let leaves_late = queue.enter(None, 0, 9).unwrap();
    let stays = queue.enter(None, 0, 9).unwrap();
    drop(leaves_early);
    drop(current);
    assert!(granted(&stays).is_none());
    drop(leaves_late);
    drop(granted(&stays).expect("what the other was granted"));
    assert_eq!(queue.waiting_count(), 0);
    assert!(members[0].has_room());
}

#[test]
fn who_waits_is_woken() {
    let (_pool, queue, members) = members(&[Some(1)]);
    let current = members[0].begin(0).unwrap();
    let place = queue.enter(None, 0, 9).unwrap();
    let alarm = Arc::<Alarm>::default();
    let waker = Waker::from(Arc::clone(&alarm));
    assert!(place.poll_granted(&Context::from_waker(&waker)).is_pending());
    assert_eq!(alarm.0.load(SeqCst), 0);
    drop(current);
    assert_eq!(alarm.0.load(SeqCst), 1);
}

#[test]
fn room_at_a_member_that_takes_nobody_is_handed_to_nobody() {
    let (_pool, queue, members) = members(&[Some(1)]);
    let current = members[0].begin(0).unwrap();
    let place = queue.enter(None, 0, 9).unwrap();
    members[0].set_health(HealthReport { health: Health::Down, ..HealthReport::default() });
    drop(current);
    assert!(granted(&place).is_none());
    assert!(members[0].has_room());
}

#[test]
fn a_limit_that_is_lowered_is_kept_once_enough_have_ended() {
    let (_pool, queue, members) = members(&[Some(3)]);
    let mut current = fill(&members[0]);
    assert_eq!(current.len(), 3);
    members[0].set_limit(Some(1));
    let place = queue.enter(None, 0, 9).unwrap();
    drop(current.pop());
    drop(current.pop());
    assert!(granted(&place).is_none());
    drop(current.pop());
    assert!(granted(&place).is_some());
}

/// Enters the pool's gate as soon as it is woken, as a request on another worker may.
struct AtTheGate(Arc<Pool>, AtomicU32);

impl Wake for AtTheGate {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(u32::from(self.0.enter().is_ok()), SeqCst);
    }
}

#[test]
fn who_is_granted_room_finds_room_at_the_gate_too() {
    let (pool, queue, members) = parts(&[Some(1)], |pool| {
        let breaker = CircuitBreaker { request_max_count: Some(1), retry_max_count: None };
        pool.circuit_breaker = Some(breaker);
    });
    let permit = pool.enter().unwrap();
    let current = members[0].begin(0).unwrap().with_permit(permit);
    let place = queue.enter(None, 0, 9).unwrap();
    let next = Arc::new(AtTheGate(Arc::clone(&pool), AtomicU32::new(0)));
    let waker = Waker::from(Arc::clone(&next));
    assert!(place.poll_granted(&Context::from_waker(&waker)).is_pending());
    drop(current);
    assert_eq!(next.1.load(SeqCst), 1);
}

/// Begins at `member` as the planes do: at once, or when its turn has come.
fn begin_or_wait(queue: &Arc<PoolQueue>, member: &Arc<MemberState>, worker: usize) -> InFlight {
    if let Some(in_flight) = member.begin(worker) {
        return in_flight;
    }
    let place = queue.enter(None, 0, 9).unwrap();
    if let Some(in_flight) = member.begin(worker) {
        return in_flight;
    }
    loop {
        if let Some(slot) = granted(&place) {
            return slot.begin(worker).unwrap();
        }
        std::thread::yield_now();
    }
}

#[test]
fn threads_never_exceed_the_limit_and_nobody_is_forgotten() {
    const ROUNDS: u32 = 4_000;
    let (_pool, queue, members) = members(&[Some(2)]);
    let under_way = AtomicU32::new(0);
    let served = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (queue, member, under_way, served) = (&queue, &members[0], &under_way, &served);
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let in_flight = begin_or_wait(queue, member, worker);
                    assert!(under_way.fetch_add(1, SeqCst) < 2);
                    under_way.fetch_sub(1, SeqCst);
                    served.fetch_add(1, SeqCst);
                    drop(in_flight);
                }
            });
        }
    });
    assert_eq!(served.load(SeqCst), 4 * ROUNDS);
    assert_eq!((queue.waiting_count(), members[0].in_flight()), (0, 0));
    assert_eq!(fill(&members[0]).len(), 2);
}

/// Whether room that is given back at the first member goes to who belongs to it, and to who takes any.
fn grants(change: impl FnOnce(&mut PoolSpec), meanwhile: impl FnOnce(&MemberState)) -> [bool; 2] {
    let (_pool, queue, members) = parts(&[Some(1), Some(1)], change);
    let current = members[0].begin(0).unwrap();
    let _busy = members[1].begin(0).unwrap();
    meanwhile(&members[0]);
    let own = queue.enter(Some(members[0].key()), 0, 9).unwrap();
    drop(current);
    let to_own = granted(&own);
    let is_own = to_own.is_some();
    drop(own);
    let any = queue.enter(None, 0, 9).unwrap();
    // Taken and given back, where nobody was given it.
    drop(to_own.or_else(|| members[0].take_slot(1)));
    [is_own, granted(&any).is_some()]
}

#[test]
fn room_is_given_where_pick_would_choose_and_nowhere_else() {
    let first =
        |change: fn(&mut MemberSpec)| move |pool: &mut PoolSpec| change(&mut pool.members[0]);
    assert_eq!(grants(|_| {}, |_| {}), [true, true]);
    let ejected = |state: &MemberState| drop(state.eject(now_ms(), 60_000, 60_000, "it failed"));
    assert_eq!(grants(|_| {}, ejected), [false, false], "ejected");
    assert_eq!(grants(first(|member| member.weight = 0), |_| {}), [true, false], "weight 0");
    let lower = |pool: &mut PoolSpec| {
        pool.priority_min_members = Some(1);
        pool.members[1].priority = 1;
    };
    assert_eq!(grants(lower, |_| {}), [true, false], "lower priority");
    let admin = |admin_state, until_ms| {
        move |state: &MemberState| state.set_admin_state(admin_state, until_ms)
    };
    assert_eq!(grants(|_| {}, admin(AdminState::Disabled, None)), [true, false]);
    assert_eq!(grants(|_| {}, admin(AdminState::Draining, Some(u64::MAX))), [true, false]);
    assert_eq!(grants(|_| {}, admin(AdminState::Draining, Some(1))), [false, false]);
    assert_eq!(grants(|_| {}, admin(AdminState::ForcedOffline, None)), [false, false]);
}

#[test]
fn member_that_is_no_more_is_given_to_nobody() {
    let (pool, queue, members) = members(&[Some(1)]);
    let current = members[0].begin(0).unwrap();
    let place = queue.enter(None, 0, 9).unwrap();
    let next = pool_of(&[None], |pool| pool.members[0].port = 99);
    queue.serve(&next);
    drop(current);
    assert!(granted(&place).is_none());
    drop(pool);
}
