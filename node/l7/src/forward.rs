//! Heads on their way through: what is dropped, what is added (RFC 9110 §7.6, RFC 9112 §9).
//!
//! Fields that stay are copied as they came, several lines at a time. Whatever frames the message
//! or concerns one connection only is dropped and written anew from what was understood.
//!
//! Invariant: no head leaves with a `Content-Length` or `Transfer-Encoding` that came from outside.

use ballast_balance::persistence::CookieValue;
use ballast_model::ForwardedFor;
use ballast_workers::ClientIdentity;

use crate::buffer::Buffer;
use crate::certificate;
use crate::client::ClientFacts;
use crate::codec::framing::BodyLength;
use crate::codec::head::{Field, FieldName, list};
use crate::codec::request::{Method, RequestHead};
use crate::codec::response::ResponseHead;
use crate::identity::Identity;
use crate::own::OwnFields;
use crate::persistence::CookieName;
use crate::policy::Routing;
use crate::pump::Frames;

/// How often a request may be passed on (RFC 9110 §7.6.2).
const MAX_FORWARDS: &[u8] = b"max-forwards";

/// Writes the head that a member gets.
pub(crate) fn write_request(
    output: &mut Buffer,
    raw: &[u8],
    head: &RequestHead,
    fields: &[Field],
    (client, forwarded_for): (&ClientFacts, ForwardedFor),
    routing: Option<&Routing<'_>>,
    identity: &mut Identity,
) {
    let new_host = routing.map(|routing| &*routing.host).filter(|host| !host.is_empty());
    push_request_line(output, raw, head, routing);
    if let Some(host) = new_host {
        push_field(output, b"Host", host);
    } else if !fields.iter().any(|field| field.name == FieldName::Host) {
        match head.host {
            Some(host) => push_field(output, b"Host", host.of_head(raw)),
            None => push_field(output, b"Host", client.local.to_string().as_bytes()),
        }
    }
    let nominated = Nominated::new(raw, fields, head.connection.nominates);
    let is_asked = client.identity != ClientIdentity::Unasked;
    let is_counted = head.max_forwards.is_some();
    let drops =
        |name: &[u8]| routing.is_some_and(|routing| routing.request.drops_for_applications(name));
    push_kept(output, raw, fields, |field| match field.name {
        _ if routing.is_some() && drops(field.name_of(raw)) => false,
        FieldName::Other if is_asked && certificate::is_named(field.name_of(raw)) => false,
        FieldName::Other if is_counted && field.name_of(raw).eq_ignore_ascii_case(MAX_FORWARDS) => {
            false
        }
        FieldName::Other if is_alias_of_ours(field.name_of(raw), forwarded_for, identity) => false,
        FieldName::Forwarded
        | FieldName::XForwardedFor
        | FieldName::XForwardedHost
        | FieldName::XForwardedPort
        | FieldName::XForwardedProto => {
            forwarded_for == ForwardedFor::Off && !nominated.contains(field)
        }
        FieldName::Expect => head.expects_continue,
        // A member can't do without it, whatever a client nominates.
        FieldName::Host => new_host.is_none(),
        // What it announces comes, but for what no trailer may hold.
        FieldName::Trailer => head.body == BodyLength::Chunked,
        FieldName::Cookie | FieldName::Date | FieldName::Other => !nominated.contains(field),
        FieldName::Traceparent | FieldName::Tracestate | FieldName::XRequestId => {
            identity.keeps(field.name).unwrap_or_else(|| !nominated.contains(field))
        }
        _ => false,
    });
    if forwarded_for != ForwardedFor::Off {
        push_forwarded(output, raw, head, fields, client, forwarded_for, routing.map(|_| &drops));
    }
    if client.identity == ClientIdentity::Told {
        certificate::push(output, client.identity_lines.as_deref(), drops);
    }
    if let Some(routing) = routing {
        routing.request.write(output);
    }
    identity.write(output, |name| routing.is_some() && drops(name));
    push_max_forwards(output, head);
    match head.body {
        BodyLength::Exact(length) => push_content_length(output, length),
        BodyLength::Chunked => output.push(b"Transfer-Encoding: chunked\r\n"),
        BodyLength::None | BodyLength::UntilClose => {}
    }
    push_upgrade(output, raw, head);
    output.push(b"\r\n");
}

