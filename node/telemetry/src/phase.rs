//! The phases of a request: where its time went.

/// A part of the time that a request takes. They follow one another; some requests lack some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// From the first byte of the request to the end of its header.
    Request,
    /// Waiting for a member that had room.
    Queue,
    /// Connecting to the member; none where a connection was at hand.
    Connect,
    /// The TLS handshake with the member; none where a connection was at hand.
    Tls,
    /// From the end of the request's header to the first byte of the response, with the three phases
    /// before.
    FirstByte,
    /// From the first byte of the response to its last.
    Body,
}

impl Phase {
    /// All of them, in their order.
    pub const ALL: &[Self] =
        &[Self::Request, Self::Queue, Self::Connect, Self::Tls, Self::FirstByte, Self::Body];
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Queue => "queue",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::FirstByte => "first_byte",
            Self::Body => "body",
        }
    }
}

/// How long each phase of a request took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// In µs, plus 1; 0 where there was none.
    taken: [u32; Phase::COUNT],
}

impl Phases {
    /// Notes that `phase` took `us`; more than 71 minutes count as that.
    pub fn set(&mut self, phase: Phase, us: u64) {
        self.taken[phase as usize] = u32::try_from(us).unwrap_or(u32::MAX).saturating_add(1);
    }

    /// How long `phase` took, in µs, if there was one.
    pub fn us(&self, phase: Phase) -> Option<u64> {
        let taken = self.taken[phase as usize];
        (taken > 0).then(|| u64::from(taken - 1))
    }
}
