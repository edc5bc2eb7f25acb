//! Signing in and out.

use ballast_model::api::{Credentials, SessionInfo, SetupRequest, SetupState};
use reqwest::Method;

use crate::error::ClientError;
use crate::transport::{Client, Request};

impl Client {
    /// Whether the cluster waits for its first administrator. Needs no session.
    ///
    /// # Errors
    /// Where the call fails.
    pub async fn setup_state(&self) -> Result<SetupState, ClientError> {
        self.send(&Request::api(Method::GET, ["setup"])).await?.json()
    }

    /// Makes the first administrator with the one-time code, and signs in.
    ///
    /// # Errors
    /// Where the code is wrong or used (`setup_code_invalid`), or the call fails.
    pub async fn set_up(&self, setup: &SetupRequest) -> Result<SessionInfo, ClientError> {
        self.open_session(Request::api(Method::POST, ["setup"]).json(setup)?).await
    }

    /// Signs in. Natively the session then goes along with every request; [`Client::bearer`] has
    /// it.
    ///
    /// # Errors
    /// Where name or password is wrong (`credentials_invalid`), too many were wrong lately
    /// (`too_many_attempts`), or the call fails.
    pub async fn log_in(&self, username: &str, password: &str) -> Result<SessionInfo, ClientError> {
        let credentials =
            Credentials { username: username.to_owned(), password: password.to_owned() };
        self.open_session(Request::api(Method::POST, ["sessions"]).json(&credentials)?).await
    }

    /// Who is signed in. In the browser, call this first after a page is loaded: it also finds the
    /// CSRF token again.
    ///
    /// # Errors
    /// Where nobody is (`unauthenticated`), or the call fails.
    pub async fn session(&self) -> Result<SessionInfo, ClientError> {
        let request = Request::api(Method::GET, ["sessions", "current"]);
        let info: SessionInfo = self.send(&request).await?.json()?;
        self.set_csrf_token(info.csrf_token.clone());
        Ok(info)
    }

    /// Ends the session.
    ///
    /// # Errors
    /// Where the call fails.
    pub async fn log_out(&self) -> Result<(), ClientError> {
        self.send(&Request::api(Method::DELETE, ["sessions", "current"])).await?;
        self.set_csrf_token(None);
        self.set_bearer(None);
        Ok(())
    }

    async fn open_session(&self, request: Request) -> Result<SessionInfo, ClientError> {
        let answer = self.send(&request).await?;
        let info: SessionInfo = answer.json()?;
        self.set_csrf_token(info.csrf_token.clone());
        if answer.session.is_some() {
            self.set_bearer(answer.session);
        }
        Ok(info)
    }
}
