//! Opens a connection to a member: TCP, and TLS where the pool says so.
//!
//! Invariant: where TLS fails, for whatever reason, there is no connection.

use std::io;
use std::net::SocketAddr;

use ballast_telemetry::FailureReason;
use ballast_tls::{Alpn, Security, TlsFault, fault};
use ballast_workers::proxy_protocol;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::member::MemberStream;
use crate::upstream::WorkerMember;

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

/// Opens a connection to a member, for the client `source` that connected to `destination`.
pub(crate) async fn connect(
    at: &WorkerMember,
    (source, destination): (SocketAddr, SocketAddr),
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
        let header = proxy_protocol::header(version, source, destination);
        stream.write_all(&header).await?;
    }
    let Some(tls) = tls else { return Ok(MemberStream::Plain(stream)) };
    let connector = TlsConnector::from(at.client_config(tls, Alpn::Http1));
    let name = tls.server_name(at.member.address.ip());
    let stream = connector.connect(name, stream).await.map_err(|error| ConnectError {
        reason: tls_reason(TlsFault::of(&error).unwrap_or(TlsFault::Handshake)),
        text: Some(tls_text(at, &fault::describe(&error))),
    })?;
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
