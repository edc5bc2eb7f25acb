//! One fetch of keys: a GET, verified, bounded, without redirects.

use std::io;
use std::sync::Arc;

use ballast_model::JwtProviderSpec;
use ballast_model::limits::JWKS_MAX_BYTES;
use ballast_tls::{SystemRoots, roots};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// Why keys could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("the URL can't be used")]
    Url,
    #[error("connecting failed: {0}")]
    Connect(#[source] io::Error),
    #[error("TLS failed: {0}")]
    Tls(String),
    #[error("the answer can't be read: {0}")]
    Http(#[from] hyper::Error),
    #[error("the answer has status {0}, not 200")]
    Status(u16),
    #[error("the keys are longer than {JWKS_MAX_BYTES} bytes")]
    TooLong,
    #[error("the answer broke off")]
    Broken,
}

/// Fetches the keys that `spec` names.
pub(super) async fn fetch(spec: &JwtProviderSpec) -> Result<Vec<u8>, FetchError> {
    let url = spec.jwks_url.as_deref().unwrap_or_default();
    let url: Uri = url.parse().map_err(|_| FetchError::Url)?;
    let is_tls = url.scheme_str() == Some("https");
    let host = url.host().ok_or(FetchError::Url)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let stream = TcpStream::connect((host, port)).await.map_err(FetchError::Connect)?;
    if !is_tls {
        return get(stream, &url).await;
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|_| FetchError::Url)?;
    let spec = spec.clone();
    // It may read files.
    let config = tokio::task::spawn_blocking(move || client_config(&spec)).await;
    let config = config.map_err(|error| FetchError::Tls(error.to_string()))??;
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await;
    get(stream.map_err(|error| FetchError::Tls(error.to_string()))?, &url).await
}

async fn get<S>(stream: S, url: &Uri) -> Result<Vec<u8>, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with this function, by whichever way.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let target = url.path_and_query().map_or("/", |target| target.as_str());
    let authority = url.authority().ok_or(FetchError::Url)?;
    let request = Request::get(target)
        .header(header::HOST, authority.as_str())
        .header(header::ACCEPT, "application/jwk-set+json, application/json")
        .header(header::USER_AGENT, concat!("ballast/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|_| FetchError::Url)?;
    let response = sender.send_request(request).await?;
    if response.status() != 200 {
        return Err(FetchError::Status(response.status().as_u16()));
    }
    let body = Limited::new(response.into_body(), JWKS_MAX_BYTES).collect().await;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => FetchError::TooLong,
        false => FetchError::Broken,
    })?;
    Ok(body.to_bytes().into())
}

fn client_config(spec: &JwtProviderSpec) -> Result<ClientConfig, FetchError> {
    let untrusting = |error: &dyn std::fmt::Display| FetchError::Tls(error.to_string());
    let roots = match &spec.ca_pem {
        Some(pem) => Arc::new(roots::from_pem(pem).map_err(|error| untrusting(&error))?),
        None => SystemRoots::default().load().map_err(|error| untrusting(&error))?,
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| untrusting(&error))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
