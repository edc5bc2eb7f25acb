//! What names, hosts, paths and regular expressions of a policy may be.

use std::fmt::Display;
use std::net::Ipv6Addr;

use regex_syntax::ast::{self, Ast};
use regex_syntax::hir::{self, Class, Hir, HirKind};

use crate::limits::{POLICY_REGEX_MAX_BYTES, POLICY_REGEX_MAX_COST, POLICY_TEXT_MAX_BYTES};
use crate::validate::FieldErrors;

/// Fields that belong to one connection or say where a message ends (RFC 9110 §7.6.1, RFC 9112 §6),
/// and `Host`, which `rewrite` changes. Editing them would break framing.
const UNEDITABLE_FIELDS: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Longest name of a header field or cookie, and longest method, in bytes.
const TOKEN_MAX_BYTES: usize = 128;
/// Deepest nesting of groups in a regular expression.
const REGEX_NEST_MAX_DEPTH: u32 = 50;

/// What is known of a regular expression without compiling it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Regex {
    /// Its groups, the whole match included.
    pub group_count: usize,
    /// Its size once its repetitions are written out, in bytes and byte ranges: what compiled
    /// memory and the longest search grow with.
    pub cost: usize,
}

impl Regex {
    /// Parses a pattern the way the data plane does: it sees bytes, and classes are ASCII.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(pattern: &str) -> Result<Self, String> {
        if pattern.len() > POLICY_REGEX_MAX_BYTES {
            return Err(format!("has more than {POLICY_REGEX_MAX_BYTES} bytes"));
        }
        let mut parser = ast::parse::ParserBuilder::new().nest_limit(REGEX_NEST_MAX_DEPTH).build();
        let wrong = |why: &dyn Display| format!("is no regular expression: {why}");
        let tree = parser.parse(pattern).map_err(|error| wrong(error.kind()))?;
        ast::visit(&tree, NoUnicode)?;
        let mut translator =
            hir::translate::TranslatorBuilder::new().unicode(false).utf8(false).build();
        let translated = translator.translate(pattern, &tree);
        let hir = translated.map_err(|error| wrong(error.kind()))?;
        let cost = cost(&hir);
        if cost > POLICY_REGEX_MAX_COST {
            return Err(format!(
                "is too large: {cost} with its repetitions written out, of {POLICY_REGEX_MAX_COST}"
            ));
        }
        Ok(Self { group_count: hir.properties().explicit_captures_len() + 1, cost })
    }
}

/// The size of an expression with its repetitions written out. The parser's limit on nesting bounds
/// the recursion.
fn cost(hir: &Hir) -> usize {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Class(Class::Bytes(class)) => class.ranges().len().max(1),
        // What `é|è` becomes; each range takes up to four bytes of UTF-8.
        HirKind::Class(Class::Unicode(class)) => class.ranges().len().saturating_mul(4),
        HirKind::Capture(capture) => cost(&capture.sub).saturating_add(2),
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(0).max(repetition.min).max(1) as usize;
            cost(&repetition.sub).saturating_add(1).saturating_mul(times)
        }
        HirKind::Concat(list) | HirKind::Alternation(list) => {
            list.iter().map(cost).fold(1, usize::saturating_add)
        }
    }
}

/// Refuses the flag that makes classes those of Unicode: bytes have no such classes, and their
/// tables are large.
struct NoUnicode;

impl NoUnicode {
    fn check(flags: &ast::Flags) -> Result<(), String> {
        match flags.flag_state(ast::Flag::Unicode) {
            Some(true) => Err("asks for Unicode classes, which are not known".to_owned()),
            _ => Ok(()),
        }
    }
}

impl ast::Visitor for NoUnicode {
    type Output = ();
    type Err = String;

    fn finish(self) -> Result<(), String> {
        Ok(())
    }

    fn visit_pre(&mut self, tree: &Ast) -> Result<(), String> {
        match tree {
            Ast::Flags(set) => Self::check(&set.flags),
            Ast::Group(group) => group.flags().map_or(Ok(()), Self::check),
            Ast::ClassUnicode(_) => Err("asks for Unicode classes, which are not known".to_owned()),
            _ => Ok(()),
        }
    }
}

