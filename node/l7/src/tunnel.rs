//! An upgraded connection (WebSocket): bytes both ways until both sides have ended.
//!
//! Invariant: a side's end is passed on as such, and the other direction goes on (half-close).

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use ballast_balance::InFlight;
use ballast_telemetry::FailureReason;
use ballast_workers::{Interrupted, Ticket};

use crate::buffer::BufferPool;
use crate::codec::framing::BodyLength;
use crate::connection::Session;
use crate::member::MemberStream;
use crate::peer::{Peer, Stream};
use crate::pump::{Frames, Pump, PumpError};
use crate::record::Record;
use crate::upstream::Chosen;

/// How often a silent tunnel looks whether it may go on, in ms.
const CHECK_INTERVAL_MS: u64 = 1_000;

/// The far half of a tunnel.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) member: Peer<MemberStream>,
    /// Keeps the request counted as in flight.
    pub(crate) in_flight: InFlight,
    pub(crate) record: Record,
    /// Longest silence, both ways, in ms.
    pub(crate) idle_timeout_ms: u64,
}

/// Passes bytes on until both sides have ended, the tunnel was silent for too long, or it is cut.
pub(crate) async fn run<S: Stream>(
    session: &Session,
    client: &mut Peer<S>,
    mut tunnel: Box<Tunnel>,
) {
    session.ticket.outlast_quiesce();
    let mut up = Direction::new(FailureReason::ClientClosed, FailureReason::UpstreamClosedEarly);
    let mut down = Direction::new(FailureReason::UpstreamClosedEarly, FailureReason::ClientClosed);
    let Tunnel { member, record, idle_timeout_ms, .. } = &mut *tunnel;
    let mut watch = Watch::new(session, record.chosen.clone(), *idle_timeout_ms);
    let buffers = &session.worker.buffers;
    let ended = poll_fn(|cx| {
        let up_is_done = up.poll(cx, client, member, buffers)?;
        let down_is_done = down.poll(cx, member, client, buffers)?;
        if up_is_done && down_is_done {
            return Poll::Ready(Ok(()));
        }
        let has_moved = up.pump.take_progress() | down.pump.take_progress();
        watch.poll(cx, has_moved)
    });
    let failure = ended.await.err();
    let Tunnel { mut record, in_flight, .. } = *tunnel;
    if failure.is_some_and(FailureReason::is_members_fault) {
        in_flight.count_failure();
    }
    record.reason = failure;
    record.received_bytes += up.pump.content_bytes;
    record.sent_bytes += down.pump.content_bytes;
    session.finish(&mut record);
}

/// One direction of a tunnel.
struct Direction {
    pump: Pump,
    state: State,
    /// What it means that reading fails.
    read_failure: FailureReason,
    /// What it means that writing fails.
    write_failure: FailureReason,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Moving,
    Closing,
    Done,
}

impl Direction {
    fn new(read_failure: FailureReason, write_failure: FailureReason) -> Self {
        let pump = Pump::new(BodyLength::UntilClose, Frames::Plain, u64::MAX);
        Self { pump, state: State::Moving, read_failure, write_failure }
    }

    /// Moves what it can; whether this direction has ended.
    fn poll<A: Stream, B: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Peer<A>,
        to: &mut Peer<B>,
        buffers: &BufferPool,
    ) -> Result<bool, FailureReason> {
        if self.state == State::Moving {
            match self.pump.poll(cx, from, to, buffers) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(())) => self.state = State::Closing,
                // A reset: the other side is told by the end of both connections.
                Poll::Ready(Err(PumpError::Read(_))) => return Err(self.read_failure),
                Poll::Ready(Err(PumpError::Write(_))) => return Err(self.write_failure),
                Poll::Ready(Err(_)) => return Err(FailureReason::Internal),
            }
        }
        if self.state == State::Closing && Pin::new(&mut to.stream).poll_shutdown(cx).is_ready() {
            self.state = State::Done;
        }
        Ok(self.state == State::Done)
    }
}

/// Whether a tunnel may go on.
struct Watch<'a> {
    session: &'a Session,
    chosen: Option<Chosen>,
    idle_since_ms: u64,
    idle_timeout_ms: u64,
}

impl<'a> Watch<'a> {
    fn new(session: &'a Session, chosen: Option<Chosen>, idle_timeout_ms: u64) -> Self {
        session.ticket.set_timeout_ms(CHECK_INTERVAL_MS);
        let idle_since_ms = session.worker.context.clock.coarse_ms();
        Self { session, chosen, idle_since_ms, idle_timeout_ms }
    }

    fn ticket(&self) -> &'a Ticket {
        &self.session.ticket
    }

    fn poll(&mut self, cx: &Context<'_>, has_moved: bool) -> Poll<Result<(), FailureReason>> {
        let clock = &self.session.worker.context.clock;
        if has_moved {
            self.idle_since_ms = clock.coarse_ms();
        }
        loop {
            match self.ticket().check(cx) {
                Ok(()) => return Poll::Pending,
                Err(Interrupted::Expired) => {}
                Err(Interrupted::Cut | Interrupted::Ending) => {
                    return Poll::Ready(Err(FailureReason::Shutdown));
                }
            }
            let idle_ms = clock.coarse_ms().saturating_sub(self.idle_since_ms);
            if idle_ms >= self.idle_timeout_ms {
                return Poll::Ready(Err(FailureReason::IdleTimeout));
            }
            let now_ms = clock.coarse_unix_ms();
            if self.chosen.as_ref().is_some_and(|chosen| chosen.member.state.is_cut(now_ms)) {
                return Poll::Ready(Err(FailureReason::MemberOffline));
            }
            if !self.session.is_wanted() {
                return Poll::Ready(Err(FailureReason::VirtualServerDisabled));
            }
            self.ticket().set_timeout_ms(CHECK_INTERVAL_MS);
        }
    }
}
