//! Sending clients to the same place with TLS (`http.force_https`).
//!
//! Invariant: the host of the redirect is the one that the client asked for, and no part of it comes
//! from anywhere else.

use ballast_model::ForceHttps;

use super::Answer;
use crate::codec::request::RequestHead;
use crate::connection::Session;

/// The port that goes without saying (RFC 9110 §4.2.2).
const HTTPS_PORT: u16 = 443;

/// Where a request is sent to.
pub(super) fn redirect<'a>(
    force: &ForceHttps,
    session: &Session,
    raw: &[u8],
    head: &RequestHead,
) -> Answer<'a> {
    let mut location = session.worker.take_text();
    let target = head.target.of_head(raw);
    match head.host {
        Some(host) => write_location(&mut location, host.of_head(raw), force.port, target),
        None => {
            let host = session.facts.local.to_string();
            write_location(&mut location, host.as_bytes(), force.port, target);
        }
    }
    Answer::Redirect { status: force.status, location }
}

fn write_location(location: &mut Vec<u8>, host: &[u8], port: u16, target: &[u8]) {
    location.extend_from_slice(b"https://");
    location.extend_from_slice(without_port(host));
    if port != HTTPS_PORT {
        location.push(b':');
        location.extend_from_slice(itoa::Buffer::new().format(port).as_bytes());
    }
    match target {
        [b'/', ..] => location.extend_from_slice(target),
        // A query alone, or the asterisk of OPTIONS, which no URI has.
        [b'?', ..] => {
            location.push(b'/');
            location.extend_from_slice(target);
        }
        _ => location.push(b'/'),
    }
}

/// A valid host without its port: the colons of an IPv6 address stand in brackets.
fn without_port(host: &[u8]) -> &[u8] {
    match host.iter().rposition(|b| *b == b':' || *b == b']') {
        Some(at) if host[at] == b':' => &host[..at],
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(host: &str, port: u16, target: &str) -> String {
        let mut location = Vec::new();
        write_location(&mut location, host.as_bytes(), port, target.as_bytes());
        String::from_utf8(location).unwrap()
    }

    #[test]
    fn the_way_leads_to_the_same_host_and_target() {
        for (host, port, target, expected) in [
            ("a.test", 443, "/x?y=%20", "https://a.test/x?y=%20"),
            ("a.test:8080", 443, "/", "https://a.test/"),
            ("a.test:8080", 8443, "/", "https://a.test:8443/"),
            ("[2001:db8::1]", 443, "/", "https://[2001:db8::1]/"),
            ("[2001:db8::1]:80", 8443, "//x", "https://[2001:db8::1]:8443//x"),
            ("a.test", 443, "*", "https://a.test/"),
            ("a.test", 443, "?q", "https://a.test/?q"),
            ("a.test", 443, "", "https://a.test/"),
        ] {
            assert_eq!(location(host, port, target), expected);
        }
    }
}
