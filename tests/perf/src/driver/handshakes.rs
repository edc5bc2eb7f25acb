//! Handshakes as fast as the proxy makes them: each connection is opened, asks once and is closed.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Outcome, PATIENCE, Sessions, Target, ask, request, tls};

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// Full or resumed.
    #[arg(long)]
    sessions: Sessions,
    /// Connections at a time.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// How long, in s.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
}

#[derive(Debug, Default)]
struct Seen {
    times_us: Vec<f64>,
    failures: u64,
    resumed: u64,
}

pub(super) async fn run(options: &Options) -> Result<Outcome> {
    let ca = options.target.ca.as_deref().context("handshakes need --ca")?;
    let began = Instant::now();
    let end = began + Duration::from_secs(options.seconds);
    let seen = Rc::<RefCell<Seen>>::default();
    let mut slots = JoinSet::new();
    for _ in 0..options.connections {
        // Sessions of its own: a ticket is used once.
        let config = tls::client(ca, options.sessions == Sessions::Resumed)?;
        slots.spawn_local(repeat(config, options.target.address, end, Rc::clone(&seen)));
    }
    while let Some(ended) = slots.join_next().await {
        ended?;
    }
    let seen = seen.take();
    ensure!(!seen.times_us.is_empty(), "no handshake was answered");
    Ok(Outcome { resumed: seen.resumed, ..Outcome::of(&seen.times_us, seen.failures, began) })
}

async fn repeat(
    config: Arc<ClientConfig>,
    address: SocketAddr,
    end: Instant,
    seen: Rc<RefCell<Seen>>,
) {
    let request = request(address, true);
    let mut answer = Vec::new();
    while Instant::now() < end {
        let began = Instant::now();
        let made = timeout(PATIENCE, once(&config, address, &request, &mut answer)).await;
        let mut seen = seen.borrow_mut();
        match made {
            Ok(Ok(kind)) => {
                seen.times_us.push(began.elapsed().as_secs_f64() * 1e6);
                seen.resumed += u64::from(kind == Some(HandshakeKind::Resumed));
            }
            Ok(Err(_)) | Err(_) => seen.failures += 1,
        }
    }
}

async fn once(
    config: &Arc<ClientConfig>,
    address: SocketAddr,
    request: &[u8],
    answer: &mut Vec<u8>,
) -> Result<Option<HandshakeKind>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let connector = TlsConnector::from(Arc::clone(config));
    let name = ServerName::IpAddress(address.ip().into());
    let mut stream = connector.connect(name, stream).await?;
    let status = ask(&mut stream, request, answer).await?;
    ensure!((200..300).contains(&status), "status {status}");
    Ok(stream.get_ref().1.handshake_kind())
}
