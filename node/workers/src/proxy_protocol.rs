//! The PROXY protocol (HAProxy's `proxy-protocol.txt`, versions 1 and 2): headers read and written.
//!
//! ```text
//!  1   PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n                         at most 107 bytes
//!  2   signature (12) · version|command · family|transport · length (2) · addresses · TLVs
//! ```
//!
//! Invariant: pure; no input panics, reads beyond itself or asks for more than [`HEADER_MAX_BYTES`].
//! What is no header in full is refused: guessing would let a client choose its address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ballast_model::ProxyProtocolVersion;

/// Longest header that is taken, in bytes. Senders that add certificates as TLVs need some of it.
pub const HEADER_MAX_BYTES: usize = 4_096;
/// Longest header of version 1, its CR LF included (§2.1).
const V1_MAX_BYTES: usize = 107;
/// §2.2.
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED_BYTES: usize = 16;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// Who the client is, and where it connected to.
    Client {
        /// The client.
        source: SocketAddr,
        /// Where it connected to.
        destination: SocketAddr,
    },
    /// The sender itself, such as a health check; or a client whose address is no IP address.
    Local,
}

/// How far a header has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// It is complete, and this long.
    Complete {
        /// What it says.
        announced: Announced,
        /// Its length, in bytes.
        length: usize,
    },
    /// All that is there belongs to a header, and more must come.
    Partial,
}

/// What is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It begins like neither version.
    #[error("this is no PROXY protocol header")]
    Signature,
    /// It is longer than we take.
    #[error("the header is longer than {HEADER_MAX_BYTES} bytes")]
    TooLong,
    /// A line that is not as §2.1 says.
    #[error("the line of version 1 is malformed")]
    Line,
    /// A version or command that is not known.
    #[error("version or command are unknown")]
    Command,
    /// Addresses of no stream, or of a family that is not known.
    #[error("the address family or transport does not fit a TCP connection")]
    Family,
    /// Less room than the addresses need, or TLVs that don't end where the header does.
    #[error("lengths within the header don't fit together")]
    Length,
}

/// Reads a header at the front of `bytes`.
///
/// # Errors
/// Why there is none.
pub fn parse(bytes: &[u8]) -> Result<Parsed, HeaderError> {
    let begins_like = |start: &[u8]| {
        let length = bytes.len().min(start.len());
        bytes[..length] == start[..length]
    };
    if begins_like(V2_SIGNATURE) {
        parse_v2(bytes)
    } else if begins_like(b"PROXY ") {
        parse_v1(bytes)
    } else {
        Err(HeaderError::Signature)
    }
}

fn parse_v1(bytes: &[u8]) -> Result<Parsed, HeaderError> {
    let within = &bytes[..bytes.len().min(V1_MAX_BYTES)];
    let Some(end) = within.windows(2).position(|two| two == b"\r\n") else {
        let is_over = bytes.len() >= V1_MAX_BYTES || within.contains(&b'\n');
        return if is_over { Err(HeaderError::Line) } else { Ok(Parsed::Partial) };
    };
    let line = std::str::from_utf8(&within[..end]).map_err(|_| HeaderError::Line)?;
    if line.contains('\n') {
        // Refused as well where the rest has not come yet: other readers would end the line there.
        return Err(HeaderError::Line);
    }
    let mut words = line.split(' ').skip(1);
    let announced = match words.next() {
        // What follows is not to be looked at.
        Some("UNKNOWN") => Announced::Local,
        Some(family @ ("TCP4" | "TCP6")) => {
            let mut word = || words.next().ok_or(HeaderError::Line);
            let (source, destination) = (word()?, word()?);
            let (source_port, destination_port) = (word()?, word()?);
            if words.next().is_some() {
                return Err(HeaderError::Line);
            }
            Announced::Client {
                source: SocketAddr::new(address(family, source)?, port(source_port)?),
                destination: SocketAddr::new(
                    address(family, destination)?,
                    port(destination_port)?,
                ),
            }
        }
        _ => return Err(HeaderError::Line),
    };
    Ok(Parsed::Complete { announced, length: end + 2 })
}

fn address(family: &str, text: &str) -> Result<IpAddr, HeaderError> {
    let address = if family == "TCP4" {
        text.parse::<Ipv4Addr>().map(IpAddr::from)
    } else {
        text.parse::<Ipv6Addr>().map(IpAddr::from)
    };
    address.map_err(|_| HeaderError::Line)
}

/// Without sign and leading zeros.
fn port(text: &str) -> Result<u16, HeaderError> {
    let is_plain =
        text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain).ok_or(HeaderError::Line)
}

