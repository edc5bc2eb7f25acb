//! One request to a responder of OCSP (RFC 6960 §A.1): a POST, bounded, without redirects. Answers are
//! signed, so that the way need not be.

use std::io;

use ballast_tls::ocsp::RESPONSE_MAX_BYTES;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, Uri, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("the URL can't be used")]
    Url,
    #[error("connecting failed: {0}")]
    Connect(#[source] io::Error),
    #[error("the answer can't be read: {0}")]
    Http(#[from] hyper::Error),
    #[error("the answer has status {0}, not 200")]
    Status(u16),
    #[error("the answer broke off, or is longer than {RESPONSE_MAX_BYTES} bytes")]
    Broken,
}

/// Asks the responder at `url`.
pub(super) async fn fetch(url: &str, request: Vec<u8>) -> Result<Vec<u8>, FetchError> {
    let url: Uri = url.parse().map_err(|_| FetchError::Url)?;
    let host = url.host().ok_or(FetchError::Url)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, url.port_u16().unwrap_or(80)));
    let stream = stream.await.map_err(FetchError::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with this function, by whichever way.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let target = url.path_and_query().map_or("/", |target| target.as_str());
    let authority = url.authority().ok_or(FetchError::Url)?;
    let request = Request::post(target)
        .header(header::HOST, authority.as_str())
        .header(header::CONTENT_TYPE, "application/ocsp-request")
        .header(header::ACCEPT, "application/ocsp-response")
        .header(header::USER_AGENT, concat!("ballast/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(Bytes::from(request)))
        .map_err(|_| FetchError::Url)?;
    let response = sender.send_request(request).await?;
    if response.status() != 200 {
        return Err(FetchError::Status(response.status().as_u16()));
    }
    let body = Limited::new(response.into_body(), RESPONSE_MAX_BYTES).collect().await;
    Ok(body.map_err(|_| FetchError::Broken)?.to_bytes().into())
}
