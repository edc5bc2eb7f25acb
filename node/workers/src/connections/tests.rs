use std::future::{pending, poll_fn};
use std::task::ready;

use super::*;

fn worker() -> (Rc<Connections>, Rc<Clock>) {
    (Rc::default(), Rc::default())
}

fn poll_once<F: Future>(wait: Pin<&mut F>) -> Poll<F::Output> {
    wait.poll(&mut Context::from_waker(Waker::noop()))
}

fn idle(ticket: &Ticket) -> impl Future<Output = Interrupted> {
    poll_fn(|cx| match ticket.check_idle(cx) {
        Ok(()) => Poll::Pending,
        Err(interrupted) => Poll::Ready(interrupted),
    })
}

#[test]
fn a_deadline_breaks_off_the_wait_and_only_then() {
    let (connections, clock) = worker();
    let ticket = connections.open(1, &clock);
    ticket.set_deadline_ms(100);
    let mut wait = Box::pin(ticket.guard(pending::<()>()));
    connections.expire(99);
    assert!(poll_once(wait.as_mut()).is_pending());
    connections.expire(100);
    assert_eq!(poll_once(wait.as_mut()), Poll::Ready(Err(Interrupted::Expired)));
}

#[test]
fn a_deadline_moved_before_it_passes_does_not_fire() {
    let (connections, clock) = worker();
    let ticket = connections.open(1, &clock);
    ticket.set_deadline_ms(100);
    ticket.set_deadline_ms(200);
    connections.expire(150);
    assert!(poll_once(Box::pin(ticket.guard(pending::<()>())).as_mut()).is_pending());
    ticket.clear_deadline();
    connections.expire(u64::MAX - 1);
    assert!(poll_once(Box::pin(ticket.guard(pending::<()>())).as_mut()).is_pending());
}

#[test]
fn a_new_deadline_forgets_that_the_last_one_passed() {
    let (connections, clock) = worker();
    let ticket = connections.open(1, &clock);
    ticket.set_deadline_ms(100);
    connections.expire(100);
    ticket.set_deadline_ms(200);
    assert!(poll_once(Box::pin(ticket.guard(pending::<()>())).as_mut()).is_pending());
}

#[test]
fn ending_a_group_ends_its_idle_waits_and_nothing_else() {
    let (connections, clock) = worker();
    let (one, other) = (connections.open(1, &clock), connections.open(2, &clock));
    connections.end_groups(&[1]);
    assert_eq!(poll_once(Box::pin(idle(&one)).as_mut()), Poll::Ready(Interrupted::Ending));
    assert!(poll_once(Box::pin(one.guard(pending::<()>())).as_mut()).is_pending());
    assert!(poll_once(Box::pin(idle(&other)).as_mut()).is_pending());
}

#[test]
fn connections_that_open_while_the_worker_drains_are_ending_too() {
    let (connections, clock) = worker();
    connections.end_all();
    assert!(connections.open(1, &clock).is_ending());
}

#[test]
fn a_cut_breaks_off_every_wait() {
    let (connections, clock) = worker();
    let ticket = connections.open(1, &clock);
    connections.cut_all();
    let mut wait = Box::pin(ticket.guard(pending::<()>()));
    assert_eq!(poll_once(wait.as_mut()), Poll::Ready(Err(Interrupted::Cut)));
}

#[test]
fn a_place_is_used_again_and_starts_afresh() {
    let (connections, clock) = worker();
    let first = connections.open(1, &clock);
    first.set_deadline_ms(10);
    connections.expire(10);
    connections.end_groups(&[1]);
    drop(first);
    let second = connections.open(2, &clock);
    assert_eq!(second.index, 0);
    assert!(!second.is_ending());
    assert!(poll_once(Box::pin(second.guard(pending::<()>())).as_mut()).is_pending());
}

