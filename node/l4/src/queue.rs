//! A connection that waits for a member with room.
//!
//! Invariant: who waits holds nothing but its place in line, and leaves it by any way out.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::sync::Arc;

use ballast_balance::{Displaced, NoMember, Priority};
use ballast_telemetry::FailureReason;
use ballast_workers::{Interrupted, Ticket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::choice::{Choice, Chosen};
use crate::worker::TcpWorker;

/// How often one that waits looks whether its client is still there, and whether there is room that
/// nobody gave back: at a member that came up, say. In ms.
const LOOK_INTERVAL_MS: u64 = 250;

/// Waits until there is room for `choice`, whose members are `busy`; the higher its `priority`, the
/// sooner.
pub(crate) async fn wait(
    worker: &TcpWorker,
    ticket: &Ticket,
    client: &TcpStream,
    choice: &mut Choice<'_>,
    (priority, busy): (Priority, NoMember),
) -> Result<Chosen, FailureReason> {
    let clock = &worker.context.clock;
    let settings = choice.pool().spec().queue.clone().unwrap_or_default();
    let queue = Arc::clone(choice.pool().queue());
    let Some(place) = queue.enter(choice.awaited(busy), priority, settings.max_count) else {
        return Err(FailureReason::QueueFull);
    };
    let deadline_ms = clock.coarse_ms().saturating_add(settings.timeout_ms);
    loop {
        // Members may have come and gone while it waited.
        choice.refresh();
        queue.hand_out(choice.pool());
        match choice.next()? {
            Ok(chosen) => return Ok(chosen),
            Err(busy) => {
                if place.wait_for(choice.awaited(busy)) {
                    continue;
                }
            }
        }
        let left_ms = deadline_ms.saturating_sub(clock.coarse_ms());
        if left_ms == 0 {
            return Err(FailureReason::QueueTimeout);
        }
        ticket.set_timeout_ms(left_ms.min(LOOK_INTERVAL_MS));
        // Cancel-safe: a slot that was granted and not taken goes on with the place.
        match ticket.guard(poll_fn(|cx| place.poll_granted(cx))).await {
            Ok(Err(Displaced)) => return Err(FailureReason::QueueFull),
            Ok(Ok(slot)) => {
                // The member may have left the pool meanwhile: then another is chosen, or it waits on
                // in its old place.
                if let Some(chosen) = choice.begin_granted(slot) {
                    return Ok(chosen);
                }
            }
            Err(Interrupted::Expired) if is_gone(client) => {
                return Err(FailureReason::ClientClosed);
            }
            Err(Interrupted::Expired) => {}
            Err(Interrupted::Cut | Interrupted::Ending) => return Err(FailureReason::Shutdown),
        }
    }
}

/// Whether the client has gone: it has reset the connection, or ended its direction without having
/// sent anything. One that has sent something first may wait for an answer.
fn is_gone(client: &TcpStream) -> bool {
    let mut polled = [PollFd::new(client, PollFlags::HUP | PollFlags::ERR)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let is_reset = matches!(poll(&mut polled, Some(&now)), Ok(count) if count > 0);
    is_reset || matches!(SockRef::from(client).peek(&mut [MaybeUninit::uninit()]), Ok(0))
}
