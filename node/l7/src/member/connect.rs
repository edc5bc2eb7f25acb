//! Opens a connection to a member: TCP, and TLS where the pool says so.
//!
//! Invariant: where TLS fails, for whatever reason, there is no connection.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;

use ballast_model::MemberWebSockets;
use ballast_telemetry::FailureReason;
use ballast_tls::{Alpn, Security, TlsFault, fault};
use ballast_workers::{Clock, proxy_protocol};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::member::MemberStream;
use crate::upstream::{Purpose, WorkerMember};

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct ConnectError {
    pub(crate) reason: FailureReason,
    /// What the reason alone does not tell, in a sentence.
    pub(crate) text: Option<String>,
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self { reason: FailureReason::of_connect(&error), text: None }
    }
}

impl ConnectError {
    /// The beginning of HTTP/2 failed.
    pub(super) fn http2(error: &h2::Error) -> Self {
        let text = Some(format!("HTTP/2 can't be begun: {error}"));
        let reason = match error.get_io() {
            Some(_) => FailureReason::UpstreamClosedEarly,
            None => FailureReason::UpstreamProtocol,
        };
        Self { reason, text }
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way<'a> {
    /// The client, and the address that it connected to.
    pub(crate) client: (SocketAddr, SocketAddr),
    /// What is to be asked.
    pub(crate) purpose: Purpose,
    /// Whether a kept connection has just failed.
    pub(crate) fresh: bool,
    /// The worker's clock.
    pub(crate) clock: &'a Clock,
    /// Told when TLS began, where it does.
    pub(crate) tcp_us: &'a Cell<Option<u64>>,
    /// Set while it waits not for the member, but for a stream of HTTP/2 that our other requests have.
    pub(crate) is_crowded: &'a Cell<bool>,
}

/// Opens a connection to a member, or a stream on one of HTTP/2.
pub(crate) async fn connect(at: &WorkerMember, way: Way<'_>) -> Result<MemberStream, ConnectError> {
    if !at.is_http2(way.purpose) {
        return connect_by(at, way, Alpn::Http1).await;
    }
    let settings = &at.pool.spec().http2;
    let open = async || connect_by(at, way, Alpn::Http2).await;
    let opened = at.http2.open(settings, way.fresh, way.is_crowded, open).await;
    if way.purpose != Purpose::WebSocket {
        return Ok(MemberStream::Http2(Box::new(opened?)));
    }
    let may_fall_back = settings.websockets == MemberWebSockets::Auto;
    let tunnel = match opened {
        Ok(stream) => stream.into_tunnel().await,
        // It does not speak HTTP/2 with us at all.
        Err(error) if may_fall_back && error.reason == FailureReason::UpstreamProtocol => None,
        Err(error) => return Err(error),
    };
    match tunnel {
        Some(tunnel) => Ok(MemberStream::Http2(Box::new(tunnel))),
        None if may_fall_back => connect_by(at, way, Alpn::Http1).await,
        None => {
            let address = at.member.address;
            let text = format!("{address} does not announce extended CONNECT (RFC 8441)");
            let reason = FailureReason::UpstreamNoExtendedConnect;
            Err(ConnectError { reason, text: Some(text) })
        }
    }
}

async fn connect_by(
    at: &WorkerMember,
    way: Way<'_>,
    alpn: Alpn,
) -> Result<MemberStream, ConnectError> {
    let tls = match at.pool.security() {
        Security::Plain => None,
        Security::Tls(tls) => Some(tls),
        Security::Unusable(why) => {
            let text = Some(why.to_string());
            return Err(ConnectError { reason: FailureReason::PoolTlsUnusable, text });
        }
    };
    let mut stream = TcpStream::connect(at.member.address).await?;
    stream.set_nodelay(true)?;
    if let Some(version) = at.pool.spec().send_proxy_protocol {
        let header = proxy_protocol::header(version, way.client.0, way.client.1);
        stream.write_all(&header).await?;
    }
    let Some(tls) = tls else { return Ok(MemberStream::Plain(stream)) };
    way.tcp_us.set(Some(way.clock.now_us()));
    let connector = TlsConnector::from(at.client_config(tls, alpn));
    let name = tls.server_name(at.member.address.ip());
    let stream = connector.connect(name, stream).await.map_err(|error| ConnectError {
        reason: tls_reason(TlsFault::of(&error).unwrap_or(TlsFault::Handshake)),
        text: Some(tls_text(at, &fault::describe(&error))),
    })?;
    if alpn == Alpn::Http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        let text = Some(tls_text(at, "the member does not offer HTTP/2 (ALPN)"));
        return Err(ConnectError { reason: FailureReason::UpstreamProtocol, text });
    }
    Ok(MemberStream::Tls(Box::new(stream)))
}

/// What the status says of a fault of TLS.
pub(crate) fn tls_text(at: &WorkerMember, text: &str) -> String {
    format!("TLS with {}: {text}", at.member.address)
}

/// The reason that stands for a fault of TLS.
pub(crate) fn tls_reason(fault: TlsFault) -> FailureReason {
    match fault {
        TlsFault::Expired => FailureReason::UpstreamTlsExpired,
        TlsFault::NameMismatch => FailureReason::UpstreamTlsName,
        TlsFault::UnknownCa => FailureReason::UpstreamTlsUnknownCa,
        TlsFault::Certificate => FailureReason::UpstreamTlsCertificate,
        TlsFault::Refused => FailureReason::UpstreamTlsRefused,
        TlsFault::Handshake => FailureReason::UpstreamTlsHandshake,
    }
}
