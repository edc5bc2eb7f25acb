//! Where a request is sent instead: redirects for the client, rewrites for the member.

use serde::{Deserialize, Serialize};

use super::syntax::{self, Regex};
use super::template::{Place, Template};
use crate::validate::FieldErrors;

/// Sends the client elsewhere. What is absent stays as it was asked for; at least one part of the
/// target must change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308 (RFC 9110 §15.4).
    #[serde(default = "default_redirect_status")]
    pub status: u16,
    /// The scheme.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Template>,
    /// The port, 1 to 65535. Absent: the scheme's own where scheme or host are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathRewrite>,
    /// The query.
    #[serde(default, skip_serializing_if = "QueryRewrite::is_keep")]
    pub query: QueryRewrite,
}

/// How the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As in URLs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Changes what the member is asked for; the client does not see it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Rewrite {
    /// The `Host` that the member gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Template>,
    /// The path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathRewrite>,
    /// The query.
    #[serde(skip_serializing_if = "QueryRewrite::is_keep")]
    pub query: QueryRewrite,
}

/// A new path. It starts with `/` whatever comes out, and bytes that a path can't have are written
/// as `%XX`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PathRewrite {
    /// This one.
    Set(Template),
    /// The old one with another beginning.
    Prefix(PrefixRewrite),
    /// The old one with the first match of a regular expression replaced.
    Regex(RegexRewrite),
}

/// Another beginning for a path. A path that does not start so stays as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PrefixRewrite {
    /// The old one, in whole segments: `/api` is the beginning of `/api` and `/api/x`, not of
    /// `/apix`.
    pub from: String,
    /// The new one; `/` takes the old one away.
    pub to: String,
}

/// A match to be replaced in a path. A path without a match stays as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RegexRewrite {
    /// What is looked for.
    pub pattern: String,
    /// What it becomes; `$1` to `$9` are the groups.
    pub to: Template,
}

/// What becomes of the query. Written `"keep"`, `"drop"` or `{"set": "a=1"}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum QueryRewrite {
    /// It stays.
    #[default]
    Keep,
    /// It goes.
    Drop,
    /// It becomes this, without the `?`.
    Set(Template),
}

impl QueryRewrite {
    /// Whether the query stays.
    pub fn is_keep(&self) -> bool {
        *self == Self::Keep
    }

    fn validate(&self, errors: &mut FieldErrors) {
        if let Self::Set(query) = self {
            errors.within("query", |errors| query.validate(errors, "set", Place::Query));
        }
    }
}

impl Redirect {
    /// A redirect with status 302 that changes nothing yet.
    pub fn new() -> Self {
        Self {
            status: default_redirect_status(),
            scheme: None,
            host: None,
            port: None,
            path: None,
            query: QueryRewrite::Keep,
        }
    }

    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        let known = [301, 302, 303, 307, 308].contains(&self.status);
        errors.require(known, "status", "out_of_range", || {
            format!("is {}; a redirect has 301, 302, 303, 307 or 308", self.status)
        });
        if let Some(host) = &self.host {
            host.validate(errors, "host", Place::Host);
        }
        if let Some(port) = self.port {
            errors.range("port", port, 1, u16::MAX);
        }
        if let Some(path) = &self.path {
            errors.within("path", |errors| path.validate(errors));
        }
        self.query.validate(errors);
        let changes = Self { status: self.status, ..Self::new() } != *self;
        if !changes {
            errors.here("required", "sends the client where it is; change a part of the target");
        }
    }
}

impl Default for Redirect {
    fn default() -> Self {
        Self::new()
    }
}

impl Rewrite {
    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        if let Some(host) = &self.host {
            host.validate(errors, "host", Place::Host);
        }
        if let Some(path) = &self.path {
            errors.within("path", |errors| path.validate(errors));
        }
        self.query.validate(errors);
    }
}

impl PathRewrite {
    /// The regular expression in it, if it has one.
    pub fn regex(&self) -> Option<&str> {
        match self {
            Self::Regex(regex) => Some(&regex.pattern),
            Self::Set(_) | Self::Prefix(_) => None,
        }
    }

    fn validate(&self, errors: &mut FieldErrors) {
        match self {
            Self::Set(path) => path.validate(errors, "set", Place::Path { group_count: 0 }),
            Self::Prefix(prefix) => errors.within("prefix", |errors| {
                syntax::path(errors, "from", &prefix.from);
                syntax::path(errors, "to", &prefix.to);
            }),
            Self::Regex(regex) => errors.within("regex", |errors| {
                syntax::regex(errors, "pattern", &regex.pattern);
                // Of a pattern that does not parse only that is said.
                let group_count = Regex::parse(&regex.pattern).map_or(10, |r| r.group_count);
                regex.to.validate(errors, "to", Place::Path { group_count });
            }),
        }
    }
}

fn default_redirect_status() -> u16 {
    302
}
