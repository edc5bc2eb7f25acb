//! What operators do with a pool's members.

use ballast_model::api::DrainRequest;
use ballast_model::{Kind, MemberSpec, PoolSpec, Resource};
use reqwest::Method;
use serde_json::Value;

use crate::error::ClientError;
use crate::options::{WriteOptions, Written};
use crate::transport::{Client, Request};

/// What an operator wants of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberAction {
    /// Requests of persistent sessions only.
    Disable,
    /// Requests of persistent sessions only; none at all after `deadline_s` seconds, if given.
    Drain {
        /// When the last sessions are cut, in seconds from now.
        deadline_s: Option<u64>,
    },
    /// All requests.
    Enable,
    /// No requests; tunnels and TCP connections are cut.
    ForceOffline,
}

impl MemberAction {
    /// The last segment of its URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Drain { .. } => "drain",
            Self::Enable => "enable",
            Self::ForceOffline => "force-offline",
        }
    }
}

impl Client {
    /// Enables, disables, drains or forces a member offline; answers the pool.
    ///
    /// # Errors
    /// Where there is no such member (`not_found`), or the call fails.
    pub async fn member_action(
        &self,
        pool: &str,
        member: &str,
        action: MemberAction,
        options: &WriteOptions,
    ) -> Result<Written<Resource<PoolSpec>>, ClientError> {
        let segments = [Kind::Pool.plural(), pool, "members", member, action.as_str()];
        let mut request = Request::api(Method::POST, segments);
        if let MemberAction::Drain { deadline_s } = action {
            request = request.json(&DrainRequest { deadline_s })?;
        }
        self.send(&request.options(options)).await?.written()
    }

    /// Changes part of a member (RFC 7396); answers the pool.
    ///
    /// # Errors
    /// Where there is no such member (`not_found`), or the call fails.
    pub async fn patch_member(
        &self,
        pool: &str,
        member: &str,
        patch: &Value,
        options: &WriteOptions,
    ) -> Result<Written<Resource<PoolSpec>>, ClientError> {
        let request = member_request(Method::PATCH, pool, member).merge_patch(patch)?;
        self.send(&request.options(options)).await?.written()
    }

    /// Adds a member or replaces the one of that name; answers the pool.
    ///
    /// # Errors
    /// Where the server refuses, or the call fails.
    pub async fn put_member(
        &self,
        pool: &str,
        member: &MemberSpec,
        options: &WriteOptions,
    ) -> Result<Written<Resource<PoolSpec>>, ClientError> {
        let request = member_request(Method::PUT, pool, &member.name()).json(member)?;
        self.send(&request.options(options)).await?.written()
    }

    /// Takes a member out of its pool; answers the pool.
    ///
    /// # Errors
    /// Where there is no such member (`not_found`), or the call fails.
    pub async fn delete_member(
        &self,
        pool: &str,
        member: &str,
        options: &WriteOptions,
    ) -> Result<Written<Resource<PoolSpec>>, ClientError> {
        let request = member_request(Method::DELETE, pool, member).options(options);
        self.send(&request).await?.written()
    }
}

fn member_request(method: Method, pool: &str, member: &str) -> Request {
    Request::api(method, [Kind::Pool.plural(), pool, "members", member])
}
