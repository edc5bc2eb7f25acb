//! Who a client is by its certificate (mutual TLS), in the words that members get.
//!
//! Invariant: whatever a certificate holds, its lines are visible ASCII and spaces, and no name in them
//! is cut: part of a name would be another name. What is too long is left out.

use std::fmt::Write as _;
use std::rc::Rc;

use aws_lc_rs::digest;
use x509_parser::asn1_rs::{Any, Tag, ToDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::x509::X509Name;

use crate::buffer::Buffer;
use crate::codec::head::is_same_to_applications;

/// Longest distinguished name, in bytes as it is written.
const DN_MAX_BYTES: usize = 1024;
/// Longest list of alternative names, in bytes as it is written.
const SAN_MAX_BYTES: usize = 2048;
/// Longest serial number, in bytes as it is in the certificate; RFC 5280 §4.1.2.2 allows 20.
const SERIAL_MAX_BYTES: usize = 32;

/// The fields that we write, in lower case.
const NAMES: [&[u8]; 7] = [
    b"x-client-fingerprint",
    b"x-client-issuer",
    b"x-client-not-after",
    b"x-client-san",
    b"x-client-serial",
    b"x-client-subject",
    b"x-client-verify",
];
/// What is said of a client without a certificate.
const NONE: &[u8] = b"X-Client-Verify: NONE\r\n";

/// Whether `name` is one of ours, or one that applications take for one of ours.
pub(crate) fn is_named(name: &[u8]) -> bool {
    NAMES.iter().any(|ours| is_same_to_applications(ours, name))
}

/// Writes the lines of a client, but for those that `drops`.
pub(crate) fn push(output: &mut Buffer, lines: Option<&[u8]>, drops: impl Fn(&[u8]) -> bool) {
    for line in lines.unwrap_or(NONE).split_inclusive(|byte| *byte == b'\n') {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        if !drops(name) {
            output.push(line);
        }
    }
}

/// The lines of a client that has shown this certificate, which was verified.
pub(crate) fn lines(leaf: &[u8]) -> Option<Rc<[u8]>> {
    let mut lines = "X-Client-Verify: SUCCESS\r\n".to_owned();
    // It was read once already, by who verified it.
    if let Ok((_, certificate)) = x509_parser::parse_x509_certificate(leaf) {
        push_line(&mut lines, "Subject", distinguished_name(certificate.subject()));
        push_line(&mut lines, "Issuer", distinguished_name(certificate.issuer()));
        push_line(&mut lines, "Serial", serial(&certificate));
        push_line(&mut lines, "SAN", alternative_names(&certificate));
        push_line(&mut lines, "Not-After", Some(not_after(&certificate)));
    }
    let fingerprint = digest::digest(&digest::SHA256, leaf);
    push_line(&mut lines, "Fingerprint", Some(hex(fingerprint.as_ref())));
    Some(lines.into_bytes().into())
}

/// Nothing where there is nothing to say.
fn push_line(lines: &mut String, name: &str, value: Option<String>) {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return };
    debug_assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~')));
    for part in ["X-Client-", name, ": ", &value, "\r\n"] {
        lines.push_str(part);
    }
}

/// RFC 4514 §2, all but visible ASCII as pairs of hexadecimal digits (§2.4).
fn distinguished_name(name: &X509Name<'_>) -> Option<String> {
    let mut text = String::new();
    let relative: Vec<_> = name.iter_rdn().collect();
    for (index, relative) in relative.into_iter().rev().enumerate() {
        for (part, attribute) in relative.iter().enumerate() {
            match (index, part) {
                (0, 0) => {}
                (_, 0) => text.push(','),
                _ => text.push('+'),
            }
            let oid = attribute.attr_type().to_id_string();
            let value = attribute.attr_value();
            match (short_name(&oid), string_of(value)) {
                (Some(name), Some(value)) => {
                    text.push_str(name);
                    text.push('=');
                    push_escaped(&mut text, &value);
                }
                (name, _) => {
                    text.push_str(name.unwrap_or(&oid));
                    text.push_str("=#");
                    text.push_str(&hex(&value.to_der_vec().ok()?));
                }
            }
            if text.len() > DN_MAX_BYTES {
                return None;
            }
        }
    }
    Some(text)
}

/// RFC 4514 §3, and two that are as usual.
fn short_name(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        "2.5.4.3" => "CN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        _ => return None,
    })
}

/// None where it is no string whose characters are known.
fn string_of(value: &Any<'_>) -> Option<String> {
    let bytes: &[u8] = value.as_bytes();
    match value.tag() {
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::Ia5String
        | Tag::NumericString
        | Tag::VisibleString => String::from_utf8(bytes.to_vec()).ok(),
        Tag::BmpString => {
            let (pairs, rest) = bytes.as_chunks::<2>();
            let units = pairs.iter().map(|pair| u16::from_be_bytes(*pair));
            let text = char::decode_utf16(units).collect::<Result<String, _>>().ok();
            text.filter(|_| rest.is_empty())
        }
        _ => None,
    }
}

fn push_escaped(text: &mut String, value: &str) {
    let last = value.len().saturating_sub(1);
    for (index, byte) in value.bytes().enumerate() {
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b'#' if index == 0 => text.push_str("\\#"),
            // As digits: recipients take spaces off the ends of a field.
            b' ' if index == 0 || index == last => text.push_str("\\20"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => push_hex(text, '\\', byte),
        }
    }
}

fn serial(certificate: &X509Certificate<'_>) -> Option<String> {
    let raw = certificate.raw_serial();
    // A leading zero makes a number positive and is no part of it.
    let start = raw.iter().position(|byte| *byte != 0).unwrap_or(raw.len().saturating_sub(1));
    Some(&raw[start..]).filter(|raw| raw.len() <= SERIAL_MAX_BYTES).map(hex)
}

/// The names of hosts, URIs and addresses of mail, as many as there is room for.
fn alternative_names(certificate: &X509Certificate<'_>) -> Option<String> {
    let extension = certificate.subject_alternative_name().ok()??;
    let mut text = String::new();
    for name in &extension.value.general_names {
        let (kind, name, is_uri) = match name {
            GeneralName::DNSName(name) => ("DNS:", name, false),
            GeneralName::URI(name) => ("URI:", name, true),
            GeneralName::RFC822Name(name) => ("email:", name, false),
            _ => continue,
        };
        let before = text.len();
        if before > 0 {
            text.push(',');
        }
        text.push_str(kind);
        for byte in name.bytes() {
            match byte {
                // A URI may hold escapes of its own, which mean the same.
                b'%' if is_uri => text.push('%'),
                b'%' | b',' => push_hex(&mut text, '%', byte),
                b'!'..=b'~' => text.push(char::from(byte)),
                _ => push_hex(&mut text, '%', byte),
            }
        }
        if text.len() > SAN_MAX_BYTES {
            text.truncate(before);
        }
    }
    Some(text)
}

/// RFC 3339, in UTC.
fn not_after(certificate: &X509Certificate<'_>) -> String {
    let time = certificate.validity().not_after.to_datetime();
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second) = time.to_hms();
    let month = u8::from(month);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn push_hex(text: &mut String, mark: char, byte: u8) {
    // Writing to a string can't fail.
    let _ = write!(text, "{mark}{byte:02X}");
}

#[cfg(test)]
mod tests;
