use std::sync::atomic::AtomicU32;
use std::task::Wake;

use ballast_model::status::Health;

use super::*;
use crate::member::{HealthReport, InFlight};
use crate::persistence::PersistenceKey;

#[derive(Default)]
struct Alarm(AtomicU32);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn members(limits: &[Option<u32>]) -> (Arc<PoolQueue>, Vec<Arc<MemberState>>) {
    let queue = Arc::<PoolQueue>::default();
    let persistence = PersistenceKey::new(&[1; 32]);
    let member = |(limit, number): (&Option<u32>, u32)| {
        let key = persistence.member_key("uid", &number.to_string());
        let report = HealthReport { health: Health::Up, ..HealthReport::default() };
        let state = Arc::new(MemberState::new(2, key, Arc::clone(&queue), report));
        state.set_limit(*limit);
        state
    };
    let members = limits.iter().zip(0..).map(member).collect();
    (queue, members)
}

fn granted(place: &Place) -> Option<Slot> {
    match place.poll_granted(&Context::from_waker(Waker::noop())) {
        Poll::Ready(slot) => Some(slot),
        Poll::Pending => None,
    }
}

fn fill(member: &Arc<MemberState>) -> Vec<InFlight> {
    std::iter::from_fn(|| member.begin(0)).collect()
}

#[test]
fn limit_holds_at_the_limit_and_not_before() {
    let (_, members) = members(&[Some(3)]);
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
    let (queue, _) = members(&[]);
    let places: Vec<_> = (0..3).map(|_| queue.enter(None, 0, 3).unwrap()).collect();
    assert!(queue.enter(None, 127, 3).is_none());
    assert_eq!(queue.waiting_count(), 3);
    drop(places);
    assert_eq!(queue.waiting_count(), 0);
    assert!(queue.enter(None, 0, 0).is_none());
}

#[test]
fn room_goes_by_priority_and_then_by_age() {
    let (queue, members) = members(&[Some(1)]);
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
    let (queue, members) = members(&[Some(1), Some(1)]);
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
    let (queue, members) = members(&[Some(1)]);
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
    let (queue, members) = members(&[Some(1)]);
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
    let (queue, members) = members(&[Some(1)]);
    let current = members[0].begin(0).unwrap();
    let place = queue.enter(None, 0, 9).unwrap();
    members[0].set_health(HealthReport { health: Health::Down, ..HealthReport::default() });
    drop(current);
    assert!(granted(&place).is_none());
    assert!(members[0].has_room());
}

#[test]
fn a_limit_that_is_lowered_is_kept_once_enough_have_ended() {
    let (queue, members) = members(&[Some(3)]);
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
    let (queue, members) = members(&[Some(2)]);
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
