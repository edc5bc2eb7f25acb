//! A value that shares its cache line with nothing else, so that two workers never fight over one.

use std::ops::Deref;

/// `T` on cache lines of its own. 128 bytes: x86 fetches lines in pairs, some ARM cores have lines
/// of that size.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

impl<T> Deref for Padded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
