//! What a connection's frames say about its client: the attacks that are made of frames which are
//! each allowed.
//!
//! Invariant: each limit trips with the first frame beyond it, and the first that trips is the reason.

use ballast_model::HttpSettings;
use ballast_telemetry::FailureReason;
use h2::Reason;

use super::frames::{Frame, FrameScanner, flag, kind};

/// Over how long resets and control frames are counted, in ms.
pub(super) const RATE_WINDOW_MS: u64 = 10_000;
/// Most DATA frames without data of a connection; they are of no use to anybody.
pub(super) const EMPTY_DATA_MAX_COUNT: u32 = 100;
/// CONTINUATION frames that every header block may have: some clients cut headers into small pieces.
pub(super) const CONTINUATION_MIN_COUNT: u32 = 5;
/// Smallest of the largest frame sizes (RFC 9113 §6.5.2): what a client may put into each frame.
const FRAME_BYTES: u32 = 16 * 1024;
/// WINDOW_UPDATE frames that a connection may send beyond those for what it was sent.
pub(super) const WINDOW_UPDATE_MIN_COUNT: u64 = 1_000;
/// WINDOW_UPDATE frames for each DATA frame sent: one for the stream and one for the connection, and
/// as much again for clients that give back piece by piece.
const WINDOW_UPDATES_PER_DATA: u64 = 8;

/// Events of a kind within the last [`RATE_WINDOW_MS`], roughly: windows follow each other.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    window_start_ms: u64,
    count: u32,
}

impl Rate {
    /// Counts one; whether that is more than allowed.
    fn exceeds(&mut self, now_ms: u64, max_count: u32) -> bool {
        if now_ms.saturating_sub(self.window_start_ms) >= RATE_WINDOW_MS {
            *self = Self { window_start_ms: now_ms, count: 0 };
        }
        self.count += 1;
        self.count > max_count
    }
}

/// The limits that frames are held to.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameLimits {
    reset_max_count: u32,
    control_frame_max_count: u32,
    continuation_max_count: u32,
}

impl FrameLimits {
    pub(super) fn new(http: &HttpSettings) -> Self {
        Self {
            reset_max_count: http.http2_limits.reset_max_count,
            control_frame_max_count: http.http2_limits.control_frame_max_count,
            continuation_max_count: CONTINUATION_MIN_COUNT
                .max(http.header_max_bytes.div_ceil(FRAME_BYTES)),
        }
    }
}

/// What is seen of a connection's frames.
#[derive(Debug)]
pub(super) struct FrameWatch {
    incoming: FrameScanner,
    outgoing: FrameScanner,
    limits: FrameLimits,
    resets: Rate,
    controls: Rate,
    continuation_count: u32,
    empty_data_count: u32,
    window_update_count: u64,
    data_sent_count: u64,
    last_kind: u8,
    /// When the last header block began, in ms.
    header_began_ms: u64,
    /// Whether more frames of it follow the last one.
    is_header_continued: bool,
    /// The highest stream that a client has opened.
    last_stream: u32,
    opened_count: u64,
    /// Whether the last HEADERS opened a stream: others are trailers, or are on streams that can't be.
    last_header_opens: bool,
    /// Streams that were refused because there were too many.
    refused_count: u64,
    /// HEADERS that ended a stream.
    last_header_count: u64,
    violation: Option<FailureReason>,
}

impl FrameWatch {
    pub(super) fn new(limits: FrameLimits) -> Self {
        Self {
            incoming: FrameScanner::from_client(),
            outgoing: FrameScanner::from_server(),
            limits,
            resets: Rate::default(),
            controls: Rate::default(),
            continuation_count: 0,
            empty_data_count: 0,
            window_update_count: 0,
            data_sent_count: 0,
            last_kind: kind::SETTINGS,
            header_began_ms: 0,
            is_header_continued: false,
            last_stream: 0,
            opened_count: 0,
            last_header_opens: false,
            refused_count: 0,
            last_header_count: 0,
            violation: None,
        }
    }

    /// Sees what came from the client.
    pub(super) fn came(&mut self, bytes: &[u8], now_ms: u64) {
        // Borrowed apart: the scanner calls back.
        let mut scanner = self.incoming.clone();
        scanner.advance(bytes, |frame| self.came_frame(frame, now_ms));
        self.incoming = scanner;
    }

    /// Sees what goes to the client.
    pub(super) fn goes(&mut self, bytes: &[u8], now_ms: u64) {
        let mut scanner = self.outgoing.clone();
        scanner.advance(bytes, |frame| self.goes_frame(frame, now_ms));
        self.outgoing = scanner;
    }

