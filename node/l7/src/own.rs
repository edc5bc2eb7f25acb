//! What answers of our own carry besides what they are about.
//!
//! Invariant: a field that a policy sets or removes is not written by us as well.

use std::io::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use httpdate::HttpDate;

use crate::buffer::Buffer;
use crate::connection::Session;
use crate::policy::HeaderChanges;
use crate::record::Record;

/// The field by which clients are told to come with TLS only.
const HSTS: &[u8] = b"strict-transport-security";

/// Length of a date as HTTP writes it (RFC 9110 §5.6.7).
const DATE_BYTES: usize = 29;

/// The fields that every answer of ours has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OwnFields<'a> {
    record: Option<&'a Record>,
    /// When the answer was made, since the Unix epoch; none where it is not ours.
    date_ms: Option<u64>,
    hsts_line: Option<&'a [u8]>,
    changes: Option<&'a HeaderChanges>,
}

impl<'a> OwnFields<'a> {
    /// Of an answer to a request of that session; `changes` are those of its policies, once they are
    /// known.
    pub(crate) fn new(
        session: &'a Session,
        record: &'a Record,
        changes: Option<&'a HeaderChanges>,
    ) -> Self {
        let date_ms = Some(session.worker.context.clock.coarse_unix_ms());
        let hsts_line = session.server.hsts_line.as_deref();
        Self { record: Some(record), date_ms, hsts_line, changes }
    }

    /// Whether a policy has the field of that name not come from us.
    pub(crate) fn drops(&self, name: &[u8]) -> bool {
        self.changes.is_some_and(|changes| changes.drops(name))
    }

    /// The same for a member's response, which has no record of ours in it.
    pub(crate) fn of_response(session: &'a Session, changes: Option<&'a HeaderChanges>) -> Self {
        let hsts_line = session.server.hsts_line.as_deref();
        Self { record: None, date_ms: None, hsts_line, changes }
    }

    /// Whether there may be anything in the place of what a member says.
    pub(crate) fn replaces_any(&self) -> bool {
        self.hsts_line.is_some() || self.changes.is_some()
    }

    /// Whether a member's field of that name goes.
    pub(crate) fn replaces(&self, name: &[u8]) -> bool {
        self.drops(name) || (self.hsts_line.is_some() && name.eq_ignore_ascii_case(HSTS))
    }

    /// Writes `X-Request-ID`, if there is an identifier.
    pub(crate) fn write_request_id(&self, output: &mut Buffer) {
        if let Some(record) = self.record
            && !self.drops(b"x-request-id")
        {
            record.write_request_id(output);
        }
    }

    /// Writes what policies and the virtual server add, and the date of an answer of ours (RFC 9110
    /// §6.6.1).
    pub(crate) fn write(&self, output: &mut Buffer) {
        if let Some(date_ms) = self.date_ms
            && !self.drops(b"date")
        {
            push_date(output, date_ms);
        }
        if let Some(line) = self.hsts_line
            && !self.drops(HSTS)
        {
            output.push(line);
        }
        if let Some(changes) = self.changes {
            changes.write(output);
        }
    }
}

fn push_date(output: &mut Buffer, unix_ms: u64) {
    let date = HttpDate::from(UNIX_EPOCH + Duration::from_millis(unix_ms));
    let mut text = [0; DATE_BYTES];
    // Every date until the year 9999 is as long.
    if write!(&mut text[..], "{date}").is_ok() {
        output.push(b"Date: ");
        output.push(&text);
        output.push(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_http_has_them() {
        for (unix_ms, text) in [
            (784_111_777_000, "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
            (1_709_164_799_999, "Date: Wed, 28 Feb 2024 23:59:59 GMT\r\n"),
            (0, "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"),
        ] {
            let mut output = Buffer::default();
            push_date(&mut output, unix_ms);
            assert_eq!(output.data(), text.as_bytes());
        }
    }
}
