//! What a member answers, on its way to the client: its head understood, written anew, and what the
//! virtual server adds.
//!
//! Invariant: a head is passed on whole or not at all.

use ballast_balance::CookieCodec;
use ballast_model::{HttpSettings, Protocol};
use ballast_telemetry::FailureReason;

use crate::buffer::Buffer;
use crate::codec::framing::BodyLength;
use crate::codec::request::RequestHead;
use crate::codec::response::ResponseHead;
use crate::codec::trailer;
use crate::connection::Session;
use crate::failure::Failure;
use crate::forward::{self, ResponsePlan};
use crate::own::OwnFields;
use crate::peer::Stream;
use crate::persistence;
use crate::policy::Routing;
use crate::pump::Frames;
use crate::record::Record;
use crate::relay::{AttemptError, Relay};
use crate::retry;

/// Understands the response head of that length at the front of the member's input and writes the
/// one that the client gets. No `await`: the fields are in the worker's scratch space.
pub(super) fn pass_head<'a, S: Stream>(
    session: &'a Session,
    request: &RequestHead,
    routing: Option<&Routing<'a>>,
    record: &mut Record,
    relay: &mut Relay<'_, S>,
    length: usize,
    field_count: usize,
) -> Result<(ResponseHead, ResponsePlan), AttemptError> {
    let fields = &mut *session.worker.fields.borrow_mut();
    let raw = &relay.member.input.data()[..length];
    let parsed =
        ResponseHead::parse(raw, field_count, request.method, request.upgrade.is_some(), fields);
    let response = parsed.map_err(|_| FailureReason::UpstreamProtocol)?;
    if response.status >= 500 && retry::allows_status(session, record, relay, response.status) {
        let reason = FailureReason::UpstreamStatus;
        return Err(AttemptError::Retry(Failure { reason, status: response.status }));
    }
    let plan = plan_response(session, request, &response, relay.is_sent());
    let output = &mut relay.client.output;
    output.acquire(&session.worker.buffers);
    let is_passed_on = match response.status {
        100 => request.expects_continue,
        101..200 => !request.is_http_10,
        _ => true,
    };
    if is_passed_on {
        let own = match response.is_interim() {
            true => OwnFields::default(),
            false => {
                let changes = routing.map(|routing| &routing.response);
                OwnFields::of_response(session, changes, response.has_date)
            }
        };
        forward::write_response(output, raw, &response, fields, plan, own);
        if !response.is_interim() {
            write_persistence(output, session, routing, record);
            let setting = persistence::setting(session, routing);
            persistence::learn(session, setting, record.chosen.as_ref(), raw, fields);
            record.describe_response(session, raw, fields);
            if request.is_grpc {
                // Where there is no content, it stands here ("Trailers-Only" of gRPC over HTTP/2).
                let all = fields.iter().map(|field| (field.name_of(raw), field.value.of_head(raw)));
                record.grpc_status = trailer::grpc_status(all);
            }
            if plan.tells_request_id {
                record.write_request_id(output);
            }
        }
        output.push(b"\r\n");
    }
    relay.member.input.consume(length);
    relay.has_answered = true;
    Ok((response, plan))
}

fn plan_response(
    session: &Session,
    request: &RequestHead,
    response: &ResponseHead,
    is_sent: bool,
) -> ResponsePlan {
    let needs_chunks = matches!(response.body, BodyLength::Chunked | BodyLength::UntilClose);
    // A response that is no success does not wait for a body that is still coming: the connection ends.
    let is_rejection = response.status >= 300 && !is_sent;
    ResponsePlan {
        frames: if needs_chunks && !request.is_http_10 { Frames::Chunked } else { Frames::Plain },
        has_body: response.body != BodyLength::None,
        keeps_alive: may_keep_alive(session, request)
            && !is_rejection
            && !(needs_chunks && request.is_http_10),
        is_http_10: request.is_http_10,
        tells_request_id: session.server.http.request_id.to_client && !response.is_interim(),
    }
}

/// Whether a client may change to that protocol.
pub(super) fn may_upgrade(http: &HttpSettings, protocol: &[u8]) -> bool {
    http.upgrades.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(protocol))
}

/// Whether client and virtual server both want another request on this connection.
pub(super) fn may_keep_alive(session: &Session, request: &RequestHead) -> bool {
    request.keeps_alive() && !session.ticket.is_ending() && session.is_wanted()
}

fn write_persistence<'a>(
    output: &mut Buffer,
    session: &'a Session,
    routing: Option<&Routing<'a>>,
    record: &Record,
) {
    if let (Some(cookie), Some(chosen)) = (persistence::cookie(session, routing), &record.chosen)
        && !chosen.is_persistent
    {
        let value = CookieCodec::encode(chosen.member.key);
        let is_secure = session.server.protocol == Protocol::Https;
        forward::write_set_cookie(output, cookie, &value, is_secure);
    }
}
