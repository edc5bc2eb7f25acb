//! Reading and writing resources, typed by their spec.

use ballast_model::api::{NewToken, Page};
use ballast_model::{Draft, Kind, Resource, Spec, TokenSpec};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::ClientError;
use crate::options::{ListQuery, WriteOptions, Written};
use crate::transport::{Client, Request};

/// Largest page that the server gives.
const PAGE_MAX_COUNT: u32 = 500;

impl Client {
    /// The resource called `name`.
    ///
    /// # Errors
    /// Where there is none (`not_found`), or the call fails.
    pub async fn get<S: Spec>(&self, name: &str) -> Result<Resource<S>, ClientError> {
        self.send(&Request::api(Method::GET, [S::KIND.plural(), name])).await?.json()
    }

    /// The resource called `name`, if there is one.
    ///
    /// # Errors
    /// Where the call fails.
    pub async fn find<S: Spec>(&self, name: &str) -> Result<Option<Resource<S>>, ClientError> {
        match self.get(name).await {
            Err(error) if error.code() == Some("not_found") => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// One page of the resources of a kind.
    ///
    /// # Errors
    /// Where the call fails.
    pub async fn list<S: Spec>(&self, query: &ListQuery) -> Result<Page<Resource<S>>, ClientError> {
        self.list_as(S::KIND, query).await
    }

    /// All resources of a kind, by name.
    ///
    /// # Errors
    /// Where a call fails.
    pub async fn list_all<S: Spec>(&self) -> Result<Vec<Resource<S>>, ClientError> {
        self.list_all_as(S::KIND, ListQuery::default()).await
    }

    /// Creates or replaces a resource.
    ///
    /// # Errors
    /// Where the server refuses, or the call fails.
    pub async fn put<S: Spec>(
        &self,
        draft: &Draft<S>,
        options: &WriteOptions,
    ) -> Result<Written<Resource<S>>, ClientError> {
        self.put_as(S::KIND, &draft.name, draft, options).await?.written()
    }

    /// Makes a token: the answer alone has its secret.
    ///
    /// # Errors
    /// Where the server refuses, or the call fails.
    pub async fn create_token(
        &self,
        draft: &Draft<TokenSpec>,
        options: &WriteOptions,
    ) -> Result<Written<NewToken>, ClientError> {
        let request = Request::api(Method::POST, [Kind::Token.plural()]).json(draft)?;
        self.send(&request.options(options)).await?.written()
    }

    /// Changes part of a resource: a JSON merge patch (RFC 7396) of its document.
    ///
    /// # Errors
    /// Where the server refuses, or the call fails.
    pub async fn patch<S: Spec>(
        &self,
        name: &str,
        patch: &Value,
        options: &WriteOptions,
    ) -> Result<Written<Resource<S>>, ClientError> {
        let request = Request::api(Method::PATCH, [S::KIND.plural(), name]).merge_patch(patch)?;
        self.send(&request.options(options)).await?.written()
    }

    /// Deletes a resource (for a node: removes it from the cluster for good).
    ///
    /// # Errors
    /// Where others name it (`referenced`, with the referrers), or the call fails.
    pub async fn delete(
        &self,
        kind: Kind,
        name: &str,
        options: &WriteOptions,
    ) -> Result<Written<()>, ClientError> {
        let request = Request::api(Method::DELETE, [kind.plural(), name]).options(options);
        Ok(self.send(&request).await?.written_as(()))
    }

    /// The resource of that kind and name, as JSON.
    ///
    /// # Errors
    /// Where there is none (`not_found`), or the call fails.
    pub async fn get_value(&self, kind: Kind, name: &str) -> Result<Value, ClientError> {
        self.send(&Request::api(Method::GET, [kind.plural(), name])).await?.json()
    }

    /// Every resource of that kind that `query` matches, as JSON.
    ///
    /// # Errors
    /// Where a call fails.
    pub async fn list_values(
        &self,
        kind: Kind,
        query: ListQuery,
    ) -> Result<Vec<Value>, ClientError> {
        self.list_all_as(kind, query).await
    }

    /// Creates or replaces a resource from its document.
    ///
    /// # Errors
    /// Where the server refuses, or the call fails.
    pub async fn put_value(
        &self,
        kind: Kind,
        name: &str,
        document: &Value,
        options: &WriteOptions,
    ) -> Result<Written<Value>, ClientError> {
        self.put_as(kind, name, document, options).await?.written()
    }

    async fn put_as(
        &self,
        kind: Kind,
        name: &str,
        document: &impl serde::Serialize,
        options: &WriteOptions,
    ) -> Result<crate::transport::Answer, ClientError> {
        let request = Request::api(Method::PUT, [kind.plural(), name]).json(document)?;
        self.send(&request.options(options)).await
    }

    async fn list_as<T: DeserializeOwned>(
        &self,
        kind: Kind,
        query: &ListQuery,
    ) -> Result<Page<T>, ClientError> {
        let request = Request::api(Method::GET, [kind.plural()]).queries(query.pairs());
        self.send(&request).await?.json()
    }

    async fn list_all_as<T: DeserializeOwned>(
        &self,
        kind: Kind,
        mut query: ListQuery,
    ) -> Result<Vec<T>, ClientError> {
        query.limit = query.limit.or(Some(PAGE_MAX_COUNT));
        let mut items = Vec::new();
        loop {
            let page = self.list_as(kind, &query).await?;
            items.extend(page.items);
            match page.next_cursor {
                Some(cursor) => query.cursor = Some(cursor),
                None => return Ok(items),
            }
        }
    }
}
