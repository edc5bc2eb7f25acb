//! Moves a body from one side of an exchange to the other: decodes, frames anew, waits for the
//! slower side.
//!
//! Content that came with `Content-Length` or until close goes from the buffer it was read into to
//! the other socket without a copy; small content behind a head is put beside it, so that both
//! leave in one write. Large content of known length between plain connections is spliced: it goes
//! through no buffer at all.
//!
//! Invariant: at most one buffer or pipe of content per direction is held, however large the body.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ballast_workers::splice::{Pipe, SPLICE_MIN_BYTES, SpliceError, Spliced, SplicedBytes};

use crate::buffer::{Buffer, BufferPool};
use crate::codec::chunked::ChunkedError;
use crate::codec::framing::{BodyDecoder, BodyLength};
use crate::codec::trailer;
use crate::peer::{Peer, Stream};
use crate::policy::mirror::RequestCopy;

mod held;

pub(crate) use held::Held;

/// Buffers of content that are moved before other connections have their turn: what one of them sends
/// in a row lies in the sockets' buffers meanwhile, and leaves the caches.
const TURN_FILL_COUNT: u32 = 8;
/// Room that a chunk's size line, its end, and the last chunk take at most.
const CHUNK_OVERHEAD_BYTES: usize = 32;

/// How the receiver is told where the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frames {
    /// By `Content-Length`, or by the end of the connection: content as it is.
    Plain,
    /// By chunks of our own.
    Chunked,
}