/// Checks a regular expression.
pub(super) fn regex(errors: &mut FieldErrors, segment: &str, pattern: &str) {
    if let Err(why) = Regex::parse(pattern) {
        errors.push(segment, "invalid_regex", why);
    }
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    (1..=TOKEN_MAX_BYTES).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn token(errors: &mut FieldErrors, segment: &str, text: &str, code: &str) {
    errors.require(is_token(text), segment, code, || {
        format!("must be an RFC 9110 token of 1 to {TOKEN_MAX_BYTES} characters")
    });
}

/// Checks the name of a header field.
pub(super) fn field_name(errors: &mut FieldErrors, segment: &str, name: &str) {
    token(errors, segment, name, "invalid_header_name");
}

/// Checks the name of a cookie.
pub(super) fn cookie_name(errors: &mut FieldErrors, segment: &str, name: &str) {
    token(errors, segment, name, "invalid_cookie_name");
}

/// Checks a method.
pub(super) fn method(errors: &mut FieldErrors, segment: &str, name: &str) {
    token(errors, segment, name, "invalid_method");
}

/// Checks the name of a header field that is to be changed.
pub(super) fn editable_field(errors: &mut FieldErrors, segment: &str, name: &str) {
    field_name(errors, segment, name);
    let refused = UNEDITABLE_FIELDS.iter().any(|field| field.eq_ignore_ascii_case(name));
    errors.require(!refused, segment, "not_allowed", || {
        format!("{name} belongs to the connection or its framing and can't be changed")
    });
}

/// Checks a host, or a wildcard for all hosts below a name.
pub(super) fn host_pattern(errors: &mut FieldErrors, segment: &str, pattern: &str) {
    let name = pattern.strip_prefix("*.").unwrap_or(pattern);
    let literal = pattern.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let ok = match literal {
        Some(address) => address.parse::<Ipv6Addr>().is_ok_and(|parsed| {
            // Hosts are compared as text, so that there must be one text only (RFC 5952).
            parsed.to_string() == address
        }),
        None => is_host_name(name),
    };
    errors.require(ok, segment, "invalid_host", || {
        "must be a host name, \"*.\" and a host name, or an address (IPv6 in brackets, in its \
         shortest form); no port"
            .to_owned()
    });
}

fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// Checks a path as a pattern or a replacement.
pub(super) fn path(errors: &mut FieldErrors, segment: &str, path: &str) {
    let ok = path.starts_with('/')
        && path.len() <= POLICY_TEXT_MAX_BYTES
        && path.bytes().all(|b| b.is_ascii_graphic() && !b"?#\\\"<>^`{|}".contains(&b));
    errors.require(ok, segment, "invalid_path", || {
        format!(
            "must start with '/' and hold visible ASCII without '?', '#' and characters that URIs \
             don't have (write those as %XX), at most {POLICY_TEXT_MAX_BYTES} bytes"
        )
    });
    let climbs = path.split('/').any(|segment| segment == "." || segment == "..");
    errors.require(!climbs, segment, "invalid_path", || {
        "must not hold the segments \".\" and \"..\"; paths are compared without them".to_owned()
    });
}

/// Checks a media type without parameters, or a range of them.
pub(super) fn media_range(errors: &mut FieldErrors, segment: &str, range: &str) {
    let ok = range
        .split_once('/')
        .is_some_and(|(kind, sub)| is_token(kind) && kind != "*" && is_token(sub));
    errors.require(ok, segment, "invalid_content_type", || {
        "must be a media type without parameters, as \"application/json\" or \"text/*\"".to_owned()
    });
}

/// Whether it is a media type, parameters allowed (RFC 9110 §8.3.1), fit for a header field.
pub(super) fn is_media_type(text: &str) -> bool {
    let (named, parameters) = text.split_once(';').unwrap_or((text, ""));
    let (kind, sub) = named.trim_end().split_once('/').unwrap_or_default();
    let visible = parameters.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    text.len() <= 256 && text.trim() == text && is_token(kind) && is_token(sub) && visible
}

/// RFC 6749 §3.3.
pub(super) fn is_scope(scope: &str) -> bool {
    (1..=256).contains(&scope.len())
        && scope.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
}
