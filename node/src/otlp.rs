//! Sends spans to a collector of OpenTelemetry: OTLP over HTTP, binary protobuf, in batches.
//!
//! Invariant: whatever the collector does, traffic goes on: spans that it does not take in time are dropped
//! and counted, and what waits is bounded.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ballast_telemetry::otlp::{Origin, SpanBatch, SpanTotals, export_request};
use ballast_tls::{SystemRoots, roots};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::config::OtlpConfig;

/// Spans in one message.
const BATCH_SPAN_COUNT: u64 = 512;
/// How long spans wait for others.
const BATCH_INTERVAL: Duration = Duration::from_secs(1);
/// How long the collector may take.
const SEND_LIMIT: Duration = Duration::from_secs(10);
/// The same for the last message of a node that stops.
const LAST_SEND_LIMIT: Duration = Duration::from_secs(1);
/// How often a message is sent where the collector says that it may be sent again, or is not there.
const TRY_COUNT: u32 = 3;
/// First pause between two tries; twice as long each time.
const PAUSE: Duration = Duration::from_millis(500);
/// Most of an answer that is read, in bytes.
const ANSWER_MAX_BYTES: usize = 64 * 1024;
/// Most header fields in the file.
const HEADER_MAX_COUNT: usize = 32;

/// A collector, ready to be sent to.
pub(crate) struct Collector {
    url: Uri,
    headers: HeaderMap,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    origin: Origin,
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("connecting failed: {0}")]
    Connect(#[source] std::io::Error),
    #[error("the connection failed: {0}")]
    Http(#[from] hyper::Error),
    #[error("it answered with status {0}")]
    Status(StatusCode),
    #[error("it took too long")]
    Timeout,
    #[error("the message can't be made: {0}")]
    Request(#[from] hyper::http::Error),
}

impl SendError {
    /// Whether the same message may be sent again ("Failures" of the OTLP specification).
    fn is_passing(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Http(_) | Self::Timeout => true,
            Self::Status(status) => matches!(status.as_u16(), 429 | 502..=504),
            Self::Request(_) => false,
        }
    }
}

impl Collector {
    /// Reads the files that the configuration names.
    pub(crate) fn new(config: &OtlpConfig, origin: Origin) -> Result<Self> {
        let url: Uri = config.endpoint.parse().context("tracing.otlp_endpoint")?;
        let host = url.host().context("tracing.otlp_endpoint: names no host")?;
        let tls = match url.scheme_str() {
            Some("https") => {
                let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                let name = ServerName::try_from(host).context("tracing.otlp_endpoint")?;
                Some((connector(config.ca_file.as_deref())?, name))
            }
            _ => None,
        };
        let headers = match &config.headers_file {
            Some(path) => headers(path).context("tracing.otlp_headers_file")?,
            None => HeaderMap::new(),
        };
        Ok(Self { url, headers, tls, origin })
    }

    /// Sends spans until `stop`, and then what is left.
    pub(crate) async fn follow(
        self,
        mut queue: mpsc::Receiver<SpanBatch>,
        totals: Arc<SpanTotals>,
        stop: CancellationToken,
    ) {
        let mut was_well = true;
        loop {
            // Cancel-safe: what is not received stays in the queue.
            let first = tokio::select! {
                () = stop.cancelled() => break,
                first = queue.recv() => match first {
                    Some(first) => first,
                    None => return,
                },
            };
            let batch = collect(first, &mut queue, &stop).await;
            let span_count = batch.iter().map(|spans| spans.span_count).sum();
            // Cancel-safe: a message that is given up counts as lost.
            let sent = tokio::select! {
                sent = self.send(&batch) => sent,
                () = stop.cancelled() => Err(SendError::Timeout),
            };
            let is_well = sent.is_ok();
            match sent {
                Ok(()) => totals.count_exported(span_count),
                Err(error) => {
                    totals.count_dropped(span_count);
                    // The first failure of several; the others are counted.
                    if was_well {
                        tracing::warn!(%error, url = %self.url, "spans can't be exported");
                    }
                }
            }
            was_well = is_well;
        }
        self.send_rest(&mut queue, &totals).await;
    }

    async fn send_rest(&self, queue: &mut mpsc::Receiver<SpanBatch>, totals: &SpanTotals) {
        let mut rest = Vec::new();
        while let Ok(spans) = queue.try_recv() {
            rest.push(spans);
        }
        if rest.is_empty() {
            return;
        }
        let span_count = rest.iter().map(|spans| spans.span_count).sum();
        match timeout(LAST_SEND_LIMIT, self.post(&rest)).await {
            Ok(Ok(())) => totals.count_exported(span_count),
            _ => totals.count_dropped(span_count),
        }
    }

    async fn send(&self, batch: &[SpanBatch]) -> Result<(), SendError> {
        let mut pause = PAUSE;
        for _ in 1..TRY_COUNT {
            match timeout(SEND_LIMIT, self.post(batch)).await.unwrap_or(Err(SendError::Timeout)) {
                Err(error) if error.is_passing() => {}
                ended => return ended,
            }
            sleep(pause).await;
            pause *= 2;
        }
        timeout(SEND_LIMIT, self.post(batch)).await.unwrap_or(Err(SendError::Timeout))
    }

    async fn post(&self, batch: &[SpanBatch]) -> Result<(), SendError> {
        let message = export_request(&self.origin, batch.iter().map(|spans| &spans.bytes[..]));
        let host = self.url.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let default_port = if self.tls.is_some() { 443 } else { 80 };
        let port = self.url.port_u16().unwrap_or(default_port);
        let stream = TcpStream::connect((host, port)).await.map_err(SendError::Connect)?;
        match &self.tls {
            None => self.exchange(stream, message).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await;
                self.exchange(stream.map_err(SendError::Connect)?, message).await
            }
        }
    }

    async fn exchange<S>(&self, stream: S, message: Vec<u8>) -> Result<(), SendError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with this function, by whichever way.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let target = self.url.path_and_query().map_or("/", |target| target.as_str());
        let authority = self.url.authority().map_or("", |authority| authority.as_str());
        let mut request = Request::post(target)
            .header(header::HOST, authority)
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .header(header::USER_AGENT, concat!("ballast/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(Bytes::from(message)))?;
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        let response = sender.send_request(request).await?;
        let status = response.status();
        // Only what is wrong with single spans could stand there.
        let _answer = Limited::new(response.into_body(), ANSWER_MAX_BYTES).collect().await;
        if status.is_success() { Ok(()) } else { Err(SendError::Status(status)) }
    }
}

/// Waits a moment for more.
async fn collect(
    first: SpanBatch,
    queue: &mut mpsc::Receiver<SpanBatch>,
    stop: &CancellationToken,
) -> Vec<SpanBatch> {
    let deadline = Instant::now() + BATCH_INTERVAL;
    let mut span_count = first.span_count;
    let mut batch = vec![first];
    while span_count < BATCH_SPAN_COUNT && !stop.is_cancelled() {
        // Cancel-safe: what is not received stays in the queue.
        let next = tokio::select! {
            next = timeout_at(deadline, queue.recv()) => next,
            () = stop.cancelled() => break,
        };
        let Ok(Some(spans)) = next else { break };
        span_count += spans.span_count;
        batch.push(spans);
    }
    batch
}

fn connector(ca_file: Option<&Path>) -> Result<TlsConnector> {
    let roots = match ca_file {
        Some(path) => {
            let pem = std::fs::read_to_string(path).context("tracing.otlp_ca_file")?;
            Arc::new(roots::from_pem(&pem).context("tracing.otlp_ca_file")?)
        }
        None => SystemRoots::default().load().context("the system's authorities")?,
    };
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Header fields, one a line.
fn headers(path: &Path) -> Result<HeaderMap> {
    let text = std::fs::read_to_string(path)?;
    let mut headers = HeaderMap::new();
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // What stands there is secret: errors tell the line's number alone.
        let Some((name, value)) = line.split_once(':') else { bail!("line {number} has no colon") };
        let (Ok(name), Ok(mut value)) =
            (name.trim().parse::<HeaderName>(), value.trim().parse::<HeaderValue>())
        else {
            bail!("line {number} is no header field");
        };
        value.set_sensitive(true);
        headers.insert(name, value);
        if headers.len() > HEADER_MAX_COUNT {
            bail!("has more than {HEADER_MAX_COUNT} header fields");
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests;
