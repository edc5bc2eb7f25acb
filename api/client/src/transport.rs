//! One request and its answer: addresses, credentials, headers, problems.

use std::sync::{Arc, PoisonError, RwLock};

use ballast_model::{Problem, problem};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::ClientError;
use crate::options::{Match, WriteOptions, Written};

#[cfg(not(target_arch = "wasm32"))]
pub use native::ClientBuilder;

/// Below it lies everything that needs to be signed in.
pub(crate) const API_PREFIX: [&str; 2] = ["api", "v1"];

/// A cluster's REST API. Cheap to clone; all clones share connections and credentials.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    http: reqwest::Client,
    base: Url,
    credentials: RwLock<Credentials>,
}

#[derive(Clone, Default)]
struct Credentials {
    bearer: Option<String>,
    csrf_token: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// A request that is about to be sent.
#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    segments: Vec<String>,
    query: Vec<(String, String)>,
    headers: Vec<(&'static str, String)>,
    body: Option<(&'static str, Vec<u8>)>,
}

/// A successful answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The index up to which the answering node has applied the log.
    pub index: u64,
    /// The resource's revision (`ETag`).
    pub revision: Option<u64>,
    /// Nodes that do not carry a change out yet, as `name=reason`; only after waiting.
    pub not_applied: Vec<String>,
    /// The session that the answer opened (`Set-Cookie`). A browser keeps it to itself.
    pub session: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Client {
    /// A client in the browser, of the server that the page came from: `origin` is
    /// `window.location.origin`. The session's cookie goes along by itself.
    ///
    /// # Errors
    /// Where `origin` is no URL.
    #[cfg(target_arch = "wasm32")]
    pub fn browser(origin: &str) -> Result<Self, ClientError> {
        Ok(Self::assemble(reqwest::Client::new(), parse_base(origin)?, Credentials::default()))
    }

    /// A client of the server at `url`, such as `https://10.0.0.1:8443`.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(url.into())
    }

    fn assemble(http: reqwest::Client, base: Url, credentials: Credentials) -> Self {
        Self { inner: Arc::new(Inner { http, base, credentials: RwLock::new(credentials) }) }
    }

    /// The server's address, without a path.
    pub fn base_url(&self) -> &str {
        self.inner.base.as_str().trim_end_matches('/')
    }

    /// Where the events are streamed, for a browser's `EventSource`; see [`crate::sse`]. `kinds`:
    /// `config`, `health`, `leader`; none means all.
    pub fn events_url(&self, kinds: &[&str]) -> String {
        let mut request = Request::api(Method::GET, ["events"]);
        if !kinds.is_empty() {
            request = request.query("kinds", kinds.join(","));
        }
        self.url(&request).to_string()
    }

    /// Sends this with all later requests instead of a cookie: an API token or a session.
    pub fn set_bearer(&self, bearer: Option<String>) {
        self.with_credentials(|credentials| credentials.bearer = bearer);
    }

    /// What is sent with every request: an API token, or the session that signing in opened.
    pub fn bearer(&self) -> Option<String> {
        self.credentials().bearer
    }

    /// Sends this with all later changes, as cookie sessions need it. Signing in and
    /// [`Client::session`] set it by themselves.
    pub fn set_csrf_token(&self, csrf_token: Option<String>) {
        self.with_credentials(|credentials| credentials.csrf_token = csrf_token);
    }

    fn with_credentials(&self, change: impl FnOnce(&mut Credentials)) {
        let lock = self.inner.credentials.write();
        change(&mut lock.unwrap_or_else(PoisonError::into_inner));
    }

    fn credentials(&self) -> Credentials {
        self.inner.credentials.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn url(&self, request: &Request) -> Url {
        let mut url = self.inner.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(&request.segments);
        }
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        url
    }

    /// Sends `request`, whatever it is: the typed methods are made of this.
    ///
    /// # Errors
    /// Everything but a 2xx answer.
    pub async fn send(&self, request: &Request) -> Result<Answer, ClientError> {
        let context = || format!("{} {}", request.method, self.url(request));
        let transport = |source| ClientError::Transport { context: context(), source };
        let response = self.prepare(request)?.send().await.map_err(transport)?;
        let status = response.status();
        let headers = response.headers().clone();
        let body = response.bytes().await.map_err(transport)?.to_vec();
        if status.is_success() {
            return Ok(Answer::new(status.as_u16(), &headers, body));
        }
        Err(refusal(status.as_u16(), &headers, &body, context))
    }

    pub(crate) fn prepare(
        &self,
        request: &Request,
    ) -> Result<reqwest::RequestBuilder, ClientError> {
        let credentials = self.credentials();
        let mut builder = self.inner.http.request(request.method.clone(), self.url(request));
        for (name, value) in &request.headers {
            builder = builder.header(*name, header_value(name, value)?);
        }
        if let Some(bearer) = &credentials.bearer {
            builder = builder
                .header("authorization", header_value("the token", &format!("Bearer {bearer}"))?);
        } else if let Some(csrf_token) = &credentials.csrf_token
            && !request.method.is_safe()
        {
            builder = builder.header("x-csrf-token", header_value("the CSRF token", csrf_token)?);
        }
        if let Some((content_type, body)) = &request.body {
            builder = builder.header("content-type", *content_type).body(body.clone());
        }
        Ok(builder)
    }
}

impl Request {
    /// A request to `/api/v1/<segments>`.
    pub fn api<S: AsRef<str>>(method: Method, segments: impl IntoIterator<Item = S>) -> Self {
        let prefix = API_PREFIX.into_iter().map(str::to_owned);
        Self {
            segments: prefix.chain(segments.into_iter().map(|s| s.as_ref().to_owned())).collect(),
            ..Self::root(method, "")
        }
    }

