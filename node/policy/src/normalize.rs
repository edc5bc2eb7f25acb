//! Hosts and paths in the one form in which they are compared.
//!
//! A path that a member would take for another one must not slip past a rule by being written
//! differently. What is forwarded stays as the client wrote it, unless a rule rewrites it.

/// Longest host that is compared with anything (RFC 1035 §2.3.4 allows 253); a longer one equals
/// none.
pub const HOST_MAX_BYTES: usize = 255;

/// Writes the host of an authority (RFC 3986 §3.2) in lower case, without port and final dot.
pub fn host(authority: &[u8], buffer: &mut Vec<u8>) {
    buffer.clear();
    let host = if authority.first() == Some(&b'[') {
        let end = authority.iter().position(|b| *b == b']').map_or(authority.len(), |at| at + 1);
        &authority[..end]
    } else {
        let end = authority.iter().position(|b| *b == b':').unwrap_or(authority.len());
        let host = &authority[..end];
        host.strip_suffix(b".").unwrap_or(host)
    };
    if host.len() <= HOST_MAX_BYTES {
        buffer.extend(host.iter().map(u8::to_ascii_lowercase));
    }
}

/// The path as it is compared: octets that need no escape are written plainly (RFC 3986 §6.2.2.2),
/// the digits of other escapes in upper case (§6.2.2.1), parameters of segments are cut off (`;` and
/// what follows, §3.3: many members look at the rest alone), `.` and `..` are resolved (§5.2.4) and
/// several slashes in a row are one. What does not start with a slash stays as it is. `buffer` is
/// used where something had to change.
pub fn path<'a>(path: &'a [u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
    if path.first() != Some(&b'/') || is_plain(path) {
        return path;
    }
    buffer.clear();
    unescape(path, buffer);
    resolve(buffer);
    buffer
}

/// Whether members disagree about what the path is: one that decodes an escaped slash or backslash,
/// or takes a backslash for a slash, sees other segments than one that does not; an escaped zero ends
/// the path for some.
pub fn is_ambiguous(path: &[u8]) -> bool {
    let mut rest = path;
    while let Some(at) = rest.iter().position(|b| matches!(b, b'%' | b'\\')) {
        if rest[at] == b'\\' || matches!(escaped(&rest[at + 1..]), Some(b'/' | b'\\' | 0)) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

/// Whether nothing in it can need a change.
fn is_plain(path: &[u8]) -> bool {
    let mut previous = 0;
    path.iter().all(|b| {
        let changes = match b {
            b'%' | b';' => true,
            b'/' | b'.' => previous == b'/',
            _ => false,
        };
        previous = *b;
        !changes
    })
}

fn unescape(path: &[u8], buffer: &mut Vec<u8>) {
    let mut rest = path;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let escaped = if *first == b'%' { escaped(tail) } else { None };
        let Some(octet) = escaped else {
            buffer.push(*first);
            continue;
        };
        rest = &tail[2..];
        // RFC 3986 §2.3.
        if octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~') {
            buffer.push(octet);
        } else {
            push_escape(octet, buffer);
        }
    }
}

/// The octet whose two digits `text` starts with.
pub(crate) fn escaped(text: &[u8]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    let (high, low) = (digit(*text.first()?)?, digit(*text.get(1)?)?);
    Some((high << 4 | low) as u8)
}

/// Writes an octet as `%XX`.
pub(crate) fn push_escape(octet: u8, buffer: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| DIGITS[usize::from(nibble)];
    buffer.extend([b'%', digit(octet >> 4), digit(octet & 0xf)]);
}

/// Takes `.`, `..` and empty segments out, in place: what is written never gets ahead of what is
/// read.
fn resolve(path: &mut Vec<u8>) {
    let (mut read, mut written) = (0, 0);
    while read < path.len() {
        let start = read + 1;
        let end = path[start..].iter().position(|b| *b == b'/').map_or(path.len(), |at| start + at);
        let is_last = end == path.len();
        let bare = path[start..end].iter().position(|b| *b == b';').map_or(end, |at| start + at);
        let climbs = &path[start..bare] == b"..";
        let stays = climbs || &path[start..bare] == b"." || (start == bare && !is_last);
        if climbs {
            written = path[..written].iter().rposition(|b| *b == b'/').unwrap_or(0);
        }
        if !stays {
            path[written] = b'/';
            path.copy_within(start..bare, written + 1);
            written += 1 + bare - start;
        } else if is_last {
            path[written] = b'/';
            written += 1;
        }
        read = end;
    }
    path.truncate(written);
}

#[cfg(test)]
mod tests;
