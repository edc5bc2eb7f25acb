//! The cluster and its nodes.

use ballast_model::Kind;
use ballast_model::NodeRole;
use ballast_model::api::{ClusterInfo, JoinTokenInfo, JoinTokenRequest};
use ballast_model::status::{ClusterStatus, NodeStatus};
use reqwest::Method;

use crate::error::ClientError;
use crate::options::{WriteOptions, Written};
use crate::transport::{Client, Request};

impl Client {
    /// What all nodes report, and everything that is not as it should be.
    ///
    /// # Errors
    /// Where the call fails.
    pub async fn status(&self) -> Result<ClusterStatus, ClientError> {
        self.send(&Request::api(Method::GET, ["status"])).await?.json()
    }

    /// What the node that answers reports of itself.
    ///
    /// # Errors
    /// Where the call fails.
    pub async fn node_status(&self) -> Result<NodeStatus, ClientError> {
        self.send(&Request::api(Method::GET, ["status", "local"])).await?.json()
    }

    /// What the cluster knows of itself.
    ///
    /// # Errors
    /// Where the call fails.
    pub async fn cluster(&self) -> Result<ClusterInfo, ClientError> {
        self.send(&Request::api(Method::GET, ["cluster"])).await?.json()
    }

    /// Leave for one more node to join, shown once.
    ///
    /// # Errors
    /// Where the call fails.
    pub async fn create_join_token(&self, role: NodeRole) -> Result<JoinTokenInfo, ClientError> {
        let request = Request::api(Method::POST, ["cluster", "join-tokens"]);
        self.send(&request.json(&JoinTokenRequest { role })?).await?.json()
    }

    /// Takes a node out for good.
    ///
    /// # Errors
    /// Where there is none of that name, or the call fails.
    pub async fn remove_node(&self, name: &str) -> Result<Written<()>, ClientError> {
        self.delete(Kind::Node, name, &WriteOptions::new()).await
    }

    /// Prometheus metrics of the node that answers, as text.
    ///
    /// # Errors
    /// Where the call fails.
    pub async fn metrics(&self) -> Result<String, ClientError> {
        let answer = self.send(&Request::root(Method::GET, "metrics")).await?;
        String::from_utf8(answer.body).map_err(|error| ClientError::Decode {
            context: "the metrics".to_owned(),
            why: error.to_string(),
        })
    }

    /// Whether the node that answers is up and carries the configuration out. Needs no session.
    ///
    /// # Errors
    /// Where it does not answer, or says why it is not ready (`not_ready`).
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.send(&Request::root(Method::GET, "readyz")).await.map(drop)
    }
}