    /// A request to `/<segment>`, such as `/healthz`.
    pub fn root(method: Method, segment: &str) -> Self {
        Self {
            method,
            segments: vec![segment.to_owned()],
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
        }
    }

    /// With one more query parameter.
    #[must_use]
    pub fn query(mut self, key: &str, value: impl Into<String>) -> Self {
        self.query.push((key.to_owned(), value.into()));
        self
    }

    /// With more query parameters.
    #[must_use]
    pub fn queries(mut self, pairs: Vec<(&'static str, String)>) -> Self {
        self.query.extend(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)));
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With a JSON body.
    ///
    /// # Errors
    /// Where `body` can't be written as JSON.
    pub fn json(self, body: &impl Serialize) -> Result<Self, ClientError> {
        self.body("application/json", body)
    }

    /// With a JSON merge patch (RFC 7396) as its body.
    ///
    /// # Errors
    /// Where `patch` can't be written as JSON.
    pub fn merge_patch(self, patch: &Value) -> Result<Self, ClientError> {
        self.body("application/merge-patch+json", patch)
    }

    fn body(mut self, kind: &'static str, body: &impl Serialize) -> Result<Self, ClientError> {
        let bytes = serde_json::to_vec(body).map_err(|error| ClientError::Decode {
            context: "writing the request".to_owned(),
            why: error.to_string(),
        })?;
        self.body = Some((kind, bytes));
        Ok(self)
    }

    /// With conditions and wishes of a write.
    #[must_use]
    pub fn options(self, options: &WriteOptions) -> Self {
        let mut request = self.queries(options.pairs());
        match options.only_if {
            Match::Absent => request = request.header("if-none-match", "*"),
            Match::Any => {}
            Match::Revision(revision) => {
                request = request.header("if-match", format!("\"{revision}\""));
            }
        }
        if let Some(key) = &options.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        request
    }
}

impl Answer {
    fn new(status: u16, headers: &HeaderMap, body: Vec<u8>) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            status,
            index: text("x-ballast-index").and_then(|index| index.parse().ok()).unwrap_or(0),
            revision: text("etag").and_then(|etag| etag.trim_matches('"').parse().ok()),
            not_applied: text("x-ballast-not-applied")
                .into_iter()
                .flat_map(|list| list.split(','))
                .map(|entry| entry.trim().to_owned())
                .filter(|entry| !entry.is_empty())
                .collect(),
            session: text("set-cookie").and_then(session_of_cookie),
            body,
        }
    }

    /// The body as `T`.
    ///
    /// # Errors
    /// Where it is none.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body).map_err(|error| ClientError::Decode {
            context: "the server's answer can't be read; is it of the same version?".to_owned(),
            why: error.to_string(),
        })
    }

    /// The body as `T`, with what the answer says about the write.
    ///
    /// # Errors
    /// Where the body is no `T`.
    pub fn written<T: DeserializeOwned>(self) -> Result<Written<T>, ClientError> {
        let value = self.json()?;
        Ok(self.written_as(value))
    }

    pub(crate) fn written_as<T>(self, value: T) -> Written<T> {
        Written {
            value,
            created: self.status == 201,
            index: self.index,
            not_applied: self.not_applied,
        }
    }
}

