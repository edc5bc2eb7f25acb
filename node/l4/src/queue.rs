//! A connection that waits for a member with room.
//!
//! Invariant: who waits holds nothing but its place in line, and leaves it by any way out.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::sync::Arc;

use ballast_balance::{InFlight, NoMember, PickInput, Pool};
use ballast_telemetry::FailureReason;
use ballast_workers::{Interrupted, PoolSlot, Ticket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::worker::{TcpWorker, why_none};

/// How often one that waits looks whether its client is still there, and whether there is room that
/// nobody gave back: at a member that came up, say. In ms.
const LOOK_INTERVAL_MS: u64 = 250;

/// Waits for room at a member of `pool`, which is in `slot`; its index.
pub(crate) async fn wait(
    worker: &TcpWorker,
    ticket: &Ticket,
    client: &TcpStream,
    slot: &Arc<PoolSlot>,
    pool: &Pool,
    input: &PickInput<'_>,
) -> Result<(u32, InFlight), FailureReason> {
    let clock = &worker.context.clock;
    let settings = pool.spec().queue.clone().unwrap_or_default();
    let Some(place) = pool.queue().enter(None, 0, settings.max_count) else {
        return Err(FailureReason::QueueFull);
    };
    let deadline_ms = clock.coarse_ms().saturating_add(settings.timeout_ms);
    loop {
        let input = PickInput { now_ms: clock.coarse_unix_ms(), ..*input };
        match worker.begin(slot, pool, &input) {
            Err(NoMember::AllBusy | NoMember::PersistentBusy) => {}
            begun => return begun.map_err(|why| why_none(why, FailureReason::NoMember)),
        }
        let left_ms = deadline_ms.saturating_sub(clock.coarse_ms());
        if left_ms == 0 {
            return Err(FailureReason::QueueTimeout);
        }
        ticket.set_timeout_ms(left_ms.min(LOOK_INTERVAL_MS));
        // Cancel-safe: a slot that was granted and not taken goes on with the place.
        match ticket.guard(poll_fn(|cx| place.poll_granted(cx))).await {
            Ok(granted) => {
                let state = granted.member();
                let is_it =
                    |state| pool.members().iter().position(|m| Arc::ptr_eq(&m.state, state));
                let index = state.and_then(is_it);
                // It may be a member that this version of the pool does not have.
                if let Some(index) = index
                    && let Ok(permit) = pool.enter_stream()
                    && let Some(in_flight) = granted.begin(worker.context.index)
                {
                    return Ok((index as u32, in_flight.with_permit(permit)));
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
