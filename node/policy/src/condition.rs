//! Compiled conditions, of the same shape as those that were declared.

use ballast_model::spec::policy::{self as spec, PathMatch};
use regex::bytes::Regex;
use rustc_hash::FxHashSet;

use crate::cidr::AddressSet;
use crate::compile::{self, CompileError, Region, Regions};
use crate::normalize;
use crate::request::{RequestView, Subject};
use crate::value::Value;

/// A compiled condition.
#[derive(Debug)]
pub(crate) enum Condition {
    Host(HostSet),
    Path(Path),
    Method(Vec<Box<[u8]>>),
    Header { name: Box<str>, value: Value },
    Cookie { name: Box<str>, value: Value },
    Query { name: Box<str>, value: Value },
    ContentType(Vec<MediaRange>),
    Source(AddressSet),
    Region(Vec<Region>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
}

/// A type, and a subtype or `*`.
type MediaRange = (Box<[u8]>, Box<[u8]>);

/// Names, and names below which all are meant.
#[derive(Debug)]
pub(crate) struct HostSet {
    exact: FxHashSet<Box<[u8]>>,
    /// Without `*`, so with the dot in front.
    suffixes: Vec<Box<[u8]>>,
}

/// A compiled [`PathMatch`].
#[derive(Debug)]
pub(crate) enum Path {
    Exact(Box<[u8]>),
    /// Without a slash at its end.
    Prefix(Box<[u8]>),
    Regex(Regex),
}

impl Condition {
    /// # Errors
    /// A regular expression or region that validation would have refused.
    pub(crate) fn compile(
        condition: &spec::Condition,
        regions: &Regions,
    ) -> Result<Self, CompileError> {
        use spec::Condition as Spec;
        let list = |list: &[Spec]| -> Result<Vec<_>, _> {
            list.iter().map(|inner| Self::compile(inner, regions)).collect()
        };
        let field = |field: &spec::FieldMatch| -> Result<_, CompileError> {
            Ok((field.name.as_str().into(), Value::compile(field)?))
        };
        Ok(match condition {
            Spec::Host(names) => Self::Host(HostSet::new(names)),
            Spec::Path(path) => Self::Path(Path::compile(path)?),
            Spec::Method(methods) => {
                Self::Method(methods.iter().map(|m| m.as_bytes().into()).collect())
            }
            Spec::Header(spec) => field(spec).map(|(name, value)| Self::Header { name, value })?,
            Spec::Cookie(spec) => field(spec).map(|(name, value)| Self::Cookie { name, value })?,
            Spec::Query(spec) => field(spec).map(|(name, value)| Self::Query { name, value })?,
            Spec::ContentType(ranges) => {
                let ranges = ranges.iter().filter_map(|range| range.split_once('/'));
                Self::ContentType(
                    ranges
                        .map(|(kind, sub)| (kind.as_bytes().into(), sub.as_bytes().into()))
                        .collect(),
                )
            }
            Spec::Source(networks) => Self::Source(AddressSet::new(networks)),
            Spec::Region(names) => Self::Region(regions.find(names)?),
            Spec::All(inner) => Self::All(list(inner)?),
            Spec::Any(inner) => Self::Any(list(inner)?),
            Spec::Not(inner) => Self::Not(Box::new(Self::compile(inner, regions)?)),
        })
    }

    /// Whether it holds for a request. `decoded` is a buffer for parts of the query.
    pub(crate) fn matches<R: RequestView>(
        &self,
        subject: &Subject<'_, R>,
        decoded: &mut Vec<u8>,
    ) -> bool {
        match self {
            Self::Host(hosts) => hosts.contains(subject.host),
            Self::Path(path) => path.matches(subject.path),
            Self::Method(methods) => methods.iter().any(|m| **m == *subject.request.method()),
            Self::Header { name, value } => {
                subject.header(name.as_bytes()).any(|found| value.matches(found))
            }
            Self::Cookie { name, value } => {
                subject.cookie(name.as_bytes()).any(|found| value.matches(found))
            }
            Self::Query { name, value } => subject
                .request
                .query()
                .is_some_and(|query| value.matches_query(query, name.as_bytes(), decoded)),
            Self::ContentType(ranges) => content_type_matches(ranges, subject),
            Self::Source(networks) => networks.contains(subject.request.source()),
            Self::Region(regions) => {
                regions.iter().any(|(_, region)| region.contains(subject.request.source()))
            }
            Self::All(list) => list.iter().all(|inner| inner.matches(subject, decoded)),
            Self::Any(list) => list.iter().any(|inner| inner.matches(subject, decoded)),
            Self::Not(inner) => !inner.matches(subject, decoded),
        }
    }
}

impl HostSet {
    fn new(names: &[String]) -> Self {
        let (mut exact, mut suffixes) = (FxHashSet::default(), Vec::new());
        for name in names {
            let name = name.to_ascii_lowercase();
            match name.strip_prefix('*') {
                Some(suffix) => suffixes.push(suffix.as_bytes().into()),
                None => _ = exact.insert(name.into_bytes().into()),
            }
        }
        Self { exact, suffixes }
    }

    fn contains(&self, host: &[u8]) -> bool {
        self.exact.contains(host)
            || self.suffixes.iter().any(|suffix| {
                // A name in front of the dot, however short.
                host.len() > suffix.len() && host.ends_with(suffix)
            })
    }
}

impl Path {
    fn compile(path: &PathMatch) -> Result<Self, CompileError> {
        Ok(match path {
            PathMatch::Exact(path) => Self::Exact(normalized(path)),
            PathMatch::Prefix(prefix) => Self::Prefix(prefix_key(prefix)),
            PathMatch::Regex(pattern) => Self::Regex(compile::regex(pattern)?),
        })
    }

    fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(wanted) => **wanted == *path,
            Self::Prefix(prefix) => is_below(path, prefix),
            Self::Regex(regex) => regex.is_match(path),
        }
    }
}

/// A declared path in the form in which paths are compared.
pub(crate) fn normalized(path: &str) -> Box<[u8]> {
    normalize::path(path.as_bytes(), &mut Vec::new()).into()
}

/// A declared prefix in the form in which [`is_below`] wants it.
pub(crate) fn prefix_key(prefix: &str) -> Box<[u8]> {
    let normalized = normalized(prefix);
    normalized.strip_suffix(b"/").unwrap_or(&normalized).into()
}

/// Whether `path` is `prefix` or continues it with whole segments; `prefix` has no slash at its end.
pub(crate) fn is_below(path: &[u8], prefix: &[u8]) -> bool {
    match path.strip_prefix(prefix) {
        Some(rest) => match rest.first() {
            Some(first) => *first == b'/',
            None => !prefix.is_empty(),
        },
        None => false,
    }
}

fn content_type_matches<R: RequestView>(ranges: &[MediaRange], subject: &Subject<'_, R>) -> bool {
    let Some(value) = subject.header(b"content-type").next() else { return false };
    let named = value.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    let Some((kind, sub)) = crate::request::split_once(named, b'/') else { return false };
    ranges.iter().any(|(wanted_kind, wanted_sub)| {
        wanted_kind.eq_ignore_ascii_case(kind)
            && (**wanted_sub == *b"*" || wanted_sub.eq_ignore_ascii_case(sub))
    })
}
