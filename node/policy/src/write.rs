//! Targets of redirects and rewrites.

use ballast_model::spec::policy::{self as spec, PathRewrite, QueryRewrite, Scheme};
use regex::bytes::Regex;

use crate::compile::{self, CompileError};
use crate::condition::{is_below, prefix_key};
use crate::request::{RequestView, Subject};
use crate::template::{self, Place, Template};

/// A compiled redirect.
#[derive(Debug)]
pub struct Redirect {
    pub(crate) status: u16,
    scheme: Option<Scheme>,
    host: Option<Template>,
    port: Option<u16>,
    path: Option<NewPath>,
    query: NewQuery,
}

/// A compiled rewrite.
#[derive(Debug)]
pub(crate) struct Rewrite {
    pub(crate) host: Option<Template>,
    pub(crate) path: Option<NewPath>,
    pub(crate) query: NewQuery,
}

#[derive(Debug)]
pub(crate) enum NewPath {
    Set(Template),
    /// Both without a slash at their end.
    Prefix {
        from: Box<[u8]>,
        to: Box<[u8]>,
    },
    Regex {
        pattern: Regex,
        to: Template,
    },
}

#[derive(Debug)]
pub(crate) enum NewQuery {
    Keep,
    Drop,
    Set(Template),
}

impl Redirect {
    pub(crate) fn compile(redirect: &spec::Redirect) -> Result<Self, CompileError> {
        Ok(Self {
            status: redirect.status,
            scheme: redirect.scheme,
            host: redirect.host.as_ref().map(Template::compile).transpose()?,
            port: redirect.port,
            path: redirect.path.as_ref().map(NewPath::compile).transpose()?,
            query: NewQuery::compile(&redirect.query)?,
        })
    }

    /// Appends the value of `Location`: a whole URL where scheme, host or port change, else path and
    /// query (RFC 9110 §10.2.2).
    pub(crate) fn write<R: RequestView>(&self, subject: &Subject<'_, R>, out: &mut Vec<u8>) {
        let moves = self.scheme.is_some() || self.host.is_some() || self.port.is_some();
        if moves && (self.host.is_some() || !subject.host.is_empty()) {
            let scheme = self.scheme.unwrap_or(subject.request.scheme());
            out.extend(scheme.as_str().as_bytes());
            out.extend(b"://");
            match &self.host {
                Some(host) => host.write(subject, None, Place::Host, out),
                None => template::push(subject.host, Place::Host, out),
            }
            let usual = if scheme == Scheme::Https { 443 } else { 80 };
            if let Some(port) = self.port.filter(|port| *port != usual) {
                out.push(b':');
                out.extend(port.to_string().as_bytes());
            }
        }
        match &self.path {
            Some(path) => path.write(subject, subject.path, out),
            None => write_path(subject.path, out),
        }
        self.query.write(subject, out);
    }
}

impl Rewrite {
    pub(crate) fn compile(rewrite: &spec::Rewrite) -> Result<Self, CompileError> {
        Ok(Self {
            host: rewrite.host.as_ref().map(Template::compile).transpose()?,
            path: rewrite.path.as_ref().map(NewPath::compile).transpose()?,
            query: NewQuery::compile(&rewrite.query)?,
        })
    }
}

impl NewPath {
    fn compile(path: &PathRewrite) -> Result<Self, CompileError> {
        Ok(match path {
            PathRewrite::Set(path) => Self::Set(Template::compile(path)?),
            PathRewrite::Prefix(prefix) => {
                Self::Prefix { from: prefix_key(&prefix.from), to: prefix_key(&prefix.to) }
            }
            PathRewrite::Regex(regex) => Self::Regex {
                pattern: compile::regex(&regex.pattern)?,
                to: Template::compile(&regex.to)?,
            },
        })
    }

    /// Appends what becomes of the path `old`.
    pub(crate) fn write<R: RequestView>(
        &self,
        subject: &Subject<'_, R>,
        old: &[u8],
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        match self {
            Self::Set(path) => path.write(subject, None, Place::Path, out),
            Self::Prefix { from, to } if is_below(old, from) => {
                template::push(to, Place::Path, out);
                template::push(&old[from.len()..], Place::Path, out);
            }
            Self::Prefix { .. } => template::push(old, Place::Path, out),
            Self::Regex { pattern, to } => match pattern.captures(old) {
                Some(captures) => {
                    // Group 0, the whole match, is always there.
                    let found = captures.get(0).map_or(0..0, |found| found.range());
                    template::push(&old[..found.start], Place::Path, out);
                    to.write(subject, Some(&captures), Place::Path, out);
                    template::push(&old[found.end..], Place::Path, out);
                }
                None => template::push(old, Place::Path, out),
            },
        }
        root(start, out);
    }
}

/// Appends a path that stays, with one slash in front.
pub(crate) fn write_path(path: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    template::push(path, Place::Path, out);
    root(start, out);
}

/// Gives the path that starts at `start` exactly one slash in front: two would make a host of what
/// follows (RFC 3986 §4.2), and send the client to wherever it says.
fn root(start: usize, out: &mut Vec<u8>) {
    let slash_count = out[start..].iter().take_while(|b| **b == b'/').count();
    match slash_count {
        0 => out.insert(start, b'/'),
        1 => {}
        _ => drop(out.drain(start + 1..start + slash_count)),
    }
}

impl NewQuery {
    fn compile(query: &QueryRewrite) -> Result<Self, CompileError> {
        Ok(match query {
            QueryRewrite::Keep => Self::Keep,
            QueryRewrite::Drop => Self::Drop,
            QueryRewrite::Set(query) => Self::Set(Template::compile(query)?),
        })
    }

    /// Appends the query with its `?`; of an empty one that was set, nothing.
    pub(crate) fn write<R: RequestView>(&self, subject: &Subject<'_, R>, out: &mut Vec<u8>) {
        match self {
            Self::Keep => {
                if let Some(query) = subject.request.query() {
                    out.push(b'?');
                    template::push(query, Place::Query, out);
                }
            }
            Self::Drop => {}
            Self::Set(query) => {
                let start = out.len();
                out.push(b'?');
                query.write(subject, None, Place::Query, out);
                if out.len() == start + 1 {
                    out.truncate(start);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
