//! When a rule matches.

use serde::{Deserialize, Serialize};

use super::cidr::Cidr;
use super::syntax;
use crate::limits::{
    POLICY_CONDITION_MAX_COUNT, POLICY_CONDITION_MAX_DEPTH, POLICY_LIST_MAX_COUNT,
    POLICY_TEXT_MAX_BYTES,
};
use crate::validate::{self, FieldErrors};

/// A condition. Written `{"host": ["example.com"]}`, `{"all": [...]}` and so on; of a list of hosts,
/// methods, types, networks or regions, one must match.
///
/// All sizes and letters are as in the field's own standard: hosts and header names without regard
/// to case, everything else with it. Regular expressions are those of RE2 without look-around and
/// back-references, search anywhere unless anchored, and see bytes; `(?i)` ignores ASCII case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(no_recursion))]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// The host, without its port: `example.com`, or `*.example.com` for every name below it, at
    /// any depth.
    Host(Vec<String>),
    /// The path, normalised: `%41` is `A`, `//` is `/`, `/a/../b` is `/b`.
    Path(PathMatch),
    /// The method, as `GET`.
    Method(Vec<String>),
    /// A header field.
    Header(FieldMatch),
    /// A cookie.
    Cookie(FieldMatch),
    /// A parameter of the query; name and value without their encoding.
    Query(FieldMatch),
    /// The media type of the request's body without its parameters: `application/json`, `text/*`.
    ContentType(Vec<String>),
    /// The client's address, by network.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    Source(Vec<Cidr>),
    /// The client's address, by the names of regions.
    Region(Vec<String>),
    /// Every one of these; of none, true.
    All(Vec<Condition>),
    /// At least one of these; of none, false.
    Any(Vec<Condition>),
    /// The contrary of this.
    Not(Box<Condition>),
}

/// What a path must be. Written `{"exact": "/login"}`, `{"prefix": "/api"}` or
/// `{"regex": "^/v[0-9]+/"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PathMatch {
    /// This path.
    Exact(String),
    /// This path and everything below: `/api` and `/api/` match `/api` and `/api/x`, not `/apix`.
    Prefix(String),
    /// One in which the expression is found.
    Regex(String),
}