    /// The limit that tripped first.
    pub(super) fn violation(&self) -> Option<FailureReason> {
        self.violation
    }

    /// When the header block that is not complete began, in ms; none where there is none.
    pub(super) fn header_since_ms(&self) -> Option<u64> {
        let is_header = matches!(self.last_kind, kind::HEADERS | kind::CONTINUATION);
        let is_within = self.is_header_continued || (is_header && self.incoming.is_within_frame());
        is_within.then_some(self.header_began_ms)
    }

    /// Streams that the client has opened with a complete header.
    pub(super) fn opened_count(&self) -> u64 {
        let is_within = self.header_since_ms().is_some();
        self.opened_count - u64::from(is_within && self.last_header_opens)
    }

    /// Streams that were refused because there were too many.
    pub(super) fn refused_count(&self) -> u64 {
        self.refused_count
    }

    /// HEADERS sent that ended a stream.
    pub(super) fn last_header_count(&self) -> u64 {
        self.last_header_count
    }

    /// Which flood it is that the protocol's own limits have stopped.
    pub(super) fn flood(&self) -> FailureReason {
        match self.last_kind {
            kind::DATA => FailureReason::Http2EmptyData,
            kind::RST_STREAM => FailureReason::Http2ResetFlood,
            kind::HEADERS | kind::CONTINUATION => FailureReason::Http2HeaderBomb,
            _ => FailureReason::Http2ControlFlood,
        }
    }

    fn came_frame(&mut self, frame: Frame, now_ms: u64) {
        self.last_kind = frame.kind;
        match frame.kind {
            kind::DATA => self.came_data(frame),
            kind::HEADERS => {
                self.last_header_opens = frame.stream > self.last_stream;
                if self.last_header_opens {
                    self.last_stream = frame.stream;
                    self.opened_count += 1;
                }
                self.continuation_count = 0;
                self.header_began_ms = now_ms;
                self.is_header_continued = !frame.has(flag::END_HEADERS);
            }
            kind::CONTINUATION => {
                self.continuation_count += 1;
                if self.continuation_count > self.limits.continuation_max_count {
                    self.violate(FailureReason::Http2ContinuationFlood);
                }
                if frame.has(flag::END_HEADERS) {
                    self.is_header_continued = false;
                }
            }
            kind::RST_STREAM => self.count_reset(now_ms),
            kind::WINDOW_UPDATE => {
                self.window_update_count += 1;
                let allowed =
                    WINDOW_UPDATE_MIN_COUNT + WINDOW_UPDATES_PER_DATA * self.data_sent_count;
                if self.window_update_count > allowed {
                    self.violate(FailureReason::Http2ControlFlood);
                }
            }
            kind::SETTINGS | kind::PING if frame.has(flag::ACK) => {}
            // SETTINGS, PING, PRIORITY, and what nobody knows.
            _ => {
                if self.controls.exceeds(now_ms, self.limits.control_frame_max_count) {
                    self.violate(FailureReason::Http2ControlFlood);
                }
            }
        }
    }

    fn came_data(&mut self, frame: Frame) {
        // Padding alone may fill a frame; how much of it is padding stands in the payload, so a
        // padded frame is not taken for empty.
        if frame.length == 0 && !frame.has(flag::END_STREAM) {
            self.empty_data_count += 1;
            if self.empty_data_count > EMPTY_DATA_MAX_COUNT {
                self.violate(FailureReason::Http2EmptyData);
            }
        }
    }

    fn goes_frame(&mut self, frame: Frame, now_ms: u64) {
        match frame.kind {
            kind::DATA => self.data_sent_count += 1,
            kind::HEADERS if frame.has(flag::END_STREAM) => self.last_header_count += 1,
            kind::RST_STREAM if frame.code == u32::from(Reason::REFUSED_STREAM) => {
                self.refused_count += 1;
            }
            // A client may have us break its requests off instead (CVE-2025-8671).
            kind::RST_STREAM if is_the_clients(frame.code) => self.count_reset(now_ms),
            _ => {}
        }
    }

    fn count_reset(&mut self, now_ms: u64) {
        if self.resets.exceeds(now_ms, self.limits.reset_max_count) {
            self.violate(FailureReason::Http2ResetFlood);
        }
    }

    fn violate(&mut self, reason: FailureReason) {
        self.violation.get_or_insert(reason);
    }
}

/// Whether a reset of ours answers what a client did.
fn is_the_clients(code: u32) -> bool {
    [Reason::PROTOCOL_ERROR, Reason::STREAM_CLOSED, Reason::FLOW_CONTROL_ERROR]
        .iter()
        .any(|it| u32::from(*it) == code)
}

#[cfg(test)]
mod tests;
