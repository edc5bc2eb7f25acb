//! The first message of a TLS client (RFC 8446 §4.1.2), read as far as it takes to know where the
//! connection goes.
//!
//! ```text
//!  record (5 bytes: 22, version, length) ─ fragment ─┐
//!  record ─ fragment ────────────────────────────────┴─► handshake (4 bytes: 1, length) ─ ClientHello
//!                                                          … extensions: server_name, ALPN, ECH
//! ```
//!
//! Invariant: pure; no input panics or reads beyond itself. What is no proper `ClientHello` is an
//! error, never a guess: a member might read another name in it.

/// Longest `ClientHello` that is read, record headers included, in bytes.
pub const HELLO_MAX_BYTES: usize = 16 * 1024;
const RECORD_HEADER_BYTES: usize = 5;
const HANDSHAKE_HEADER_BYTES: usize = 4;
/// RFC 8446 §5.1.
const FRAGMENT_MAX_BYTES: usize = 1 << 14;
const SERVER_NAME_MAX_BYTES: usize = 255;

/// What a client shows before anything is encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The server that it asks for, in lower case; with Encrypted Client Hello the outer name.
    pub server_name: Option<String>,
    /// The application protocols that it offers, in its order.
    pub alpn_protocols: Vec<Vec<u8>>,
    /// Whether the name that it means is encrypted (RFC 9849).
    pub has_encrypted_hello: bool,
}

/// How far a `ClientHello` has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// It is complete.
    Complete(ClientHello),
    /// All that is there belongs to one, and more must come.
    Partial,
}

/// What is no `ClientHello`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// It does not begin like TLS.
    #[error("this is no TLS handshake")]
    NotTls,
    /// It is longer than we read.
    #[error("the ClientHello is longer than {HELLO_MAX_BYTES} bytes")]
    TooLong,
    /// Lengths within it don't fit together, or what may stand once stands twice.
    #[error("the ClientHello is malformed")]
    Malformed,
    /// The server name is none.
    #[error("the server name is malformed")]
    ServerName,
}

/// Reads a `ClientHello` at the front of `bytes`.
///
/// # Errors
/// Why there is none.
pub fn parse(bytes: &[u8]) -> Result<Parsed, HelloError> {
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        if let Some(body) = complete(&message)? {
            return hello(body).map(Parsed::Complete);
        }
        if rest.is_empty() {
            break;
        }
        let is_record = rest[0] == 22 && rest.get(1).is_none_or(|major| *major == 3);
        if !is_record {
            return Err(HelloError::NotTls);
        }
        let Some(([.., high, low], fragment)) = rest.split_first_chunk::<RECORD_HEADER_BYTES>()
        else {
            break;
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        // RFC 8446 §5.1: handshake records are not empty.
        if length == 0 || length > FRAGMENT_MAX_BYTES {
            return Err(HelloError::Malformed);
        }
        let (fragment, behind) = fragment.split_at(length.min(fragment.len()));
        message.extend_from_slice(fragment);
        rest = behind;
        if fragment.len() < length {
            // What there is of it may show already that it is none.
            if let Some(body) = complete(&message)? {
                return hello(body).map(Parsed::Complete);
            }
            break;
        }
    }
    if bytes.len() >= HELLO_MAX_BYTES { Err(HelloError::TooLong) } else { Ok(Parsed::Partial) }
}

/// The body of the handshake message, once all of it is there.
fn complete(message: &[u8]) -> Result<Option<&[u8]>, HelloError> {
    if message.first().is_some_and(|kind| *kind != 1) {
        return Err(HelloError::NotTls);
    }
    let Some(([_, b2, b1, b0], body)) = message.split_first_chunk::<HANDSHAKE_HEADER_BYTES>()
    else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([0, *b2, *b1, *b0]) as usize;
    if length > HELLO_MAX_BYTES - RECORD_HEADER_BYTES - HANDSHAKE_HEADER_BYTES {
        return Err(HelloError::TooLong);
    }
    Ok(body.get(..length))
}