#[tokio::test(flavor = "current_thread")]
async fn the_sleeping_task_is_woken() {
    let (connections, clock) = worker();
    let local = tokio::task::LocalSet::new();
    let ticket = connections.open(1, &clock);
    ticket.set_deadline_ms(5);
    let task = local.spawn_local(async move { ticket.guard(pending::<()>()).await });
    local.run_until(tokio::task::yield_now()).await;
    connections.expire(5);
    assert_eq!(local.run_until(task).await.unwrap(), Err(Interrupted::Expired));
    connections.none().await;
}

#[tokio::test(flavor = "current_thread")]
async fn the_last_to_leave_wakes_who_waits_for_none() {
    let (connections, clock) = worker();
    let ticket = connections.open(1, &clock);
    let mut none = Box::pin(connections.none());
    let is_pending = poll_fn(|cx| Poll::Ready(none.as_mut().poll(cx).is_pending())).await;
    assert!(is_pending);
    drop(ticket);
    none.await;
}

#[test]
fn readiness_wins_over_a_deadline_that_passed_meanwhile() {
    let (connections, clock) = worker();
    let ticket = connections.open(1, &clock);
    ticket.set_deadline_ms(1);
    connections.expire(1);
    let wait = poll_fn(|_| {
        let ready: Poll<u8> = Poll::Ready(7);
        Poll::Ready(ready!(ready))
    });
    assert_eq!(poll_once(Box::pin(ticket.guard(Box::pin(wait))).as_mut()), Poll::Ready(Ok(7)));
}

fn addresses(last: &[u8]) -> Arc<[IpAddr]> {
    last.iter().map(|last| IpAddr::from([192, 0, 2, *last])).collect()
}

#[test]
fn quiescing_asks_the_connections_of_its_addresses_until_it_ends() {
    let (connections, clock) = worker();
    let open = |last: u8| connections.open_at(1, Some([192, 0, 2, last].into()), &clock);
    let (one, other, nowhere) = (open(1), open(2), connections.open(1, &clock));
    let mut wait = Box::pin(idle(&one));
    assert!(poll_once(wait.as_mut()).is_pending());
    let quiesced = connections.quiesce(addresses(&[1]));
    assert_eq!(poll_once(wait.as_mut()), Poll::Ready(Interrupted::Ending));
    let late = open(1);
    assert!(late.is_ending() && !other.is_ending() && !nowhere.is_ending());
    assert_eq!(connections.quiesced_count(), 2);
    drop(quiesced);
    assert!(!one.is_ending() && !late.is_ending() && !open(1).is_ending());
    assert_eq!(connections.quiesced_count(), 0);
}

#[test]
fn an_address_stays_quiesced_while_anybody_wants_it() {
    let (connections, clock) = worker();
    let ticket = connections.open_at(1, Some([192, 0, 2, 1].into()), &clock);
    let first = connections.quiesce(addresses(&[1, 2]));
    let second = connections.quiesce(addresses(&[1]));
    drop(first);
    assert!(ticket.is_ending());
    drop(second);
    assert!(!ticket.is_ending());
}

#[test]
fn it_is_quiet_when_the_last_quiesced_connection_has_gone_or_become_a_tunnel() {
    let (connections, clock) = worker();
    let local = Some([192, 0, 2, 1].into());
    let (first, second) =
        (connections.open_at(1, local, &clock), connections.open_at(1, local, &clock));
    let _other = connections.open(1, &clock);
    let mut quiet = Box::pin(connections.quiet());
    let quiesced = connections.quiesce(addresses(&[1]));
    assert!(poll_once(quiet.as_mut()).is_pending());
    drop(first);
    assert!(poll_once(quiet.as_mut()).is_pending());
    second.outlast_quiesce();
    assert!(!second.is_ending());
    assert!(poll_once(quiet.as_mut()).is_ready());
    drop((second, quiesced));
    assert_eq!(connections.quiesced_count(), 0);
}

#[test]
fn quiescing_does_not_take_back_that_a_connection_shall_end() {
    let (connections, clock) = worker();
    let ticket = connections.open_at(1, Some([192, 0, 2, 1].into()), &clock);
    connections.end_all();
    drop(connections.quiesce(addresses(&[1])));
    assert!(ticket.is_ending());
}
