//! Learns from a trusted sender who its client is, before anybody else reads the connection.
//!
//! Invariant: exactly the header is taken off the stream; an untrusted sender is never believed.

use std::io;
use std::net::IpAddr;

use ballast_model::{AcceptProxyProtocol, OtherSources};
use ballast_telemetry::FailureReason;
use tokio::io::AsyncReadExt;

use crate::admission::OpenGuard;
use crate::connections::{Interrupted, Ticket};
use crate::handler::{Connection, Refused};
use crate::proxy_protocol::{Announced, HEADER_MAX_BYTES, Parsed, parse};
use crate::stream::ClientStream;

/// Whether a header is to be read from `sender`.
///
/// # Errors
/// It is neither trusted nor to be served.
pub(crate) fn is_expected(
    settings: &AcceptProxyProtocol,
    sender: IpAddr,
) -> Result<bool, FailureReason> {
    let sender = sender.to_canonical();
    if settings.trusted_sources.iter().any(|network| network.contains(sender)) {
        return Ok(true);
    }
    match settings.other_sources {
        OtherSources::Direct => Ok(false),
        OtherSources::Refuse => Err(FailureReason::ProxyProtocolUntrusted),
    }
}

/// Reads the header.
///
/// # Errors
/// There is none, it is not right, or it did not come in time.
async fn read(
    stream: &mut ClientStream,
    settings: &AcceptProxyProtocol,
    ticket: &Ticket,
) -> Result<Announced, FailureReason> {
    ticket.set_timeout_ms(settings.timeout_ms);
    let reading = Box::pin(read_header(stream));
    let announced = match ticket.guard(reading).await {
        Ok(Ok(announced)) => Ok(announced),
        Ok(Err(_)) | Err(Interrupted::Expired) => Err(FailureReason::ProxyProtocol),
        Err(Interrupted::Cut | Interrupted::Ending) => Err(FailureReason::Shutdown),
    };
    ticket.clear_deadline();
    announced
}

impl Connection {
    /// Whether it begins with a header.
    pub(crate) fn is_to_be_announced(&self) -> bool {
        let settings = self.server.accept_proxy_protocol.as_ref();
        settings.is_some_and(|settings| is_expected(settings, self.peer.ip()) == Ok(true))
    }

    /// The connection as its header announces it, counted for the client's source.
    ///
    /// # Errors
    /// The stream of a connection that is to be turned away, and why.
    pub(crate) async fn announced(
        mut self,
        guard: &mut OpenGuard,
    ) -> Result<Self, (ClientStream, Refused)> {
        let heard = match &self.server.accept_proxy_protocol {
            Some(settings) => read(&mut self.stream, settings, &self.ticket).await,
            None => Ok(Announced::Local),
        };
        let group = self.admission.slot().id;
        let counted = match heard {
            Ok(Announced::Local) => Ok(()),
            Ok(Announced::Client { source, destination }) => {
                (self.peer, self.local) = (source, destination);
                guard.count_source(group, &self.server, source.ip())
            }
            Err(reason) => Err(reason),
        };
        match counted {
            Ok(()) => Ok(self),
            Err(reason) => {
                let Self { stream, peer, server, .. } = self;
                Err((stream, Refused { peer, server, reason }))
            }
        }
    }
}

async fn read_header(stream: &mut ClientStream) -> io::Result<Announced> {
    let stream = stream.registered()?;
    let mut bytes = Vec::new();
    let mut seen = [0; 256];
    loop {
        // What lies behind the header must stay in the socket: look first, then take.
        let count = stream.peek(&mut seen).await?;
        if count == 0 || bytes.len() > HEADER_MAX_BYTES {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let taken = bytes.len();
        bytes.extend_from_slice(&seen[..count]);
        let parsed =
            parse(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let (length, announced) = match parsed {
            Parsed::Complete { announced, length } => (length, Some(announced)),
            Parsed::Partial => (bytes.len(), None),
        };
        stream.read_exact(&mut seen[..length - taken]).await?;
        if let Some(announced) = announced {
            return Ok(announced);
        }
    }
}
