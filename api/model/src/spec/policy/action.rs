//! What finally becomes of a request.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::rewrite::Redirect;
use super::syntax;
use crate::limits::{POLICY_BODY_MAX_BYTES, POLICY_SPLIT_MAX_COUNT};
use crate::validate::FieldErrors;

/// What finally becomes of a request. Written `{"pool": "web"}`, `"continue"` and so on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing yet: the rules that follow are tried. After the last, the virtual server's pool
    /// serves the request.
    #[default]
    Continue,
    /// The pool of that name serves it.
    Pool(String),
    /// One of several pools serves it, by shares.
    Split(Split),
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// The answer is given here and now.
    Respond(Respond),
}

impl Action {
    /// Whether the rules that follow are tried.
    pub fn is_continue(&self) -> bool {
        matches!(self, Self::Continue)
    }

    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        match self {
            Self::Continue => {}
            Self::Pool(name) => pool(errors, name),
            Self::Split(split) => errors.within("split", |errors| split.validate(errors)),
            Self::Redirect(redirect) => {
                errors.within("redirect", |errors| redirect.validate(errors));
            }
            Self::Respond(respond) => errors.within("respond", |errors| respond.validate(errors)),
        }
    }
}

/// Several pools, by shares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// The pools; their shares add up to 100 percent.
    pub pools: Vec<SplitPool>,
    /// By what a client always gets the same pool while the shares stay; when a share grows, clients
    /// come over from its neighbours only. Absent: drawn anew for each request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_by: Option<StableBy>,
}

/// A pool's share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SplitPool {
    /// Its name.
    pub pool: String,
    /// Its share, in percent, 0 to 100.
    pub percent: u8,
}

/// What tells clients apart. Written `"source"`, `{"cookie": "uid"}` or `{"header": "X-User"}`; a
/// request without the cookie or header goes by its source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StableBy {
    /// The client's address.
    Source,
    /// The value of the cookie of that name.
    Cookie(String),
    /// The value of the header field of that name.
    Header(String),
}

/// An answer given by the load balancer itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Respond {
    /// Status code, 200 to 599.
    pub status: u16,
    /// Media type of the body.
    #[serde(default = "default_content_type")]
    pub content_type: String,
    /// The body, at most 64 KiB; none with status 204, 205 and 304.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
}

impl Respond {
    /// An answer without a body.
    pub fn new(status: u16) -> Self {
        Self { status, content_type: default_content_type(), body: String::new() }
    }

    /// Whether answers of that status have a body at all (RFC 9110 §15.3.5, §15.3.6, §15.4.5).
    pub fn has_body(&self) -> bool {
        !matches!(self.status, 204 | 205 | 304)
    }

    fn validate(&self, errors: &mut FieldErrors) {
        errors.range("status", self.status, 200, 599);
        errors.range("body", self.body.len(), 0, POLICY_BODY_MAX_BYTES);
        errors.require(self.has_body() || self.body.is_empty(), "body", "not_allowed", || {
            format!("an answer of status {} has none", self.status)
        });
        let named = syntax::is_media_type(&self.content_type);
        errors.require(named, "content_type", "invalid_content_type", || {
            "must be a media type such as \"text/html; charset=utf-8\"".to_owned()
        });
    }
}

impl Split {
    fn validate(&self, errors: &mut FieldErrors) {
        errors.range("pools", self.pools.len(), 1, POLICY_SPLIT_MAX_COUNT);
        let mut names = BTreeSet::new();
        errors.within("pools", |errors| {
            for (i, share) in self.pools.iter().enumerate().take(POLICY_SPLIT_MAX_COUNT) {
                errors.within(i, |errors| {
                    pool(errors, &share.pool);
                    errors.range("percent", share.percent, 0, 100);
                    errors.require(names.insert(&share.pool), "pool", "duplicate", || {
                        format!("pool {} stands above", share.pool)
                    });
                });
            }
        });
        let sum: usize = self.pools.iter().map(|share| usize::from(share.percent)).sum();
        errors.require(sum == 100, "pools", "not_100_percent", || {
            format!("the shares add up to {sum} percent; they must to 100")
        });
        match &self.stable_by {
            None | Some(StableBy::Source) => {}
            Some(StableBy::Cookie(name)) => {
                errors.within("stable_by", |errors| syntax::cookie_name(errors, "cookie", name));
            }
            Some(StableBy::Header(name)) => {
                errors.within("stable_by", |errors| syntax::field_name(errors, "header", name));
            }
        }
    }
}

/// That a pool is named at all; whether it is there is a matter of references.
pub(super) fn pool(errors: &mut FieldErrors, name: &str) {
    errors.require(!name.is_empty(), "pool", "required", || "names no pool".to_owned());
}

fn default_content_type() -> String {
    "text/plain; charset=utf-8".to_owned()
}
