//! One probe of one member.
//!
//! Invariant: a probe ends within its timeout, reads at most [`HEAD_MAX_BYTES`] and
//! [`BODY_MAX_BYTES`], and says in a sentence what happened; whatever the member sends.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ballast_balance::Probe;
use ballast_model::{
    GrpcProbe, HttpProbe, MemberProtocol, MonitorKind, MonitorSpec, ProxyProtocolVersion,
};
use ballast_tls::{Alpn, MemberTls, Security, TlsFault, fault};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

mod agent;
mod certificate;
mod grpc;
mod http;
mod http2;
mod udp;

pub use agent::{AgentWish, AgentWord};
pub use http::{BODY_MAX_BYTES, HEAD_MAX_BYTES};

/// How much of a fault of TLS is told.
const TLS_TEXT_MAX_CHARS: usize = 500;

/// What came of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It tells something about the member.
    Found(Probe),
    /// The member's agent has said something.
    Said {
        /// What.
        word: AgentWord,
        /// How long it took to ask, in µs.
        took_us: u64,
    },
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
    /// While TLS was begun.
    Tls(io::Error),
    /// While sending or reading.
    Exchange(io::Error),
    /// An answer that is not as it should be; a whole sentence.
    Answer(String),
}

/// What comes of a probe that went well.
enum Good {
    /// A sentence.
    Facts(String),
    /// What an agent says, which may be bad enough.
    Word(AgentWord),
}

/// How members of a pool are talked with.
#[derive(Clone, Debug, Default)]
pub struct Link {
    /// The header of the PROXY protocol that they want first: probes send one that names nobody.
    pub proxy_protocol: Option<ProxyProtocolVersion>,
    /// How HTTP with them is secured.
    pub security: Security,
    /// What they speak.
    pub protocol: MemberProtocol,
}

/// What is asked, of whom, and since when.
struct Question<'a> {
    address: SocketAddr,
    wanted: &'a HttpProbe,
    /// Whether by TLS.
    is_secure: bool,
    begin: Instant,
}

/// Probes `address`, which is talked with by `link`; by `tcp`, `udp` and `agent` without its TLS.
pub async fn probe(address: SocketAddr, link: &Link, monitor: &MonitorSpec) -> Outcome {
    let begin = Instant::now();
    let limit = Duration::from_millis(monitor.timeout_ms);
    let mut awaited = "connection to";
    let exchange = match timeout(limit, run(address, link, monitor, begin, &mut awaited)).await {
        Ok(exchange) => exchange,
        Err(_elapsed) => {
            let timeout_ms = monitor.timeout_ms;
            Err(Fault::Answer(format!("no {awaited} {address} within {timeout_ms} ms")))
        }
    };
    match exchange {
        Ok(Good::Facts(facts)) => found(begin, Ok(facts)),
        Ok(Good::Word(word)) => Outcome::Said { word, took_us: took_us(begin) },
        Err(Fault::Answer(facts)) => found(begin, Err(facts)),
        Err(Fault::Tls(error)) => found(begin, Err(tls_facts(address, &error))),
        Err(Fault::Exchange(error)) => found(begin, Err(exchange_facts(address, &error, begin))),
        Err(Fault::Connect(error)) if is_own_fault(&error) => {
            Outcome::NotTried { why: format!("{address} could not be probed: {error}") }
        }
        Err(Fault::Connect(error)) => found(begin, Err(connect_facts(address, &error))),
    }
}

/// The probe without its limit in time; `awaited` tells what it waits for.
async fn run(
    address: SocketAddr,
    link: &Link,
    monitor: &MonitorSpec,
    begin: Instant,
    awaited: &mut &'static str,
) -> Result<Good, Fault> {
    let by_tls = matches!(monitor.kind, MonitorKind::Grpc | MonitorKind::Http | MonitorKind::Tls);
    if let (true, Security::Unusable(why)) = (by_tls, &link.security) {
        // The node's fault, but no request of its clients gets through either.
        return Err(Fault::Answer(format!("the pool's TLS can't be used: {why}")));
    }
    if monitor.kind == MonitorKind::Udp {
        *awaited = "answer from";
        let settings = monitor.udp.clone().unwrap_or_default();
        let until = begin + Duration::from_millis(monitor.timeout_ms);
        return udp::exchange(address, &settings, begin, until).await.map(Good::Facts);
    }
    let stream = connect(address, link.proxy_protocol).await.map_err(Fault::Connect)?;
    match monitor.kind {
        MonitorKind::Tcp | MonitorKind::Udp => {
            Ok(Good::Facts(format!("connected after {}", elapsed(begin))))
        }
        MonitorKind::Agent => {
            *awaited = "line of the agent at";
            let settings = monitor.agent.clone().unwrap_or_default();
            agent::exchange(stream, &settings).await.map(Good::Word)
        }
        MonitorKind::Tls => {
            *awaited = "TLS handshake with";
            let settings = monitor.tls.clone().unwrap_or_default();
            let facts = certificate::exchange(stream, &link.security, address, &settings, begin);
            facts.await.map(Good::Facts)
        }
        MonitorKind::Grpc => {
            let default = GrpcProbe::default();
            let question = grpc::HealthQuestion {
                address,
                wanted: monitor.grpc.as_ref().unwrap_or(&default),
                is_secure: link.security.tls().is_some(),
                begin,
                timeout_ms: monitor.timeout_ms,
            };
            let facts = check_health(stream, link, &question, awaited).await;
            facts.map(Good::Facts)
        }
        MonitorKind::Http => {
            let default = HttpProbe::default();
            let question = Question {
                address,
                wanted: monitor.http.as_ref().unwrap_or(&default),
                is_secure: link.security.tls().is_some(),
                begin,
            };
            request(stream, link, &question, awaited).await.map(Good::Facts)
        }
    }
}

