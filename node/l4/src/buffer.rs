//! Buffers, lent by their worker while they hold bytes and given back when they are empty: a silent
//! connection holds none.

use std::cell::RefCell;

use ballast_workers::splice::PipePool;

/// Size of a buffer, in bytes.
pub(crate) const BUFFER_BYTES: usize = 32 * 1024;
/// Most idle buffers that a worker keeps.
const IDLE_MAX_COUNT: usize = 128;

/// The idle buffers of one worker.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    idle: RefCell<Vec<Box<[u8]>>>,
    /// For bytes that need no buffer.
    pub(crate) pipes: PipePool,
}

impl BufferPool {
    fn take(&self) -> Box<[u8]> {
        let idle = self.idle.borrow_mut().pop();
        idle.unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice())
    }

    fn give(&self, storage: Box<[u8]>) {
        let mut idle = self.idle.borrow_mut();
        if storage.len() == BUFFER_BYTES && idle.len() < IDLE_MAX_COUNT {
            idle.push(storage);
        }
    }
}

/// Bytes that were read and are to be written.
///
/// Invariant: `start <= end <= storage.len()`.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    /// Empty while nothing is lent.
    storage: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// A buffer that holds `bytes` and nothing else.
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        Self { start: 0, end: bytes.len(), storage: bytes.into_boxed_slice() }
    }

    /// The bytes that are to be written.
    pub(crate) fn data(&self) -> &[u8] {
        &self.storage[self.start..self.end]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Where to read into; only while it is empty.
    pub(crate) fn space(&mut self, pool: &BufferPool) -> &mut [u8] {
        debug_assert!(self.is_empty());
        if self.storage.is_empty() {
            self.storage = pool.take();
        }
        (self.start, self.end) = (0, 0);
        &mut self.storage
    }

    /// Notes that `count` bytes were read into the space.
    pub(crate) fn filled(&mut self, count: usize) {
        self.end = count.min(self.storage.len());
    }

    /// Notes that `count` bytes were written.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    /// Gives the storage back; what it holds is lost.
    pub(crate) fn release(&mut self, pool: &BufferPool) {
        if !self.storage.is_empty() {
            pool.give(std::mem::take(&mut self.storage));
        }
        (self.start, self.end) = (0, 0);
    }
}
