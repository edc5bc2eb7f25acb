//! What answers of our own carry besides what they are about.
//!
//! Invariant: a field that a policy sets or removes is not written by us as well.

use std::cell::Cell;
use std::io::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use httpdate::HttpDate;

use crate::buffer::Buffer;
use crate::connection::Session;
use crate::policy::HeaderChanges;
use crate::record::Record;

/// The field by which clients are told to come with TLS only.
const HSTS: &[u8] = b"strict-transport-security";

/// The line of a date, as long as every other until the year 9999 (RFC 9110 §5.6.7).
type DateText = [u8; b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n".len()];

/// The `Date` of this second, written once for all answers of a worker.
#[derive(Debug, Default)]
pub(crate) struct DateLine {
    /// Seconds since the Unix epoch, and the line; none before the first.
    written: Cell<Option<(u64, DateText)>>,
}

impl DateLine {
    /// The line at that time, since the Unix epoch.
    fn at(&self, unix_ms: u64) -> DateText {
        let now_s = unix_ms / 1_000;
        match self.written.get() {
            Some((written_s, text)) if written_s == now_s => text,
            _ => self.rewrite(now_s),
        }
    }

    #[cold]
    fn rewrite(&self, now_s: u64) -> DateText {
        let date = HttpDate::from(UNIX_EPOCH + Duration::from_secs(now_s));
        let mut text = *b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
        // Every date until the year 9999 is as long.
        let _ = write!(&mut text[..], "Date: {date}\r\n");
        self.written.set(Some((now_s, text)));
        text
    }
}

/// The fields that every answer of ours has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OwnFields<'a> {
    record: Option<&'a Record>,
    /// The worker's date, where the answer has none.
    date: Option<(&'a DateLine, u64)>,
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
        let hsts_line = session.server.hsts_line.as_deref();
        Self { record: Some(record), date: Some(date_of(session)), hsts_line, changes }
    }

    /// Whether a policy has the field of that name not come from us.
    pub(crate) fn drops(&self, name: &[u8]) -> bool {
        self.changes.is_some_and(|changes| changes.drops(name))
    }

    /// The same for a member's final response, which has no record of ours in it. Whoever passes one on
    /// that has no date adds it (RFC 9110 §6.6.1).
    pub(crate) fn of_response(
        session: &'a Session,
        changes: Option<&'a HeaderChanges>,
        has_date: bool,
    ) -> Self {
        let hsts_line = session.server.hsts_line.as_deref();
        let date = if has_date { None } else { Some(date_of(session)) };
        Self { record: None, date, hsts_line, changes }
    }

    /// Whether there may be anything in the place of what a member says.
    pub(crate) fn replaces_any(&self) -> bool {
        self.hsts_line.is_some() || self.changes.is_some()
    }

    /// Whether there is anything to [`write`](Self::write).
    pub(crate) fn adds_any(&self) -> bool {
        self.replaces_any() || self.date.is_some()
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

    /// Writes what policies and the virtual server add, and the date where there is none yet.
    pub(crate) fn write(&self, output: &mut Buffer) {
        if let Some((line, unix_ms)) = self.date
            && !self.drops(b"date")
        {
            output.push(&line.at(unix_ms));
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

fn date_of(session: &Session) -> (&DateLine, u64) {
    (&session.worker.date, session.worker.context.clock.coarse_unix_ms())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_http_has_them() {
        let line = DateLine::default();
        for (unix_ms, text) in [
            (784_111_777_000, "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
            (784_111_777_999, "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
            (784_111_778_000, "Date: Sun, 06 Nov 1994 08:49:38 GMT\r\n"),
            (1_709_164_799_999, "Date: Wed, 28 Feb 2024 23:59:59 GMT\r\n"),
            (253_402_300_799_000, "Date: Fri, 31 Dec 9999 23:59:59 GMT\r\n"),
            (0, "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"),
        ] {
            assert_eq!(line.at(unix_ms), text.as_bytes());
        }
    }
}