/// Asks by HTTP, secured as `link` says.
async fn request(
    stream: TcpStream,
    link: &Link,
    question: &Question<'_>,
    awaited: &mut &'static str,
) -> Result<String, Fault> {
    let Some(tls) = link.security.tls() else {
        *awaited = "complete response from";
        return ask(stream, link.protocol, question).await;
    };
    *awaited = "TLS handshake with";
    let stream = handshake(stream, tls, question.address, link.protocol).await?;
    *awaited = "complete response from";
    ask(stream, link.protocol, question).await
}

/// Asks by gRPC, secured as `link` says.
async fn check_health(
    stream: TcpStream,
    link: &Link,
    question: &grpc::HealthQuestion<'_>,
    awaited: &mut &'static str,
) -> Result<String, Fault> {
    let Some(tls) = link.security.tls() else {
        *awaited = "complete response from";
        return grpc::exchange(stream, question).await;
    };
    *awaited = "TLS handshake with";
    let stream = handshake(stream, tls, question.address, MemberProtocol::Http2).await?;
    *awaited = "complete response from";
    grpc::exchange(stream, question).await
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    protocol: MemberProtocol,
    question: &Question<'_>,
) -> Result<String, Fault> {
    match protocol {
        MemberProtocol::Http1 => http::exchange(stream, question).await,
        MemberProtocol::Http2 => http2::exchange(stream, question).await,
    }
}

async fn connect(
    address: SocketAddr,
    proxy_protocol: Option<ProxyProtocolVersion>,
) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let _best_effort = stream.set_nodelay(true);
    if let Some(version) = proxy_protocol {
        stream.write_all(version.local_header()).await?;
    }
    Ok(stream)
}

/// TLS as requests have it, except that no session is resumed: the member's certificate is looked at
/// each time (RFC 8446 §2.2: resumption goes without).
async fn handshake(
    stream: TcpStream,
    tls: &MemberTls,
    address: SocketAddr,
    protocol: MemberProtocol,
) -> Result<TlsStream<TcpStream>, Fault> {
    let alpn = match protocol {
        MemberProtocol::Http1 => Alpn::Http1,
        MemberProtocol::Http2 => Alpn::Http2,
    };
    let stream = shake_hands(stream, tls, tls.server_name(address.ip()), alpn).await?;
    if alpn == Alpn::Http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        let facts = format!("TLS with {address}: the member does not offer HTTP/2 (ALPN)");
        return Err(Fault::Answer(facts));
    }
    Ok(stream)
}

async fn shake_hands(
    stream: TcpStream,
    tls: &MemberTls,
    name: ServerName<'static>,
    alpn: Alpn,
) -> Result<TlsStream<TcpStream>, Fault> {
    // A table of sessions of its own, and so an empty one.
    let connector = TlsConnector::from(tls.client_config(alpn));
    connector.connect(name, stream).await.map_err(Fault::Tls)
}

fn took_us(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn found(begin: Instant, facts: Result<String, String>) -> Outcome {
    let took_us = took_us(begin);
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

fn tls_facts(address: SocketAddr, error: &io::Error) -> String {
    // A certificate may hold any number of names, and the text lists them.
    let text = fault::describe(error);
    let end = text.char_indices().nth(TLS_TEXT_MAX_CHARS).map_or(text.len(), |(end, _)| end);
    format!("TLS with {address}: {}", &text[..end])
}

fn exchange_facts(address: SocketAddr, error: &io::Error, begin: Instant) -> String {
    // Members that speak TLS 1.3 refuse a client's certificate only after the handshake.
    if TlsFault::of(error).is_some() {
        return tls_facts(address, error);
    }
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
