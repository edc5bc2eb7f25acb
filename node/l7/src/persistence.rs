//! How a client finds back to its member: by a cookie of ours, or by what the pool remembers of it.
//!
//! ```text
//! request ─► find ─► member chosen ─► remember ─► response: our cookie, or learn the application's
//! ```
//! Invariant: a client is remembered with the member that its request went to last; of requests that
//! come at once, all go where the first one went, as long as that member takes them.

use ballast_balance::{CookieCodec, InFlight, Known, MemberKey, NoMember, key};
use ballast_model::Persistence;

use crate::codec::head::{Field, FieldName};
use crate::connection::Session;
use crate::policy::Routing;
use crate::upstream::{Chosen, Wanted, WorkerPool};

/// A cookie by which clients find back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CookieName<'a> {
    pub(crate) name: &'a str,
    /// `Max-Age`, in seconds; 0 makes a session cookie.
    pub(crate) ttl_s: u64,
}

/// What is known of a client.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Belonging {
    /// Its member.
    pub(crate) member: Option<MemberKey>,
    /// How the pool remembers it, if it does.
    pub(crate) known: Option<Known>,
}

/// How clients find back: as the policies say, or else the virtual server.
pub(crate) fn setting<'a>(session: &'a Session, routing: Option<&Routing<'a>>) -> &'a Persistence {
    routing.and_then(|routing| routing.persistence).unwrap_or(&session.server.persistence)
}

/// The cookie of ours by which the client finds back to its member.
pub(crate) fn cookie<'a>(
    session: &'a Session,
    routing: Option<&Routing<'a>>,
) -> Option<CookieName<'a>> {
    match setting(session, routing) {
        Persistence::Cookie { name, ttl_s } => Some(CookieName { name, ttl_s: *ttl_s }),
        _ => None,
    }
}

/// Finds out what is known of the client that sent the request whose head is `raw`.
pub(crate) fn find(
    session: &Session,
    persistence: &Persistence,
    pool: &WorkerPool,
    raw: &[u8],
    fields: &[Field],
) -> Belonging {
    let cookies = || {
        let cookies = fields.iter().filter(|field| field.name == FieldName::Cookie);
        cookies.map(|field| field.value.of_head(raw))
    };
    let value = match persistence {
        Persistence::None => return Belonging::default(),
        Persistence::Cookie { name, .. } => {
            let member = cookies().find_map(|value| CookieCodec::find(value, name.as_bytes()));
            return Belonging { member, known: None };
        }
        Persistence::Source { .. } => None,
        Persistence::Header { name, .. } => {
            let is_it = |field: &&Field| field.name_of(raw).eq_ignore_ascii_case(name.as_bytes());
            fields.iter().find(is_it).map(|field| field.value.of_head(raw))
        }
        Persistence::ApplicationCookie { name, .. } => {
            cookies().find_map(|value| key::cookie_value(value, name.as_bytes()))
        }
    };
    let now_ms = session.worker.context.clock.coarse_unix_ms();
    pool.with_table(|table| {
        let known = match value {
            Some(value) => table.hasher().by_value(persistence, value),
            None => table.hasher().by_source(persistence, session.peer.ip()),
        };
        let member = known.and_then(|known| table.remembered(known, now_ms));
        Belonging { member, known }
    })
}

/// Chooses a member and, where the pool is to remember the client, notes where it went.
pub(crate) fn choose(
    session: &Session,
    pool: &WorkerPool,
    wanted: &mut Wanted,
    tried: &[Chosen],
) -> Result<(Chosen, InFlight), NoMember> {
    let context = &session.worker.context;
    let (chosen, in_flight) = pool.choose(context, *wanted, tried)?;
    if wanted.known.is_none() || chosen.is_persistent {
        return Ok((chosen, in_flight));
    }
    if remember(session, pool, wanted, &chosen) {
        return Ok((chosen, in_flight));
    }
    // Another request of this client was a moment ahead: they go together.
    drop(in_flight);
    let (chosen, in_flight) = pool.choose(context, *wanted, tried)?;
    if !chosen.is_persistent
        && let Some(known) = wanted.known
    {
        wanted.persistent = Some(chosen.member.key);
        let now_ms = context.clock.coarse_unix_ms();
        pool.with_table(|table| table.put(known, chosen.member.key, now_ms));
    }
    Ok((chosen, in_flight))
}

/// Notes where a client went; false where it belongs elsewhere meanwhile, which `wanted` then says.
pub(crate) fn remember(
    session: &Session,
    pool: &WorkerPool,
    wanted: &mut Wanted,
    chosen: &Chosen,
) -> bool {
    let Some(known) = wanted.known else { return true };
    let (member, before) = (chosen.member.key, wanted.persistent);
    let now_ms = session.worker.context.clock.coarse_unix_ms();
    let theirs = pool.with_table(|table| table.remember(known, member, before, now_ms));
    wanted.persistent = Some(theirs.unwrap_or(member));
    theirs.is_none()
}

/// Learns which client a member has given the application's cookie to; `raw` is its response's head.
pub(crate) fn learn(
    session: &Session,
    persistence: &Persistence,
    chosen: Option<&Chosen>,
    raw: &[u8],
    fields: &[Field],
) {
    let (Persistence::ApplicationCookie { name, .. }, Some(chosen)) = (persistence, chosen) else {
        return;
    };
    let set = fields.iter().filter(|field| {
        field.name == FieldName::Other && field.name_of(raw).eq_ignore_ascii_case(b"set-cookie")
    });
    let now_ms = session.worker.context.clock.coarse_unix_ms();
    let table = chosen.pool.persistence_table();
    for field in set {
        let value = given_value(field.value.of_head(raw), name.as_bytes());
        if let Some(known) = value.and_then(|value| table.hasher().by_value(persistence, value)) {
            table.put(known, chosen.member.key, now_ms);
        }
    }
}

/// The value that a `Set-Cookie` field gives the cookie called `name` (RFC 6265 §5.2); none where it
/// deletes it.
fn given_value<'a>(field: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut parts = field.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let value = parts.next()?.strip_prefix(name)?.strip_prefix(b"=")?;
    let deletes = |attribute: &[u8]| {
        let mut sides = attribute.splitn(2, |byte| *byte == b'=').map(<[u8]>::trim_ascii);
        let is_age = sides.next().is_some_and(|side| side.eq_ignore_ascii_case(b"max-age"));
        is_age && sides.next().is_some_and(|age| age == b"0" || age.starts_with(b"-"))
    };
    (!value.is_empty() && !parts.any(deletes)).then_some(value)
}

#[cfg(test)]
mod tests;
