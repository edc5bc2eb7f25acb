//! A request that waits for a member with room.
//!
//! Invariant: who waits holds nothing but its place in line, and leaves it by any way out.

use std::future::poll_fn;
use std::task::{Context, Poll};

use ballast_balance::{Displaced, InFlight, MemberKey, NoMember, Place, Slot};
use ballast_model::ClientHalfClose;
use ballast_telemetry::FailureReason;
use ballast_workers::Interrupted;

use crate::connection::Session;
use crate::peer::{Stream, Watch, why_left};
use crate::upstream::{self, Chosen, Wanted, WorkerPool};

/// How often one that waits looks whether its client is still there, and whether there is room that
/// nobody gave back: at a member that came up, say. In ms.
const LOOK_INTERVAL_MS: u64 = 250;

/// What ends a wait in line, or interrupts it.
enum Turn {
    /// The client has broken its request off.
    Gone,
    /// It may have.
    Look,
    /// There is room.
    Granted(Result<Slot, Displaced>),
}

/// Waits for room; `busy` is why there was none.
pub(crate) async fn wait<S: Stream>(
    session: &Session,
    pool: &WorkerPool,
    client: &mut S,
    wanted: Wanted,
    busy: NoMember,
) -> Result<(Chosen, InFlight), FailureReason> {
    let Session { worker, ticket, .. } = session;
    let context = &worker.context;
    let (queue, settings) = pool.queue();
    let member = awaited(&wanted, busy);
    let Some(place) = queue.enter(member, wanted.priority, settings.max_count) else {
        return Err(FailureReason::QueueFull);
    };
    let mut watch = Watch::Listening;
    let deadline_ms = context.clock.coarse_ms().saturating_add(settings.timeout_ms);
    loop {
        pool.hand_out_room();
        match pool.choose(context, wanted, &[]) {
            Err(busy @ (NoMember::AllBusy | NoMember::PersistentBusy)) => {
                if place.wait_for(awaited(&wanted, busy)) {
                    continue;
                }
            }
            chosen => return chosen.map_err(upstream::why_none),
        }
        let left_ms = deadline_ms.saturating_sub(context.clock.coarse_ms());
        if left_ms == 0 {
            return Err(FailureReason::QueueTimeout);
        }
        ticket.set_timeout_ms(left_ms.min(LOOK_INTERVAL_MS));
        // Cancel-safe: a slot that was granted and not taken goes on with the place.
        let turn = poll_fn(|cx| poll_turn(cx, &place, client, &mut watch));
        match ticket.guard(turn).await {
            Ok(Turn::Gone) => return Err(FailureReason::ClientClosed),
            Ok(Turn::Granted(Err(Displaced))) => return Err(FailureReason::QueueFull),
            Ok(Turn::Granted(Ok(slot))) => {
                // The member may have left the pool meanwhile: then another is chosen, or it waits on
                // in its old place.
                if let Some(chosen) = pool.begin_granted(context, slot) {
                    return Ok(chosen);
                }
            }
            Err(Interrupted::Expired) if ticket.is_over_limit() => {
                return Err(FailureReason::DeadlineExceeded);
            }
            Ok(Turn::Look) | Err(Interrupted::Expired) => {
                if let Some(reason) = seen_leaving(session, client) {
                    return Err(reason);
                }
            }
            Err(Interrupted::Cut | Interrupted::Ending) => return Err(FailureReason::Shutdown),
        }
    }
}

fn poll_turn<S: Stream>(
    cx: &mut Context<'_>,
    place: &Place,
    client: &mut S,
    watch: &mut Watch,
) -> Poll<Turn> {
    if client.poll_gone(cx).is_ready() {
        return Poll::Ready(Turn::Gone);
    }
    if watch.poll_look(cx, client).is_ready() {
        return Poll::Ready(Turn::Look);
    }
    place.poll_granted(cx).map(Turn::Granted)
}

/// Which member one waits for that was told so; none: any.
fn awaited(wanted: &Wanted, busy: NoMember) -> Option<MemberKey> {
    wanted.persistent.filter(|_| busy == NoMember::PersistentBusy)
}

/// Why a request leaves the line because of its client, if it does.
fn seen_leaving<S: Stream>(session: &Session, client: &S) -> Option<FailureReason> {
    let stays = session.server.http.client_half_close == ClientHalfClose::Continue;
    why_left(client, !stays)
}
