//! What answers of our own carry besides what they are about.
//!
//! Invariant: a field that a policy sets or removes is not written by us as well.

use crate::buffer::Buffer;
use crate::connection::Session;
use crate::policy::HeaderChanges;
use crate::record::Record;

/// The field by which clients are told to come with TLS only.
const HSTS: &[u8] = b"strict-transport-security";

/// The fields that every answer of ours has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OwnFields<'a> {
    record: Option<&'a Record>,
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
        Self { record: Some(record), hsts_line: session.server.hsts_line.as_deref(), changes }
    }

    /// Whether a policy has the field of that name not come from us.
    pub(crate) fn drops(&self, name: &[u8]) -> bool {
        self.changes.is_some_and(|changes| changes.drops(name))
    }

    /// The same for a member's response, which has no record of ours in it.
    pub(crate) fn of_response(session: &'a Session, changes: Option<&'a HeaderChanges>) -> Self {
        Self { record: None, hsts_line: session.server.hsts_line.as_deref(), changes }
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

    /// Writes what policies and the virtual server add.
    pub(crate) fn write(&self, output: &mut Buffer) {
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
