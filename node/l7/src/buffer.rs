//! Byte buffers of one fixed size, lent by their worker and given back when they are empty.
//!
//! Invariant: `start <= end <= capacity`; a buffer without storage holds nothing.

use std::cell::RefCell;

use ballast_workers::splice::PipePool;

/// Size of a lent buffer, in bytes: the content of a TLS record, and a head before it.
pub const BUFFER_BYTES: usize = 20 * 1024;
/// Most idle buffers that a worker keeps.
const IDLE_MAX_COUNT: usize = 256;

/// The idle buffers of one worker.
#[derive(Debug, Default)]
pub struct BufferPool {
    idle: RefCell<Vec<Box<[u8]>>>,
    /// For content that needs no buffer.
    pub(crate) pipes: PipePool,
}

impl BufferPool {
    /// Storage of [`BUFFER_BYTES`].
    pub(crate) fn take(&self) -> Box<[u8]> {
        let idle = self.idle.borrow_mut().pop();
        idle.unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice())
    }

    /// Takes storage back.
    pub(crate) fn give(&self, storage: Box<[u8]>) {
        let mut idle = self.idle.borrow_mut();
        if storage.len() == BUFFER_BYTES && idle.len() < IDLE_MAX_COUNT {
            idle.push(storage);
        }
    }
}

/// Bytes that came and are not used yet.
#[derive(Debug, Default)]
pub struct Buffer {
    storage: Box<[u8]>,
    start: usize,
    end: usize,
    /// See [`Buffer::generation`].
    generation: u32,
}

impl Buffer {
    /// The bytes it holds.
    pub fn data(&self) -> &[u8] {
        &self.storage[self.start..self.end]
    }

    /// How many bytes it holds.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// How many bytes fit behind those it holds.
    pub fn free(&self) -> usize {
        if self.is_empty() { self.storage.len() } else { self.storage.len() - self.end }
    }

    /// How many bytes its storage holds.
    pub(crate) fn capacity(&self) -> usize {
        self.storage.len()
    }

    /// Makes its storage that large, if it is smaller.
    pub(crate) fn grow(&mut self, bytes: usize) {
        self.reserve_total(bytes);
    }

    /// Borrows storage from `pool` if it has none.
    pub fn acquire(&mut self, pool: &BufferPool) {
        if self.storage.is_empty() {
            self.storage = pool.take();
        }
    }

    /// Gives the storage back to `pool` if it holds nothing.
    pub fn release(&mut self, pool: &BufferPool) {
        if self.is_empty() && !self.storage.is_empty() {
            pool.give(std::mem::take(&mut self.storage));
            self.clear();
        }
    }

    /// Forgets what it holds.
    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
        self.generation = self.generation.wrapping_add(1);
    }

    /// Drops all but the first `count` bytes.
    pub fn truncate(&mut self, count: usize) {
        self.end = self.end.min(self.start.saturating_add(count));
        self.generation = self.generation.wrapping_add(1);
    }

    /// Drops the first `count` bytes. They can be had back by [`Buffer::rewind`] until something
    /// else is put in.
    pub fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.len());
        self.start += count;
    }

    /// Changes whenever bytes that were put in are gone for good: while it is the same, all that stood in
    /// the buffer can be had back by [`Buffer::rewind`].
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// How many bytes were consumed since the buffer was filled.
    pub fn consumed(&self) -> usize {
        self.start
    }

    /// Takes back everything that was consumed since the buffer was filled.
    pub fn rewind(&mut self) {
        self.start = 0;
    }

    /// The space behind the bytes it holds, to be filled and then [`Buffer::filled`].
    pub fn space(&mut self) -> &mut [u8] {
        if self.is_empty() {
            self.clear();
        }
        &mut self.storage[self.end..]
    }

    /// Notes that `count` bytes of [`Buffer::space`] were filled.
    pub fn filled(&mut self, count: usize) {
        debug_assert!(count <= self.free());
        self.end += count;
    }

    /// Makes room for at least one more byte behind those it holds, by moving them to the front or
    /// by growing up to `max_bytes`. False where it is as large as that and full.
    pub fn make_room(&mut self, max_bytes: usize) -> bool {
        if self.free() > 0 || self.is_empty() {
            return true;
        }
        if self.start > 0 {
            self.storage.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            self.generation = self.generation.wrapping_add(1);
            return true;
        }
        let wanted = (self.storage.len() * 2).clamp(BUFFER_BYTES, max_bytes.max(BUFFER_BYTES));
        self.reserve_total(wanted);
        self.free() > 0
    }

    /// Appends `bytes`, growing if it must: for heads, whose size is limited by who parsed them.
    // Inlined, so that a few bytes of known length are stored and not copied by a call.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) {
        if self.is_empty() {
            self.clear();
        }
        let end = self.end + bytes.len();
        if end > self.storage.len() {
            self.grow_to(end);
        }
        self.storage[self.end..end].copy_from_slice(bytes);
        self.end = end;
    }

    /// Makes room up to `end`.
    #[cold]
    fn grow_to(&mut self, end: usize) {
        let wanted = if end <= BUFFER_BYTES { BUFFER_BYTES } else { end.next_power_of_two() };
        self.reserve_total(wanted);
    }

    /// Replaces bytes that were put in, consumed or not: `at` counts from where the buffer was
    /// filled. What lies beyond its end is left out.
    pub fn overwrite(&mut self, at: usize, bytes: &[u8]) {
        if let Some(there) = self.storage[..self.end].get_mut(at..at + bytes.len()) {
            there.copy_from_slice(bytes);
        }
    }

    /// Appends `number` in decimal.
    pub fn push_decimal(&mut self, number: u64) {
        self.push(itoa::Buffer::new().format(number).as_bytes());
    }

    fn reserve_total(&mut self, bytes: usize) {
        if bytes > self.storage.len() {
            let mut storage = std::mem::take(&mut self.storage).into_vec();
            storage.resize(bytes, 0);
            self.storage = storage.into_boxed_slice();
        }
    }
}

#[cfg(test)]
mod tests;
