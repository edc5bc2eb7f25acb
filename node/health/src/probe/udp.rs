//! The UDP exchange of a probe: one datagram out, and what comes back.
//!
//! Invariant: the socket is connected, so that nothing but the member's answer, or word of ICMP about
//! the probe itself, is heard; of an answer at most [`ANSWER_MAX_BYTES`] are looked at.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use ballast_model::UdpProbe;
use regex::bytes::{Regex, RegexBuilder};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::{Fault, connect_facts, elapsed};

/// As much of an answer as is looked at.
pub(super) const ANSWER_MAX_BYTES: usize = 4 * 1024;
/// Largest compiled expression.
const REGEX_MAX_BYTES: usize = 1024 * 1024;
/// Expressions that a thread keeps compiled.
const REGEX_MAX_COUNT: usize = 64;
/// How much of an answer is told.
const SHOWN_MAX_BYTES: usize = 32;

/// Sends the datagram and judges the answer, or the silence `until` then; a sentence if it is good.
pub(super) async fn exchange(
    address: SocketAddr,
    settings: &UdpProbe,
    begin: Instant,
    until: Instant,
) -> Result<String, Fault> {
    let payload = settings.payload();
    let payload = payload.map_err(|why| Fault::Answer(format!("the monitor's send_hex {why}")))?;
    let local: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local).await.map_err(Fault::Connect)?;
    socket.connect(address).await.map_err(Fault::Connect)?;
    socket.send(&payload).await.map_err(|error| unreachable(address, &error, begin))?;
    let mut answer = vec![0; ANSWER_MAX_BYTES];
    let count = match timeout_at(until, socket.recv(&mut answer)).await {
        Ok(received) => received.map_err(|error| unreachable(address, &error, begin))?,
        Err(_elapsed) if settings.answer_required => {
            let facts = format!("no answer from {address} by UDP after {}", elapsed(begin));
            return Err(Fault::Answer(facts));
        }
        Err(_elapsed) => {
            return Ok(format!(
                "neither an answer nor word of a fault (ICMP) from {address} after {}, which is taken \
                 as good",
                elapsed(begin)
            ));
        }
    };
    let answer = &answer[..count];
    let took = elapsed(begin);
    if let Some(pattern) = &settings.expect
        && !matches(pattern, answer).map_err(Fault::Answer)?
    {
        let shown = answer[..count.min(SHOWN_MAX_BYTES)].escape_ascii();
        return Err(Fault::Answer(format!(
            "UDP answer of {count} bytes after {took} does not match {pattern:?}: \"{shown}\""
        )));
    }
    Ok(format!("UDP answer of {count} bytes after {took}"))
}

/// What ICMP said of the probe (RFC 1122 §4.1.3.3: it is passed up to a connected socket).
fn unreachable(address: SocketAddr, error: &io::Error, begin: Instant) -> Fault {
    Fault::Answer(match error.kind() {
        io::ErrorKind::ConnectionRefused => format!(
            "nobody listens at {address} by UDP: ICMP port unreachable after {}",
            elapsed(begin)
        ),
        _ => connect_facts(address, error),
    })
}

/// Whether `pattern` is in `answer`.
fn matches(pattern: &str, answer: &[u8]) -> Result<bool, String> {
    thread_local! {
        static COMPILED: RefCell<HashMap<String, Regex>> = RefCell::default();
    }
    COMPILED.with_borrow_mut(|compiled| {
        if let Some(regex) = compiled.get(pattern) {
            return Ok(regex.is_match(answer));
        }
        let made = RegexBuilder::new(pattern).unicode(false).size_limit(REGEX_MAX_BYTES).build();
        let regex = made.map_err(|error| format!("the monitor's expect can't be used: {error}"))?;
        let is_match = regex.is_match(answer);
        if compiled.len() >= REGEX_MAX_COUNT {
            compiled.clear();
        }
        compiled.insert(pattern.to_owned(), regex);
        Ok(is_match)
    })
}
