//! What precedes a connection's content: the PROXY protocol, and a client's first message in TLS.

use ballast_l4::client_hello::{self, Parsed as Hello};
use ballast_model::ProxyProtocolVersion;
use ballast_workers::proxy_protocol::{Announced, HEADER_MAX_BYTES, Parsed, header, parse};

use crate::cut_at;

/// A header of either version.
///
/// # Panics
/// It has another meaning when it comes in pieces, or when it is passed on.
pub fn proxy_protocol(data: &[u8]) {
    let Some((cut, input)) = cut_at(data) else { return };
    let Ok(Parsed::Complete { announced, length }) = parse(input) else { return };
    assert!(length <= input.len() && length <= HEADER_MAX_BYTES);
    if cut < length {
        assert_eq!(parse(&input[..cut]), Ok(Parsed::Partial), "part of a header is no header");
    }
    let exact = parse(&input[..length]);
    assert_eq!(exact, Ok(Parsed::Complete { announced, length }), "what follows changed it");
    let Announced::Client { source, destination } = announced else { return };
    for version in [ProxyProtocolVersion::V1, ProxyProtocolVersion::V2] {
        let passed_on = header(version, source, destination);
        let Ok(Parsed::Complete { announced: Announced::Client { source: again, .. }, length }) =
            parse(&passed_on)
        else {
            panic!("what is passed on can't be read");
        };
        assert_eq!(length, passed_on.len());
        assert_eq!(again.port(), source.port());
        assert_eq!(again.ip().to_canonical(), source.ip().to_canonical());
    }
}

/// A `ClientHello`.
///
/// # Panics
/// It has another meaning when it comes in pieces.
pub fn client_hello(data: &[u8]) {
    let Some((cut, input)) = cut_at(data) else { return };
    let whole = client_hello::parse(input);
    match client_hello::parse(&input[..cut]) {
        Ok(Hello::Partial) => {}
        early => assert_eq!(format!("{early:?}"), format!("{whole:?}"), "more bytes changed it"),
    }
    if let Ok(Hello::Complete(hello)) = whole
        && let Some(name) = hello.server_name
    {
        assert!(!name.is_empty() && name.len() <= 255, "{name:?}");
        assert_eq!(name, name.to_ascii_lowercase());
    }
}
