//! What members are told of a client connection; made once per connection.
//!
//! Invariant: nothing here changes what a request asks for; it says who asks.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use ballast_workers::ClientIdentity;

/// Who the client is, and what it connected to.
#[derive(Clone, Debug)]
pub(crate) struct ClientFacts {
    /// The address, and lines of fields: what stands in every request but for the host, in one piece.
    text: Box<str>,
    address_bytes: usize,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// The address and port it connected to.
    pub(crate) local: SocketAddr,
    /// Whether members are told who it is.
    pub(crate) identity: ClientIdentity,
    /// The lines that say so; none where it has shown no certificate.
    pub(crate) identity_lines: Option<Rc<[u8]>>,
}

impl ClientFacts {
    /// Of a client with that address, which reached `local`.
    pub(crate) fn new(
        address: IpAddr,
        local: SocketAddr,
        scheme: &'static str,
        identity: ClientIdentity,
    ) -> Self {
        let mut text = String::with_capacity(96);
        // Writing to a String can't fail.
        let _ = write!(text, "{}", address.to_canonical());
        let address_bytes = text.len();
        let port = local.port();
        let _ = write!(text, "\r\nX-Forwarded-Proto: {scheme}\r\nX-Forwarded-Port: {port}\r\n");
        let text = text.into_boxed_str();
        Self { text, address_bytes, scheme, local, identity, identity_lines: None }
    }

    /// Its address.
    pub(crate) fn address(&self) -> &str {
        &self.text[..self.address_bytes]
    }

    /// Its address, which ends a line, and the lines that say by which scheme and at which port it
    /// asked.
    pub(crate) fn address_and_lines(&self) -> &str {
        &self.text
    }
}
