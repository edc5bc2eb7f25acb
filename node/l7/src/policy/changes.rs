//! Changes to a header, resolved for one request.
//!
//! Invariant: what is written has been through the templates' filter: no value ends its line.

use ballast_policy::{Decision, HeaderEdit, RequestView};

use crate::buffer::Buffer;
use crate::codec::head::is_same_to_applications;
use crate::worker::HttpWorker;

/// Which fields go, and which lines come.
#[derive(Debug, Default)]
pub(crate) struct HeaderChanges {
    /// Names, each with a line feed behind it.
    dropped: Vec<u8>,
    /// Whole lines.
    lines: Vec<u8>,
}

impl HeaderChanges {
    /// Resolves `edits`, in their order.
    pub(crate) fn collect<'p, R: RequestView>(
        &mut self,
        worker: &HttpWorker,
        decision: &Decision<'p, '_, R>,
        edits: impl Iterator<Item = &'p HeaderEdit>,
        text: &mut Vec<u8>,
    ) {
        for edit in edits {
            let name = edit.name().as_bytes();
            if !matches!(edit, HeaderEdit::Add(..)) {
                self.take_back(name);
                if self.dropped.capacity() == 0 {
                    self.dropped = worker.take_text();
                }
                self.dropped.extend_from_slice(name);
                self.dropped.push(b'\n');
            }
            if decision.edit_value(edit, text) {
                if self.lines.capacity() == 0 {
                    self.lines = worker.take_text();
                }
                self.lines.extend_from_slice(name);
                self.lines.extend_from_slice(b": ");
                self.lines.extend_from_slice(text);
                self.lines.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Whether the field of that name goes.
    pub(crate) fn drops(&self, name: &[u8]) -> bool {
        !self.dropped.is_empty()
            && self.dropped.split(|b| *b == b'\n').any(|other| other.eq_ignore_ascii_case(name))
    }

    /// The same for one that applications take for it: what a policy says of a field that members go by
    /// must hold for all names that mean the same to them.
    pub(crate) fn drops_for_applications(&self, name: &[u8]) -> bool {
        !self.dropped.is_empty()
            && self.dropped.split(|b| *b == b'\n').any(|other| is_same_to_applications(other, name))
    }

    /// Writes the lines that come.
    pub(crate) fn write(&self, output: &mut Buffer) {
        output.push(&self.lines);
    }

    /// Gives lent texts back.
    pub(crate) fn release(self, worker: &HttpWorker) {
        worker.give_text(self.dropped);
        worker.give_text(self.lines);
    }

    /// Drops lines of that name that earlier edits have added.
    fn take_back(&mut self, name: &[u8]) {
        let mut start = 0;
        while let Some(end) = self.lines[start..].windows(2).position(|two| two == b"\r\n") {
            let end = start + end + 2;
            let line = &self.lines[start..end];
            let is_same = line.get(name.len()) == Some(&b':')
                && line[..name.len()].eq_ignore_ascii_case(name);
            if is_same {
                self.lines.drain(start..end);
            } else {
                start = end;
            }
        }
    }
}