/// The value of the session's cookie in a `Set-Cookie` header, unless it ends the session.
fn session_of_cookie(header: &str) -> Option<String> {
    let (name, value) = header.split(';').next()?.trim().split_once('=')?;
    (name == SESSION_COOKIE && !value.is_empty()).then(|| value.to_owned())
}

/// The cookie of a session. The prefix makes browsers insist on `Secure` and the whole host.
pub(crate) const SESSION_COOKIE: &str = "__Host-ballast-session";

pub(crate) fn refusal(
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
    context: impl FnOnce() -> String,
) -> ClientError {
    let content_type = headers.get("content-type").and_then(|value| value.to_str().ok());
    if content_type.is_some_and(|kind| kind.starts_with(problem::CONTENT_TYPE))
        && let Ok(problem) = serde_json::from_slice::<Problem>(body)
    {
        return problem.into();
    }
    ClientError::Decode {
        context: context(),
        why: format!("answered status {status} without saying why; is this a Ballast API?"),
    }
}

fn header_value(what: &str, value: &str) -> Result<HeaderValue, ClientError> {
    HeaderValue::from_str(value)
        .map_err(|_| ClientError::Settings(format!("{what} holds characters that can't be sent")))
}

fn parse_base(url: &str) -> Result<Url, ClientError> {
    let parsed = Url::parse(url)
        .map_err(|error| ClientError::Settings(format!("{url:?} is no address: {error}")))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host().is_none() {
        return Err(ClientError::Settings(format!("{url:?} is no http or https address")));
    }
    Ok(parsed)
}

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::time::Duration;

    use super::{Client, ClientError, Credentials, parse_base};
    use crate::tls::{Trust, client_config};

    /// Longest wait for a connection.
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    /// Longest silence of an answer. Events send a comment every 15 s.
    const READ_TIMEOUT: Duration = Duration::from_secs(60);

    /// How a [`Client`] is to be made.
    #[derive(Debug)]
    pub struct ClientBuilder {
        url: String,
        trust: Trust,
        bearer: Option<String>,
    }

    impl ClientBuilder {
        pub(super) fn new(url: String) -> Self {
            Self { url, trust: Trust::System, bearer: None }
        }

        /// Whom to believe. Default: the system's authorities.
        #[must_use]
        pub fn trust(self, trust: Trust) -> Self {
            Self { trust, ..self }
        }

        /// An API token or a session, sent with every request.
        #[must_use]
        pub fn bearer(self, bearer: impl Into<String>) -> Self {
            Self { bearer: Some(bearer.into()), ..self }
        }

        /// The client. Connects when it is used.
        ///
        /// # Errors
        /// Where the address, the fingerprint or the certificate is malformed.
        pub fn build(self) -> Result<Client, ClientError> {
            let base = parse_base(&self.url)?;
            let mut http = reqwest::Client::builder();
            if let Some(config) = client_config(&self.trust)? {
                http = http.tls_backend_preconfigured(config);
            }
            let http = http
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(READ_TIMEOUT)
                .redirect(reqwest::redirect::Policy::none())
                .user_agent(concat!("ballast-client/", env!("CARGO_PKG_VERSION")))
                .build()
                .map_err(|source| ClientError::Transport {
                    context: "setting up the HTTP client".to_owned(),
                    source,
                })?;
            let credentials = Credentials { bearer: self.bearer, csrf_token: None };
            Ok(Client::assemble(http, base, credentials))
        }
    }
}

#[cfg(test)]
mod tests;
