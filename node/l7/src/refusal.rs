//! What a client is told that is turned away before it has asked anything.
//!
//! Invariant: the answer is complete by itself and closes the connection. There is none over TLS: a
//! handshake is what a node that has too much to do can't afford, so that the connection is reset; as
//! is that of somebody who should not have connected at all.

use ballast_model::Protocol;
use ballast_telemetry::AccessRecord;
use ballast_workers::Refused;

use crate::buffer::Buffer;
use crate::codec::request::Method;
use crate::failure::Failure;
use crate::own::OwnFields;
use crate::worker::HttpWorker;

/// The answer, which is written to the access log too.
pub(crate) fn words(worker: &HttpWorker, refused: &Refused) -> Option<Vec<u8>> {
    let failure = Failure::from(refused.reason);
    let is_answered = refused.server.protocol == Protocol::Http && failure.status == 503;
    let answer = is_answered.then(|| {
        let mut output = Buffer::default();
        failure.write(&mut output, Method::Other, false, OwnFields::default());
        output.data().to_vec()
    });
    let is_logged = refused.server.http.access_log.enabled && worker.keeps_log();
    if is_logged || worker.tail.is_on() {
        let now_ms = worker.context.clock.coarse_unix_ms();
        let record = AccessRecord {
            status: if answer.is_some() { failure.status } else { 0 },
            reason: Some(refused.reason),
            sent_bytes: answer.as_ref().map_or(0, |answer| answer.len() as u64),
            ..AccessRecord::new(now_ms, &refused.server.name, refused.peer)
        };
        if is_logged {
            worker.log(&record);
        }
        if worker.tail.is_on() {
            worker.tail.offer(&record, now_ms);
        }
    }
    answer
}