fn parse_v2(bytes: &[u8]) -> Result<Parsed, HeaderError> {
    let Some(fixed) = bytes.first_chunk::<V2_FIXED_BYTES>() else { return Ok(Parsed::Partial) };
    let [.., command, family, length_high, length_low] = *fixed;
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(HeaderError::Command),
    };
    let length = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([length_high, length_low]));
    if length > HEADER_MAX_BYTES {
        return Err(HeaderError::TooLong);
    }
    let Some(rest) = bytes.get(V2_FIXED_BYTES..length) else { return Ok(Parsed::Partial) };
    let announced = if is_local {
        // Family and addresses are to be ignored (§2.2).
        Announced::Local
    } else {
        let (announced, tlvs) = v2_addresses(family, rest)?;
        check_tlvs(tlvs)?;
        announced
    };
    Ok(Parsed::Complete { announced, length })
}

/// The addresses, and what stands behind them.
fn v2_addresses(family: u8, rest: &[u8]) -> Result<(Announced, &[u8]), HeaderError> {
    match family {
        // Unspecified: nothing behind it is to be understood.
        0x00 => Ok((Announced::Local, &[])),
        0x11 => {
            let (block, tlvs) = rest.split_first_chunk::<12>().ok_or(HeaderError::Length)?;
            let [s0, s1, s2, s3, d0, d1, d2, d3, ports @ ..] = *block;
            let (source_port, destination_port) = v2_ports(ports);
            let source = SocketAddr::new([s0, s1, s2, s3].into(), source_port);
            let destination = SocketAddr::new([d0, d1, d2, d3].into(), destination_port);
            Ok((Announced::Client { source, destination }, tlvs))
        }
        0x21 => {
            let (source, rest) = rest.split_first_chunk::<16>().ok_or(HeaderError::Length)?;
            let (destination, rest) = rest.split_first_chunk::<16>().ok_or(HeaderError::Length)?;
            let (ports, tlvs) = rest.split_first_chunk::<4>().ok_or(HeaderError::Length)?;
            let (source_port, destination_port) = v2_ports(*ports);
            let source = SocketAddr::new(Ipv6Addr::from(*source).into(), source_port);
            let destination =
                SocketAddr::new(Ipv6Addr::from(*destination).into(), destination_port);
            Ok((Announced::Client { source, destination }, tlvs))
        }
        // Two paths of a UNIX socket.
        0x31 => {
            let (_paths, tlvs) = rest.split_first_chunk::<216>().ok_or(HeaderError::Length)?;
            Ok((Announced::Local, tlvs))
        }
        _ => Err(HeaderError::Family),
    }
}

fn v2_ports([s0, s1, d0, d1]: [u8; 4]) -> (u16, u16) {
    (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]))
}

/// They are skipped, but must fill the header to its end.
fn check_tlvs(mut tlvs: &[u8]) -> Result<(), HeaderError> {
    while !tlvs.is_empty() {
        let ([_kind, high, low], rest) = tlvs.split_first_chunk().ok_or(HeaderError::Length)?;
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        tlvs = rest.get(length..).ok_or(HeaderError::Length)?;
    }
    Ok(())
}

/// The header that announces a client to a member.
pub fn header(
    version: ProxyProtocolVersion,
    source: SocketAddr,
    destination: SocketAddr,
) -> Vec<u8> {
    let (source, destination) = of_one_family(source, destination);
    match version {
        ProxyProtocolVersion::V1 => {
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (source.ip(), destination.ip());
            let (from_port, to_port) = (source.port(), destination.port());
            format!("PROXY {family} {from} {to} {from_port} {to_port}\r\n").into_bytes()
        }
        ProxyProtocolVersion::V2 => {
            let mut header = V2_SIGNATURE.to_vec();
            header.push(0x21);
            match (source.ip(), destination.ip()) {
                (IpAddr::V4(from), IpAddr::V4(to)) => {
                    header.extend([0x11, 0, 12]);
                    header.extend(from.octets());
                    header.extend(to.octets());
                }
                (from, to) => {
                    header.extend([0x21, 0, 36]);
                    header.extend(as_v6(from).octets());
                    header.extend(as_v6(to).octets());
                }
            }
            header.extend(source.port().to_be_bytes());
            header.extend(destination.port().to_be_bytes());
            header
        }
    }
}

/// Both in IPv4 where they can be, otherwise both in IPv6: a header has one family.
fn of_one_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let (from, to) = (source.ip().to_canonical(), destination.ip().to_canonical());
    let (from, to) = if from.is_ipv4() == to.is_ipv4() {
        (from, to)
    } else {
        (as_v6(from).into(), as_v6(to).into())
    };
    (SocketAddr::new(from, source.port()), SocketAddr::new(to, destination.port()))
}

fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
mod tests;