fn push_request_line(
    output: &mut Buffer,
    raw: &[u8],
    head: &RequestHead,
    routing: Option<&Routing<'_>>,
) {
    let target = head.target.of_head(raw);
    let target = routing.map(|r| &*r.target).filter(|new| !new.is_empty()).unwrap_or(target);
    output.push(head.method_name.of_head(raw));
    output.push(b" ");
    output.push(match target {
        // RFC 9112 §3.2.4: it is the host as a whole.
        [] if head.method == Method::Options => b"*",
        [] => b"/",
        _ => target,
    });
    output.push(b" HTTP/1.1\r\n");
}

/// Whether applications take a field of that name for one that we write, so that it must not stand beside
/// ours. All that have a `-` begin with an `x`: most others leave after one comparison.
fn is_alias_of_ours(name: &[u8], forwarded_for: ForwardedFor, identity: &Identity) -> bool {
    if name.first().is_none_or(|first| first | 0x20 != b'x') {
        return false;
    }
    match FieldName::identify_alias(name) {
        Some(
            FieldName::XForwardedFor
            | FieldName::XForwardedHost
            | FieldName::XForwardedPort
            | FieldName::XForwardedProto,
        ) => forwarded_for != ForwardedFor::Off,
        Some(FieldName::XRequestId) => identity.keeps(FieldName::XRequestId).is_some(),
        _ => false,
    }
}

fn push_max_forwards(output: &mut Buffer, head: &RequestHead) {
    if let Some(left) = head.max_forwards {
        output.push(b"Max-Forwards: ");
        output.push_decimal(left.saturating_sub(1));
        output.push(b"\r\n");
    }
}

/// Asks anew for what concerns this connection only.
fn push_upgrade(output: &mut Buffer, raw: &[u8], head: &RequestHead) {
    if let Some(upgrade) = head.upgrade {
        let name = upgrade.of_head(raw);
        let is_websocket = name.eq_ignore_ascii_case(b"websocket");
        output.push(b"Connection: upgrade\r\nUpgrade: ");
        // As every member knows it.
        output.push(if is_websocket { b"websocket" } else { name });
        output.push(b"\r\n");
    } else if head.takes_trailers {
        output.push(b"Connection: te\r\nTE: trailers\r\n");
    }
}

fn push_forwarded(
    output: &mut Buffer,
    raw: &[u8],
    head: &RequestHead,
    fields: &[Field],
    client: &ClientFacts,
    forwarded_for: ForwardedFor,
    drops: Option<&impl Fn(&[u8]) -> bool>,
) {
    let drops = |name| drops.is_some_and(|drops| drops(name));
    let [drops_for, drops_proto, drops_port] =
        [&b"x-forwarded-for"[..], b"x-forwarded-proto", b"x-forwarded-port"].map(drops);
    if !drops_for {
        output.push(b"X-Forwarded-For: ");
        if forwarded_for == ForwardedFor::Append {
            // All in one field: not every application reads a second one.
            for field in fields.iter().filter(|field| field.name == FieldName::XForwardedFor) {
                let value = field.value.of_head(raw);
                if !value.is_empty() {
                    output.push(value);
                    output.push(b", ");
                }
            }
        }
    }
    if drops_for || drops_proto || drops_port {
        if !drops_for {
            output.push(client.address().as_bytes());
            output.push(b"\r\n");
        }
        if !drops_proto {
            push_field(output, b"X-Forwarded-Proto", client.scheme.as_bytes());
        }
        if !drops_port {
            output.push(b"X-Forwarded-Port: ");
            output.push_decimal(u64::from(client.local.port()));
            output.push(b"\r\n");
        }
    } else {
        output.push(client.address_and_lines().as_bytes());
    }
    if let Some(host) = head.host
        && !drops(b"x-forwarded-host")
    {
        push_field(output, b"X-Forwarded-Host", host.of_head(raw));
    }
}

/// How a response reaches its client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResponsePlan {
    /// How the client learns where the body ends.
    pub(crate) frames: Frames,
    /// Whether there is a body on its way to the client.
    pub(crate) has_body: bool,
    /// Whether the connection is kept for another request.
    pub(crate) keeps_alive: bool,
    /// Whether the client speaks HTTP/1.0.
    pub(crate) is_http_10: bool,
    /// Whether the client is told the request's identifier, whatever the member says.
    pub(crate) tells_request_id: bool,
}

