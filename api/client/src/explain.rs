//! Why a request would get what it gets.

use ballast_model::explain::{ExplainReport, ExplainRequest};
use reqwest::Method;

use crate::error::ClientError;
use crate::transport::{Client, Request};

impl Client {
    /// What would become of a described request on the node that is asked, and why. Nothing is
    /// counted or used up by it.
    ///
    /// # Errors
    /// Where there is no such virtual server (`invalid`), the node does not serve it (`not_able`), or
    /// the call fails.
    pub async fn explain(&self, request: &ExplainRequest) -> Result<ExplainReport, ClientError> {
        let request = Request::api(Method::POST, ["explain"]).json(request)?;
        self.send(&request).await?.json()
    }
}