/// What a header field, cookie or parameter must be; with its name alone, it must be there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct FieldMatch {
    /// Its name. Where it comes several times, one of them must match.
    pub name: String,
    /// It has this value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<String>,
    /// Its value starts so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The expression is found in its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
}

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueMatch<'a> {
    /// Anything, as long as it is there.
    Present,
    /// This.
    Equals(&'a str),
    /// Something that starts so.
    Prefix(&'a str),
    /// Something in which the expression is found.
    Regex(&'a str),
}

impl FieldMatch {
    /// The field must be there.
    pub fn present(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The field must have that value.
    pub fn equals(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { equals: Some(value.into()), ..Self::present(name) }
    }

    /// The field's value must start so.
    pub fn prefix(name: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self { prefix: Some(prefix.into()), ..Self::present(name) }
    }

    /// The expression must be found in the field's value.
    pub fn regex(name: impl Into<String>, regex: impl Into<String>) -> Self {
        Self { regex: Some(regex.into()), ..Self::present(name) }
    }

    /// What its value must be.
    pub fn value(&self) -> ValueMatch<'_> {
        match (&self.equals, &self.prefix, &self.regex) {
            (Some(value), ..) => ValueMatch::Equals(value),
            (None, Some(prefix), _) => ValueMatch::Prefix(prefix),
            (None, None, Some(regex)) => ValueMatch::Regex(regex),
            (None, None, None) => ValueMatch::Present,
        }
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let given = [&self.equals, &self.prefix, &self.regex];
        if given.iter().filter(|value| value.is_some()).count() > 1 {
            errors.here("not_allowed", "takes one of equals, prefix and regex");
        }
        for (segment, value) in [("equals", &self.equals), ("prefix", &self.prefix)] {
            if let Some(value) = value {
                errors.range(segment, value.len(), 0, POLICY_TEXT_MAX_BYTES);
            }
        }
        if let Some(regex) = &self.regex {
            syntax::regex(errors, "regex", regex);
        }
    }
}

impl Condition {
    /// Both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::All(vec![self, other])
    }

    /// The contrary.
    #[must_use]
    pub fn negated(self) -> Self {
        Self::Not(Box::new(self))
    }

    /// Shows itself and every condition in it, each with its place (a JSON pointer that starts with
    /// `at`).
    pub fn visit<'a>(&'a self, at: &str, seen: &mut impl FnMut(&str, &'a Self)) {
        self.visit_dyn(at, seen);
    }

    fn visit_dyn<'a>(&'a self, at: &str, seen: &mut dyn FnMut(&str, &'a Self)) {
        seen(at, self);
        match self {
            Self::All(list) => {
                for (i, inner) in list.iter().enumerate() {
                    inner.visit_dyn(&format!("{at}/all/{i}"), seen);
                }
            }
            Self::Any(list) => {
                for (i, inner) in list.iter().enumerate() {
                    inner.visit_dyn(&format!("{at}/any/{i}"), seen);
                }
            }
            Self::Not(inner) => inner.visit_dyn(&format!("{at}/not"), seen),
            _ => {}
        }
    }

    /// Its own regular expression, if it has one.
    pub fn regex(&self) -> Option<&str> {
        match self {
            Self::Path(PathMatch::Regex(regex)) => Some(regex),
            Self::Header(field) | Self::Cookie(field) | Self::Query(field) => {
                field.regex.as_deref()
            }
            _ => None,
        }
    }

    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        let mut count = 0;
        self.validate_nested(errors, 1, &mut count);
        if count > POLICY_CONDITION_MAX_COUNT {
            let message = format!(
                "has more than {POLICY_CONDITION_MAX_COUNT} conditions; lists of hosts, methods and \
                 networks count as one"
            );
            errors.here("out_of_range", message);
        }
    }

    fn validate_nested(&self, errors: &mut FieldErrors, depth: usize, count: &mut usize) {
        *count += 1;
        if *count > POLICY_CONDITION_MAX_COUNT {
            return;
        }
        if depth > POLICY_CONDITION_MAX_DEPTH {
            let message = format!("is nested deeper than {POLICY_CONDITION_MAX_DEPTH} levels");
            errors.here("out_of_range", message);
            return;
        }
        match self {
            Self::All(list) => inner_list(errors, "all", list, depth, count),
            Self::Any(list) => inner_list(errors, "any", list, depth, count),
            Self::Not(inner) => {
                errors.within("not", |errors| inner.validate_nested(errors, depth + 1, count));
            }
            leaf => leaf.validate_leaf(errors),
        }
    }

    fn validate_leaf(&self, errors: &mut FieldErrors) {
        match self {
            Self::Host(hosts) => list(errors, "host", hosts, syntax::host_pattern),
            Self::Path(path) => errors.within("path", |errors| path.validate(errors)),
            Self::Method(methods) => list(errors, "method", methods, syntax::method),
            Self::Header(field) => errors.within("header", |errors| {
                syntax::field_name(errors, "name", &field.name);
                field.validate(errors);
            }),
            Self::Cookie(field) => errors.within("cookie", |errors| {
                syntax::cookie_name(errors, "name", &field.name);
                field.validate(errors);
            }),
            Self::Query(field) => errors.within("query", |errors| {
                errors.range("name", field.name.len(), 1, POLICY_TEXT_MAX_BYTES);
                field.validate(errors);
            }),
            Self::ContentType(types) => {
                list(errors, "content_type", types, syntax::media_range);
            }
            Self::Source(networks) => {
                errors.range("source", networks.len(), 1, POLICY_LIST_MAX_COUNT);
            }
            Self::Region(names) => list(errors, "region", names, validate::name),
            Self::All(_) | Self::Any(_) | Self::Not(_) => {}
        }
    }
}

impl PathMatch {
    fn validate(&self, errors: &mut FieldErrors) {
        match self {
            Self::Exact(path) => syntax::path(errors, "exact", path),
            Self::Prefix(path) => syntax::path(errors, "prefix", path),
            Self::Regex(pattern) => syntax::regex(errors, "regex", pattern),
        }
    }
}

fn inner_list(
    errors: &mut FieldErrors,
    segment: &str,
    list: &[Condition],
    depth: usize,
    count: &mut usize,
) {
    errors.within(segment, |errors| {
        for (i, inner) in list.iter().enumerate() {
            if *count > POLICY_CONDITION_MAX_COUNT {
                return;
            }
            errors.within(i, |errors| inner.validate_nested(errors, depth + 1, count));
        }
    });
}

fn list(
    errors: &mut FieldErrors,
    segment: &str,
    texts: &[String],
    check: impl Fn(&mut FieldErrors, &str, &str),
) {
    errors.range(segment, texts.len(), 1, POLICY_LIST_MAX_COUNT);
    errors.within(segment, |errors| {
        for (i, text) in texts.iter().enumerate().take(POLICY_LIST_MAX_COUNT) {
            check(errors, &i.to_string(), text);
        }
    });
}
