//! Connections that were used once and wait: what they cost a proxy is seen in its memory.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::Args;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{PATIENCE, Target, ask, request, tls};

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// How many.
    #[arg(long, default_value_t = 2_000)]
    connections: usize,
}

/// A connection, open for as long as it is held.
pub(super) trait Held {}

impl<S: AsyncRead + AsyncWrite> Held for S {}

/// Opens them all, one after another; each has had an answer.
pub(super) async fn open(options: &Options) -> Result<Vec<Box<dyn Held>>> {
    let address = options.target.address;
    let config = options.target.ca.as_deref().map(|ca| tls::client(ca, false)).transpose()?;
    let request = request(address, false);
    let mut held: Vec<Box<dyn Held>> = Vec::with_capacity(options.connections);
    let mut answer = Vec::new();
    for number in 0..options.connections {
        let open = async {
            let mut stream = TcpStream::connect(address).await?;
            let (status, connection): (u16, Box<dyn Held>) = match &config {
                None => (ask(&mut stream, &request, &mut answer).await?, Box::new(stream)),
                Some(config) => {
                    let name = ServerName::IpAddress(address.ip().into());
                    let connector = TlsConnector::from(Arc::clone(config));
                    let mut stream = connector.connect(name, stream).await?;
                    (ask(&mut stream, &request, &mut answer).await?, Box::new(stream))
                }
            };
            ensure!((200..300).contains(&status), "status {status}");
            Ok(connection)
        };
        let opened = timeout(PATIENCE, open).await;
        held.push(opened.context("no answer")?.with_context(|| format!("connection {number}"))?);
    }
    Ok(held)
}
