//! Whole configurations: plan, apply, export.

use ballast_model::api::ApplyReport;
use ballast_model::{Declaration, Plan, PlanOptions};
use reqwest::Method;
use serde::Serialize;

use crate::error::ClientError;
use crate::options::{WriteOptions, Written};
use crate::transport::{Client, Request};

impl Client {
    /// What making `declaration` would change. Any JSON document will do: the server says what is
    /// wrong with it.
    ///
    /// # Errors
    /// Where the declaration can't be made, or the call fails.
    pub async fn plan(
        &self,
        declaration: &impl Serialize,
        options: &PlanOptions,
    ) -> Result<Plan, ClientError> {
        let request = Request::api(Method::POST, ["plan"]).queries(pairs(options));
        self.send(&request.json(declaration)?).await?.json()
    }

    /// Makes `declaration`, all of it or nothing. Writes nothing where nothing changes.
    ///
    /// # Errors
    /// Where the declaration can't be made, or the call fails.
    pub async fn apply(
        &self,
        declaration: &impl Serialize,
        plan: &PlanOptions,
        options: &WriteOptions,
    ) -> Result<Written<ApplyReport>, ClientError> {
        let request = Request::api(Method::POST, ["apply"]).queries(pairs(plan)).options(options);
        self.send(&request.json(declaration)?).await?.written()
    }

    /// The present configuration, without secrets, as it can be applied again.
    ///
    /// # Errors
    /// Where the call fails.
    pub async fn export(&self) -> Result<Declaration, ClientError> {
        self.send(&Request::api(Method::GET, ["export"])).await?.json()
    }
}

fn pairs(options: &PlanOptions) -> Vec<(&'static str, String)> {
    let mut pairs = Vec::new();
    if options.prune {
        pairs.push(("prune", "true".to_owned()));
    }
    pairs.extend(options.label.iter().map(|(key, value)| ("label", format!("{key}={value}"))));
    pairs
}
