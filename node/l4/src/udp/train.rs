//! Datagrams for one receiver, gathered so that one system call sends many of them: content that the
//! kernel cuts into datagrams of one size, of which the last may be shorter (`UDP_SEGMENT`, udp(7)).
//!
//! Invariant: cut again, trains are the datagrams that went in, each as it was, in their order.

/// Most datagrams of a train; what kernels before 6.9 take (`UDP_MAX_SEGMENTS`).
const DATAGRAM_MAX_COUNT: usize = 64;
/// Most bytes of a train: what a datagram may have, and some room for headers.
const TRAIN_MAX_BYTES: usize = 65_000;

/// Content that is to be cut into datagrams of `stride` bytes; the last may be shorter. The kernel reads
/// several datagrams at once in this shape too (`UDP_GRO`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Train<'a> {
    /// The content.
    pub(crate) bytes: &'a [u8],
    /// Bytes of each datagram.
    pub(crate) stride: usize,
}

impl<'a> Train<'a> {
    /// How many datagrams it is. One may be empty.
    pub(crate) fn count(self) -> usize {
        self.bytes.len().div_ceil(self.stride.max(1)).max(1)
    }

    /// The datagrams.
    pub(crate) fn datagrams(self) -> impl Iterator<Item = &'a [u8]> {
        let empty = self.bytes.is_empty().then_some(self.bytes);
        empty.into_iter().chain(self.bytes.chunks(self.stride.max(1)))
    }

    /// The first `count` datagrams of it.
    pub(crate) fn first(self, count: usize) -> Self {
        let bytes = self.stride.saturating_mul(count).min(self.bytes.len());
        Self { bytes: &self.bytes[..bytes], ..self }
    }

    /// Whether `next` may follow it where so many bytes are in it.
    fn takes(self, length: usize, next: Train<'_>) -> bool {
        let whole = length + next.bytes.len();
        self.stride > 0
            && length.is_multiple_of(self.stride)
            && !next.bytes.is_empty()
            && (next.stride == self.stride || (next.count() == 1 && next.bytes.len() < self.stride))
            && whole <= TRAIN_MAX_BYTES
            && whole.div_ceil(self.stride) <= DATAGRAM_MAX_COUNT
    }
}

/// Couples what can leave together, with datagrams of at most `stride_max` bytes, and calls `send` with each
/// train.
pub(crate) fn couple<'a>(
    trains: impl Iterator<Item = Train<'a>>,
    stride_max: usize,
    gathered: &mut Vec<u8>,
    mut send: impl FnMut(Train<'_>),
) {
    let mut trains = trains.peekable();
    while let Some(first) = trains.next() {
        let mut length = first.bytes.len();
        let mut is_coupled = false;
        while first.stride <= stride_max
            && let Some(next) = trains.next_if(|next| first.takes(length, *next))
        {
            if !is_coupled {
                gathered.clear();
                gathered.extend_from_slice(first.bytes);
                is_coupled = true;
            }
            gathered.extend_from_slice(next.bytes);
            length = gathered.len();
        }
        send(if is_coupled { Train { bytes: gathered, ..first } } else { first });
    }
}

#[cfg(test)]
mod tests;
