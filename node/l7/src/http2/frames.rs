//! Frame headers as they pass (RFC 9113 §4.1): which frames a connection carries, without what is in
//! them.
//!
//! Invariant: the frames that are seen do not depend on how the bytes are cut into pieces, and at
//! most [`KEPT_MAX_BYTES`] are kept.

/// Bytes in front of every frame's payload.
const HEADER_BYTES: usize = 9;
/// A header and as much of a payload as holds an error code: GOAWAY's stands behind a stream's number.
const KEPT_MAX_BYTES: usize = HEADER_BYTES + 8;
/// What a client sends first (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113 §6).
#[expect(missing_docs, reason = "each is the type of that name")]
pub mod kind {
    pub const DATA: u8 = 0x0;
    pub const HEADERS: u8 = 0x1;
    pub const RST_STREAM: u8 = 0x3;
    pub const SETTINGS: u8 = 0x4;
    pub const PING: u8 = 0x6;
    pub const GOAWAY: u8 = 0x7;
    pub const WINDOW_UPDATE: u8 = 0x8;
    pub const CONTINUATION: u8 = 0x9;
}

/// Flags of frames (RFC 9113 §6).
#[expect(missing_docs, reason = "each is the flag of that name")]
pub mod flag {
    pub const END_STREAM: u8 = 0x1;
    pub const ACK: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
}

/// A frame that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Length of its payload, in bytes.
    pub length: u32,
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// The stream it belongs to; 0: the connection.
    pub stream: u32,
    /// The error code of `RST_STREAM` and `GOAWAY`; 0 for others.
    pub code: u32,
}

impl Frame {
    /// Whether that flag is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Finds the frames in a direction of a connection.
#[derive(Clone, Debug)]
pub struct FrameScanner {
    kept: [u8; KEPT_MAX_BYTES],
    kept_bytes: usize,
    wanted_bytes: usize,
    /// Bytes of payload, or of the preface, that are passed over.
    skip_bytes: usize,
}

impl FrameScanner {
    /// For the direction from a client, which begins with the preface.
    pub fn from_client() -> Self {
        Self { skip_bytes: PREFACE.len(), ..Self::from_server() }
    }

    /// For the direction from a server.
    pub fn from_server() -> Self {
        Self { kept: [0; KEPT_MAX_BYTES], kept_bytes: 0, wanted_bytes: HEADER_BYTES, skip_bytes: 0 }
    }

    /// Whether the end of the last frame that was seen has not come yet.
    pub fn is_within_frame(&self) -> bool {
        self.skip_bytes > 0
    }

    /// Calls `see` with each frame whose header, and error code, is complete with `bytes`.
    pub fn advance(&mut self, mut bytes: &[u8], mut see: impl FnMut(Frame)) {
        loop {
            let skipped = self.skip_bytes.min(bytes.len());
            self.skip_bytes -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return;
            }
            let taken = (self.wanted_bytes - self.kept_bytes).min(bytes.len());
            let end = self.kept_bytes + taken;
            self.kept[self.kept_bytes..end].copy_from_slice(&bytes[..taken]);
            self.kept_bytes = end;
            bytes = &bytes[taken..];
            if self.kept_bytes < self.wanted_bytes {
                return;
            }
            let mut frame = self.header();
            let wanted_bytes = HEADER_BYTES + code_end(frame);
            if self.wanted_bytes < wanted_bytes {
                self.wanted_bytes = wanted_bytes;
                continue;
            }
            let payload_bytes = self.wanted_bytes - HEADER_BYTES;
            if let [.., a, b, c, d] = self.kept[HEADER_BYTES..self.wanted_bytes] {
                frame.code = u32::from_be_bytes([a, b, c, d]);
            }
            self.skip_bytes = frame.length as usize - payload_bytes;
            self.kept_bytes = 0;
            self.wanted_bytes = HEADER_BYTES;
            see(frame);
        }
    }

    fn header(&self) -> Frame {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3, ..] = self.kept;
        Frame {
            length: u32::from_be_bytes([0, l0, l1, l2]),
            kind,
            flags,
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff,
            code: 0,
        }
    }
}

/// Where in the payload the error code ends; 0 where there is none.
fn code_end(frame: Frame) -> usize {
    match frame.kind {
        kind::RST_STREAM if frame.length >= 4 => 4,
        kind::GOAWAY if frame.length >= 8 => 8,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