/// Why a body did not get through, by whose fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PumpError {
    /// The source failed.
    #[error("reading failed")]
    Read(#[source] io::Error),
    /// The source ended before the body did.
    #[error("the connection ended within the body")]
    Truncated,
    /// The source's framing is broken.
    #[error(transparent)]
    Framing(#[from] ChunkedError),
    /// The body is larger than allowed.
    #[error("the body is too large")]
    TooLarge,
    /// The receiver failed.
    #[error("writing failed")]
    Write(#[source] io::Error),
}

/// A body on its way.
#[derive(Debug)]
pub(crate) struct Pump {
    decoder: BodyDecoder,
    frames: Frames,
    /// Content at the front of the source's input that is written from there.
    direct_bytes: usize,
    has_gone_direct: bool,
    /// Whether everything up to the end is in the receiver's output.
    is_end_staged: bool,
    /// Whether the receiver has not taken all that was written when it was last tried.
    is_write_pending: bool,
    /// Whether the receiver's connection is ended with the body.
    ends_connection: bool,
    has_moved: bool,
    max_bytes: u64,
    /// Content taken from the source so far.
    pub(crate) content_bytes: u64,
    /// Gets what the receiver gets.
    pub(crate) copy: Option<Box<RequestCopy>>,
    /// Where content is on its way while it goes through no buffer.
    pipe: Option<Pipe>,
}

impl Pump {
    pub(crate) fn new(length: BodyLength, frames: Frames, max_bytes: u64) -> Self {
        Self {
            decoder: BodyDecoder::new(length),
            frames,
            direct_bytes: 0,
            has_gone_direct: false,
            is_end_staged: false,
            is_write_pending: false,
            ends_connection: false,
            has_moved: false,
            max_bytes,
            content_bytes: 0,
            copy: None,
            pipe: None,
        }
    }

    /// The same for a body with which the receiver's connection ends, or does not.
    pub(crate) fn ending_connection(self, ends_connection: bool) -> Self {
        Self { ends_connection, ..self }
    }

    /// The lines of the trailer section, once the end has been seen.
    pub(crate) fn trailer(&self) -> &[u8] {
        self.decoder.trailer()
    }

    /// Whether the body was taken from the input to its end, so that what stands there now is
    /// something else.
    pub(crate) fn is_read(&self) -> bool {
        self.is_end_staged && self.direct_bytes == 0
    }

    /// Whether the body was taken from the input to its end, or lies there to be written.
    pub(crate) fn is_end_staged(&self) -> bool {
        self.is_end_staged
    }

    /// Whether bytes moved since this was last asked.
    pub(crate) fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.has_moved)
    }

    /// Whether it waits for the receiver, not for the source.
    pub(crate) fn waits_for_receiver(&self) -> bool {
        self.is_write_pending || self.pipe.as_ref().is_some_and(|pipe| !pipe.is_empty())
    }

    /// Whether everything taken so far went through the receiver's output, none straight from the
    /// input.
    pub(crate) fn is_all_in_output(&self) -> bool {
        !self.has_gone_direct
    }

    /// Moves what it can. Ready when the body has been sent to its end.
    pub(crate) fn poll<A: Stream, B: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Peer<A>,
        to: &mut Peer<B>,
        buffers: &BufferPool,
    ) -> Poll<Result<(), PumpError>> {
        let mut fill_count = 0;
        loop {
            if self.pipe.is_none() {
                self.stage(&mut from.input, &mut to.output, buffers)?;
                if self.ends_connection && self.is_end_staged {
                    to.stream.end_follows();
                }
                ready!(self.poll_write(cx, from, to)).map_err(PumpError::Write)?;
                if self.is_end_staged {
                    return Poll::Ready(Ok(()));
                }
                if !from.input.is_empty() {
                    // Now that the output is empty there is room for some of it.
                    continue;
                }
                if self.is_worth_a_pipe() && from.stream.tcp().and(to.stream.tcp()).is_some() {
                    self.pipe = buffers.pipes.take();
                }
            }
            if self.pipe.is_some() {
                ready!(self.poll_splice(cx, from, to, buffers))?;
                continue;
            }
            if fill_count == TURN_FILL_COUNT {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            fill_count += 1;
            match ready!(from.poll_fill(cx, buffers)) {
                Ok(0) if self.decoder.ends_with_connection() => self.stage_end(&mut to.output),
                Ok(0) => return Poll::Ready(Err(PumpError::Truncated)),
                Ok(_) => self.has_moved = true,
                Err(error) => return Poll::Ready(Err(PumpError::Read(error))),
            }
        }
    }

    /// Whether there is much left, that nobody needs to see.
    fn is_worth_a_pipe(&self) -> bool {
        let left_bytes = self.decoder.left_bytes().unwrap_or(0);
        left_bytes >= SPLICE_MIN_BYTES
            && left_bytes <= self.max_bytes.saturating_sub(self.content_bytes)
            && self.frames == Frames::Plain
            && self.copy.is_none()
    }

    /// Moves the rest of the content through the pipe, which is given back at the end.
    fn poll_splice<A: Stream, B: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Peer<A>,
        to: &mut Peer<B>,
        buffers: &BufferPool,
    ) -> Poll<Result<(), PumpError>> {
        let left_bytes = self.decoder.left_bytes().unwrap_or(0);
        let streams = from.stream.tcp().zip(to.stream.tcp());
        let (Some(pipe), Some((source, receiver))) = (&mut self.pipe, streams) else {
            return Poll::Ready(Err(PumpError::Truncated));
        };
        let mut moved = SplicedBytes::default();
        let end = pipe.poll_move(cx, source, receiver, left_bytes, &mut moved);
        self.has_moved |= moved != SplicedBytes::default();
        self.has_gone_direct |= moved.read > 0;
        self.content_bytes += moved.read;
        self.decoder.pass(moved.read);
        to.sent_bytes += moved.written;
        match ready!(end) {
            Ok(Spliced::All) => {
                if let Some(pipe) = self.pipe.take() {
                    buffers.pipes.give(pipe);
                }
                Poll::Ready(Ok(()))
            }
            Ok(Spliced::SourceEnded) => Poll::Ready(Err(PumpError::Truncated)),
            Err(SpliceError::Read(error)) => Poll::Ready(Err(PumpError::Read(error))),
            Err(SpliceError::Write(error)) => Poll::Ready(Err(PumpError::Write(error))),
        }
    }

    /// Puts into `output` what fits of what `input` holds, or marks it for being written from
    /// there.
    pub(crate) fn stage(
        &mut self,
        input: &mut Buffer,
        output: &mut Buffer,
        buffers: &BufferPool,
    ) -> Result<(), PumpError> {
        while self.direct_bytes == 0 && !self.is_end_staged {
            let window = match self.frames {
                Frames::Plain => input.len(),
                Frames::Chunked => {
                    output.acquire(buffers);
                    input.len().min(output.free().saturating_sub(CHUNK_OVERHEAD_BYTES))
                }
            };
            let part = self.decoder.next(&input.data()[..window])?;
            input.consume(part.skip_bytes);
            self.content_bytes += part.data_bytes as u64;
            if self.content_bytes > self.max_bytes {
                return Err(PumpError::TooLarge);
            }
            if part.data_bytes > 0 {
                self.stage_content(part.data_bytes, input, output);
            }
            if self.decoder.is_done() {
                self.stage_end(output);
            } else if part.data_bytes == 0 {
                break;
            }
        }
        Ok(())
    }

    fn stage_content(&mut self, count: usize, input: &mut Buffer, output: &mut Buffer) {
        if let Some(copy) = &mut self.copy {
            copy_content(copy, self.frames, &input.data()[..count]);
        }
        match self.frames {
            Frames::Plain if output.is_empty() || count > output.free() => {
                self.direct_bytes = count;
                self.has_gone_direct = true;
            }
            Frames::Plain => {
                output.push(&input.data()[..count]);
                input.consume(count);
            }
            Frames::Chunked => {
                push_chunk_size(output, count);
                output.push(&input.data()[..count]);
                output.push(b"\r\n");
                input.consume(count);
            }
        }
    }

    fn stage_end(&mut self, output: &mut Buffer) {
        if self.frames == Frames::Chunked
            && let Some(copy) = &mut self.copy
        {
            copy.push(b"0\r\n\r\n");
        }
        if self.frames == Frames::Chunked {
            output.push(b"0\r\n");
            for line in trailer::passed_on(self.decoder.trailer()) {
                output.push(line);
            }
            output.push(b"\r\n");
        }
        self.is_end_staged = true;
    }

    /// Writes the output, then what is to be written from the input, in one call where both are
    /// there.
    fn poll_write<A: Stream, B: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Peer<A>,
        to: &mut Peer<B>,
    ) -> Poll<io::Result<()>> {
        // Not by what is left here: TLS may hold some of what it took.
        let written = self.poll_write_all(cx, from, to);
        self.is_write_pending = written.is_pending();
        written
    }

    fn poll_write_all<A: Stream, B: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Peer<A>,
        to: &mut Peer<B>,
    ) -> Poll<io::Result<()>> {
        while self.direct_bytes > 0 {
            let direct = &from.input.data()[..self.direct_bytes];
            let output_bytes = to.output.len();
            let stream = Pin::new(&mut to.stream);
            let count = if output_bytes == 0 {
                ready!(stream.poll_write(cx, direct))?
            } else {
                let slices = [IoSlice::new(to.output.data()), IoSlice::new(direct)];
                ready!(stream.poll_write_vectored(cx, &slices))?
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.has_moved = true;
            to.sent_bytes += count as u64;
            to.output.consume(count.min(output_bytes));
            let written = count.saturating_sub(output_bytes);
            from.input.consume(written);
            self.direct_bytes -= written;
        }
        let before = to.output.len();
        let flushed = to.poll_flush(cx);
        self.has_moved |= to.output.len() < before;
        flushed
    }
}

fn copy_content(copy: &mut RequestCopy, frames: Frames, content: &[u8]) {
    match frames {
        Frames::Plain => copy.push(content),
        Frames::Chunked => {
            copy.push(format!("{:x}\r\n", content.len()).as_bytes());
            copy.push(content);
            copy.push(b"\r\n");
        }
    }
}

fn push_chunk_size(output: &mut Buffer, size: usize) {
    let mut line = [0; 20];
    let mut rest = &mut line[..];
    // 16 digits and CRLF fit; writing to a slice fails only where it is full.
    let _ = write!(rest, "{size:x}\r\n");
    let length = 20 - rest.len();
    output.push(&line[..length]);
}

#[cfg(test)]
mod tests;