/// Writes the head that the client gets, but for the empty line at its end.
pub(crate) fn write_response(
    output: &mut Buffer,
    raw: &[u8],
    head: &ResponseHead,
    fields: &[Field],
    plan: ResponsePlan,
    own: OwnFields<'_>,
) {
    let is_upgrade = head.status == 101;
    output.push(b"HTTP/1.1 ");
    output.push(head.status_text.of_head(raw));
    output.push(b"\r\n");
    let nominated = Nominated::new(raw, fields, head.connection.nominates);
    let replaces_any = own.replaces_any();
    push_kept(output, raw, fields, |field| match field.name {
        _ if replaces_any && own.replaces(field.name_of(raw)) => false,
        FieldName::Connection
        | FieldName::ContentLength
        | FieldName::KeepAlive
        | FieldName::ProxyConnection
        | FieldName::Te
        | FieldName::TransferEncoding => false,
        FieldName::Trailer => plan.has_body && plan.frames == Frames::Chunked,
        FieldName::Upgrade => is_upgrade,
        FieldName::Date => true,
        FieldName::XRequestId if plan.tells_request_id => false,
        _ => !nominated.contains(field),
    });
    if own.adds_any() {
        own.write(output);
    }
    if let Some(length) = head.content_length {
        push_content_length(output, length);
    } else if plan.has_body && plan.frames == Frames::Chunked {
        output.push(b"Transfer-Encoding: chunked\r\n");
    }
    if is_upgrade {
        output.push(b"Connection: upgrade\r\n");
    } else if head.is_interim() {
        // Says nothing of the connection: the final response will.
    } else if !plan.keeps_alive {
        output.push(b"Connection: close\r\n");
    } else if plan.is_http_10 {
        output.push(b"Connection: keep-alive\r\n");
    }
}

/// Writes the cookie by which the client finds back to its member.
pub(crate) fn write_set_cookie(
    output: &mut Buffer,
    cookie: CookieName<'_>,
    value: &CookieValue,
    is_secure: bool,
) {
    output.push(b"Set-Cookie: ");
    output.push(cookie.name.as_bytes());
    output.push(b"=");
    output.push(value.as_bytes());
    output.push(b"; Path=/; HttpOnly; SameSite=Lax");
    if cookie.ttl_s > 0 {
        output.push(b"; Max-Age=");
        output.push_decimal(cookie.ttl_s);
    }
    output.push(if is_secure { b"; Secure\r\n" } else { b"\r\n" });
}

/// Copies the lines of the fields that `keep` lets through, neighbours in one go.
fn push_kept(output: &mut Buffer, raw: &[u8], fields: &[Field], keep: impl Fn(&Field) -> bool) {
    let mut run: Option<(usize, usize)> = None;
    for field in fields {
        if keep(field) {
            let start = run.map_or(field.line.start(), |(start, _)| start);
            run = Some((start, field.end()));
        } else if let Some((start, end)) = run.take() {
            output.push(&raw[start..end]);
        }
    }
    if let Some((start, end)) = run {
        output.push(&raw[start..end]);
    }
}

/// The fields that `Connection` names as concerning this connection only.
struct Nominated<'a> {
    raw: &'a [u8],
    fields: &'a [Field],
    is_any: bool,
}

impl<'a> Nominated<'a> {
    fn new(raw: &'a [u8], fields: &'a [Field], is_any: bool) -> Self {
        Self { raw, fields, is_any }
    }

    fn contains(&self, field: &Field) -> bool {
        let name = field.name_of(self.raw);
        let is_in = |connection: &Field| {
            list(connection.value.of_head(self.raw)).any(|option| option.eq_ignore_ascii_case(name))
        };
        self.is_any && self.fields.iter().filter(|f| f.name == FieldName::Connection).any(is_in)
    }
}

fn push_field(output: &mut Buffer, name: &[u8], value: &[u8]) {
    output.push(name);
    output.push(b": ");
    output.push(value);
    output.push(b"\r\n");
}

fn push_content_length(output: &mut Buffer, length: u64) {
    output.push(b"Content-Length: ");
    output.push_decimal(length);
    output.push(b"\r\n");
}

#[cfg(test)]
mod tests;
