//! Opens a connection to a member: TCP, and TLS where the pool says so.
//!
//! Invariant: where TLS fails, for whatever reason, there is no connection.

use std::io;

use ballast_telemetry::FailureReason;
use ballast_tls::{Alpn, Security, TlsFault, fault};
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

/// Opens a connection to a member.
pub(crate) async fn connect(at: &WorkerMember) -> Result<MemberStream, ConnectError> {
    let tls = match at.pool.security() {
        Security::Plain => None,
        Security::Tls(tls) => Some(tls),
        Security::Unusable(why) => {
            let text = Some(why.to_string());
            return Err(ConnectError { reason: FailureReason::PoolTlsUnusable, text });
        }
    };
    let stream = TcpStream::connect(at.member.address).await?;
    stream.set_nodelay(true)?;
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
