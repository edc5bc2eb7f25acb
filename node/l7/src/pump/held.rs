//! Bodies that are held: a request's taken whole before it goes on, a response's taken while its client
//! is slow.
//!
//! Invariant: what is held goes on in order, and nothing that came after it before it.

use std::task::{Context, Poll, ready};

use super::{
    CHUNK_OVERHEAD_BYTES, Frames, Pump, PumpError, TURN_FILL_COUNT, copy_content, push_chunk_size,
};
use crate::buffer::{Buffer, BufferPool};
use crate::buffering::Backlog;
use crate::peer::{Peer, Stream};

/// Why [`Pump::hold`] stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// The body is whole in the output.
    Whole,
    /// More input is needed.
    Hungry,
    /// The output has no room.
    Full,
    /// The next byte of content would be one too many.
    TooLarge,
}

impl Pump {
    /// Puts content from `input` into `output`, `max_bytes` of it at most in all, and never marks any to
    /// be written from the input: the whole can be sent again.
    pub(crate) fn hold(
        &mut self,
        input: &mut Buffer,
        output: &mut Buffer,
        max_bytes: u64,
    ) -> Result<Held, PumpError> {
        while !self.is_end_staged {
            let window = input.len().min(output.free().saturating_sub(CHUNK_OVERHEAD_BYTES));
            if window == 0 && !input.is_empty() {
                return Ok(Held::Full);
            }
            let before = self.decoder.clone();
            let mut part = self.decoder.next(&input.data()[..window])?;
            let left = usize::try_from(max_bytes - self.content_bytes).unwrap_or(usize::MAX);
            if part.data_bytes > left {
                self.decoder = before;
                if left == 0 {
                    return Ok(Held::TooLarge);
                }
                part = self.decoder.next(&input.data()[..part.skip_bytes + left])?;
            }
            input.consume(part.skip_bytes);
            self.content_bytes += part.data_bytes as u64;
            if self.content_bytes > self.max_bytes {
                return Err(PumpError::TooLarge);
            }
            if part.data_bytes > 0 {
                self.hold_content(part.data_bytes, input, output);
            }
            if self.decoder.is_done() {
                self.stage_end(output);
            } else if part.data_bytes == 0 {
                // What is left of the input, if anything, lies beyond the window.
                return Ok(if input.is_empty() { Held::Hungry } else { Held::Full });
            }
        }
        Ok(Held::Whole)
    }

    fn hold_content(&mut self, count: usize, input: &mut Buffer, output: &mut Buffer) {
        if let Some(copy) = &mut self.copy {
            copy_content(copy, self.frames, &input.data()[..count]);
        }
        if self.frames == Frames::Chunked {
            push_chunk_size(output, count);
        }
        output.push(&input.data()[..count]);
        if self.frames == Frames::Chunked {
            output.push(b"\r\n");
        }
        input.consume(count);
    }

    /// Moves what it can, as [`Pump::poll`] does, and keeps in `backlog` what the receiver does not take.
    /// Ready when the source has given the whole body; what is in `backlog` then is still to be sent.
    pub(crate) fn poll_ahead<A: Stream, B: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Peer<A>,
        to: &mut Peer<B>,
        buffers: &BufferPool,
        backlog: &mut Backlog<'_>,
    ) -> Poll<Result<(), PumpError>> {
        let mut fill_count = 0;
        loop {
            let sent_bytes = to.sent_bytes;
            let flushed = backlog.poll_flush(cx, to, buffers).map_err(PumpError::Write)?;
            self.has_moved |= to.sent_bytes > sent_bytes;
            let is_taken = flushed.is_ready() && {
                self.stage(&mut from.input, &mut to.output, buffers)?;
                self.poll_write(cx, from, to).map_err(PumpError::Write)?.is_ready()
            };
            if !is_taken {
                self.keep(&mut from.input, backlog, buffers)?;
            }
            if self.is_end_staged && self.direct_bytes == 0 {
                return Poll::Ready(Ok(()));
            }
            if !from.input.is_empty() {
                if is_taken {
                    continue;
                }
                // There is no room, and the receiver will wake us.
                return Poll::Pending;
            }
            if !is_taken && backlog.space(buffers).is_none() {
                return Poll::Pending;
            }
            if fill_count == TURN_FILL_COUNT {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            fill_count += 1;
            match ready!(from.poll_fill(cx, buffers)) {
                Ok(0) if self.decoder.ends_with_connection() => {
                    self.stage_end(backlog.last().unwrap_or(&mut to.output));
                }
                Ok(0) => return Poll::Ready(Err(PumpError::Truncated)),
                Ok(_) => self.has_moved = true,
                Err(error) => return Poll::Ready(Err(PumpError::Read(error))),
            }
        }
    }

    /// Puts what `input` holds into `backlog`, as far as there is room.
    fn keep(
        &mut self,
        input: &mut Buffer,
        backlog: &mut Backlog<'_>,
        buffers: &BufferPool,
    ) -> Result<(), PumpError> {
        while (!self.is_end_staged || self.direct_bytes > 0) && !input.is_empty() {
            let Some(piece) = backlog.space(buffers) else { return Ok(()) };
            if self.direct_bytes > 0 {
                let count = self.direct_bytes.min(piece.free());
                piece.push(&input.data()[..count]);
                input.consume(count);
                self.direct_bytes -= count;
                continue;
            }
            let before = (input.len(), piece.len());
            self.stage(input, piece, buffers)?;
            if before == (input.len(), piece.len()) && self.direct_bytes == 0 {
                return Ok(());
            }
        }
        Ok(())
    }
}
