//! One probe of one member.
//!
//! Invariant: a probe ends within its timeout, reads at most [`HEAD_MAX_BYTES`] and
//! [`BODY_MAX_BYTES`], and says in a sentence what happened; whatever the member sends.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ballast_balance::Probe;
use ballast_model::{HttpProbe, MonitorKind, MonitorSpec, ProxyProtocolVersion};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

mod http;

pub use http::{BODY_MAX_BYTES, HEAD_MAX_BYTES};

/// What came of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It tells something about the member.
    Found(Probe),
    /// This node could not even try, such as for want of file descriptors: nothing is known of the
    /// member, and it is not held against it.
    NotTried {
        /// Why, in a sentence.
        why: String,
    },
}

/// Why a probe found fault with a member.
#[derive(Debug)]
enum Fault {
    /// While connecting.
    Connect(io::Error),
    /// While sending or reading.
    Exchange(io::Error),
    /// An answer that is not as it should be; a whole sentence.
    Answer(String),
}

/// Probes `address`, which may want a header of the PROXY protocol first: one that names nobody.
pub async fn probe(
    address: SocketAddr,
    proxy_protocol: Option<ProxyProtocolVersion>,
    monitor: &MonitorSpec,
) -> Outcome {
    let begin = Instant::now();
    let limit = Duration::from_millis(monitor.timeout_ms);
    let connected = timeout(limit, connect(address, proxy_protocol)).await;
    let exchange = match connected {
        Err(_elapsed) => {
            let facts = format!("no connection to {address} within {} ms", monitor.timeout_ms);
            return found(begin, Err(facts));
        }
        Ok(Err(error)) => Err(Fault::Connect(error)),
        Ok(Ok(stream)) => match monitor.kind {
            MonitorKind::Tcp => Ok(format!("connected after {}", elapsed(begin))),
            MonitorKind::Http => {
                let default = HttpProbe::default();
                let wanted = monitor.http.as_ref().unwrap_or(&default);
                let rest = limit.saturating_sub(begin.elapsed());
                let exchange = http::exchange(stream, address, wanted, begin);
                match timeout(rest, exchange).await {
                    Ok(exchange) => exchange,
                    Err(_elapsed) => Err(Fault::Answer(format!(
                        "no complete response from {address} within {} ms",
                        monitor.timeout_ms
                    ))),
                }
            }
        },
    };
    match exchange {
        Ok(facts) => found(begin, Ok(facts)),
        Err(Fault::Answer(facts)) => found(begin, Err(facts)),
        Err(Fault::Exchange(error)) => found(begin, Err(exchange_facts(address, &error, begin))),
        Err(Fault::Connect(error)) if is_own_fault(&error) => {
            Outcome::NotTried { why: format!("{address} could not be probed: {error}") }
        }
        Err(Fault::Connect(error)) => found(begin, Err(connect_facts(address, &error))),
    }
}

async fn connect(
    address: SocketAddr,
    proxy_protocol: Option<ProxyProtocolVersion>,
) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    if let Some(version) = proxy_protocol {
        stream.write_all(version.local_header()).await?;
    }
    Ok(stream)
}

fn found(begin: Instant, facts: Result<String, String>) -> Outcome {
    let took_us = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
    let passed = facts.is_ok();
    let (Ok(facts) | Err(facts)) = facts;
    Outcome::Found(Probe { passed, facts, took_us })
}

/// Errors that say something about this node only.
fn is_own_fault(error: &io::Error) -> bool {
    // EMFILE, ENFILE and ENOBUFS have no `ErrorKind` of their own.
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    const ENOBUFS: i32 = 105;
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::OutOfMemory)
        || matches!(error.raw_os_error(), Some(EMFILE | ENFILE | ENOBUFS))
}

fn connect_facts(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("connection refused by {address}"),
        io::ErrorKind::ConnectionReset => format!("connection reset by {address}"),
        io::ErrorKind::TimedOut => format!("no connection to {address}: timed out"),
        io::ErrorKind::HostUnreachable => format!("{address} is unreachable: no route to host"),
        io::ErrorKind::NetworkUnreachable => format!("{address} is unreachable: no such network"),
        _ => format!("no connection to {address}: {error}"),
    }
}

fn exchange_facts(address: SocketAddr, error: &io::Error, begin: Instant) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            format!("connection reset by {address} after {}", elapsed(begin))
        }
        io::ErrorKind::UnexpectedEof => {
            format!("{address} closed the connection before the response was complete")
        }
        _ => format!("no response from {address}: {error}"),
    }
}

/// Time since `begin`, in ms.
fn elapsed(begin: Instant) -> String {
    format!("{} ms", begin.elapsed().as_millis())
}

#[cfg(test)]
mod tests;
