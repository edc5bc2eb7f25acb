//! High availability: who owns which traffic group, and moving it.

use ballast_model::ha::{FailoverReport, FailoverRequest, HaOverview, HaTimeline, Preview};
use ballast_model::{Availability, Kind, NodeSpec, Resource};
use reqwest::Method;

use crate::error::ClientError;
use crate::options::{HaEventsQuery, WriteOptions, Written};
use crate::transport::{Client, Request};

impl Client {
    /// Every traffic group: who owns it, who is next, and what is wrong.
    ///
    /// # Errors
    /// Where the call fails.
    pub async fn ha(&self) -> Result<HaOverview, ClientError> {
        self.send(&Request::api(Method::GET, ["ha"])).await?.json()
    }

    /// What became of traffic groups on all nodes, the newest first.
    ///
    /// # Errors
    /// Where the call fails.
    pub async fn ha_events(&self, query: &HaEventsQuery) -> Result<HaTimeline, ClientError> {
        let request = Request::api(Method::GET, ["ha", "events"]).queries(query.pairs());
        self.send(&request).await?.json()
    }

    /// Who would take what if the nodes in `down` died.
    ///
    /// # Errors
    /// Where one of them is no node (`invalid_parameter`), or the call fails.
    pub async fn ha_preview(&self, down: &[String]) -> Result<Preview, ClientError> {
        let mut request = Request::api(Method::GET, ["ha", "preview"]);
        if !down.is_empty() {
            request = request.query("down", down.join(","));
        }
        self.send(&request).await?.json()
    }

    /// Moves a traffic group to the node `to`, or to the one that would take over by itself.
    ///
    /// # Errors
    /// Where that node is not able (`not_able`), the owner does not let go (`not_moved`), there is no
    /// such group (`not_found`), or the call fails.
    pub async fn fail_over(
        &self,
        group: &str,
        to: Option<&str>,
    ) -> Result<FailoverReport, ClientError> {
        let segments = [Kind::TrafficGroup.plural(), group, "failover"];
        let request = FailoverRequest { to: to.map(str::to_owned) };
        let request = Request::api(Method::POST, segments).json(&request)?;
        self.send(&request).await?.json()
    }

    /// Moves every traffic group that a node owns to others. Groups that stay have their reason in
    /// the report.
    ///
    /// # Errors
    /// Where there is no such node (`not_found`), it does not answer (`not_able`), or the call fails.
    pub async fn standby(&self, node: &str) -> Result<FailoverReport, ClientError> {
        let request = Request::api(Method::POST, [Kind::Node.plural(), node, "standby"]);
        self.send(&request).await?.json()
    }

    /// Says whether a node may own traffic groups; answers the node.
    ///
    /// # Errors
    /// Where there is no such node (`not_found`), or the call fails.
    pub async fn set_availability(
        &self,
        node: &str,
        availability: Availability,
        options: &WriteOptions,
    ) -> Result<Written<Resource<NodeSpec>>, ClientError> {
        let segments = [Kind::Node.plural(), node, "availability", availability.as_str()];
        self.send(&Request::api(Method::POST, segments).options(options)).await?.written()
    }
}