/// A part of a message that is read from its front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], HelloError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(HelloError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<usize, HelloError> {
        Ok(usize::from(self.take(1)?[0]))
    }

    fn u16(&mut self) -> Result<usize, HelloError> {
        let bytes = self.take(2)?;
        Ok(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
    }

    /// What a length of two bytes stands before.
    fn vector16(&mut self) -> Result<Self, HelloError> {
        let length = self.u16()?;
        Ok(Self(self.take(length)?))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn hello(body: &[u8]) -> Result<ClientHello, HelloError> {
    let mut reader = Reader(body);
    let mut hello = ClientHello::default();
    if reader.u16()? >> 8 != 3 {
        return Err(HelloError::Malformed);
    }
    let _random = reader.take(32)?;
    let session_id_length = reader.u8()?;
    if session_id_length > 32 {
        return Err(HelloError::Malformed);
    }
    let _session_id = reader.take(session_id_length)?;
    let suites = reader.vector16()?;
    if suites.is_empty() || suites.0.len() % 2 != 0 {
        return Err(HelloError::Malformed);
    }
    let compression_count = reader.u8()?;
    if compression_count == 0 {
        return Err(HelloError::Malformed);
    }
    let _compressions = reader.take(compression_count)?;
    // TLS 1.2 and before may have none (RFC 5246 §7.4.1.2).
    if reader.is_empty() {
        return Ok(hello);
    }
    let mut extensions = reader.vector16()?;
    if !reader.is_empty() {
        return Err(HelloError::Malformed);
    }
    let mut seen = [false; 3];
    while !extensions.is_empty() {
        let kind = extensions.u16()?;
        let content = extensions.vector16()?;
        // Others, those of GREASE (RFC 8701) too, are nothing to us.
        let place = match kind {
            0 => 0,
            16 => 1,
            0xfe0d => 2,
            _ => continue,
        };
        // RFC 8446 §4.2: no extension stands twice. Of two names, a member might take the other.
        if std::mem::replace(&mut seen[place], true) {
            return Err(HelloError::Malformed);
        }
        match kind {
            0 => hello.server_name = server_name(content)?,
            16 => hello.alpn_protocols = alpn(content)?,
            _ => hello.has_encrypted_hello = true,
        }
    }
    Ok(hello)
}

/// RFC 6066 §3.
fn server_name(mut content: Reader<'_>) -> Result<Option<String>, HelloError> {
    let mut list = content.vector16()?;
    if !content.is_empty() || list.is_empty() {
        return Err(HelloError::Malformed);
    }
    let mut found = None;
    while !list.is_empty() {
        let kind = list.u8()?;
        let name = list.vector16()?;
        if kind != 0 {
            continue;
        }
        if found.is_some() {
            return Err(HelloError::Malformed);
        }
        found = Some(name.0);
    }
    found.map(checked_name).transpose()
}

fn checked_name(name: &[u8]) -> Result<String, HelloError> {
    let is_right = (1..=SERVER_NAME_MAX_BYTES).contains(&name.len())
        && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && !name.starts_with(b".");
    let text = std::str::from_utf8(name).ok().filter(|_| is_right).ok_or(HelloError::ServerName)?;
    // Some clients send the root's dot, which RFC 6066 §3 leaves out.
    Ok(text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase())
}

/// RFC 7301 §3.1.
fn alpn(mut content: Reader<'_>) -> Result<Vec<Vec<u8>>, HelloError> {
    let mut list = content.vector16()?;
    if !content.is_empty() || list.is_empty() {
        return Err(HelloError::Malformed);
    }
    let mut protocols = Vec::new();
    while !list.is_empty() {
        let length = list.u8()?;
        if length == 0 {
            return Err(HelloError::Malformed);
        }
        protocols.push(list.take(length)?.to_vec());
    }
    Ok(protocols)
}

#[cfg(test)]
mod tests;
