//! Clients that are slow on purpose: who is below the least rate is let go, who keeps it is served, and
//! time in which nobody waits for the client does not count.

use std::time::Duration;

use ballast_model::{ServerTls, VirtualServerSpec};
use ballast_telemetry::FailureReason;
use bytes::Bytes;
use http::{HeaderValue, Method};
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use crate::http2_client::{self, Client, read, read_body};
use crate::http2_origin::Both;
use crate::pki::Ca;
use crate::{client_auth, harness::*};

/// More than the sockets on the way hold.
const MUCH: usize = 12 * 1024 * 1024;
/// Between two pieces of what a slow client sends or takes.
const STEP: Duration = Duration::from_millis(100);
/// Steps that are longer together than the time of grace.
const STEP_COUNT: usize = 45;

/// How a response comes and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    /// Known length, plain: through a pipe.
    Spliced,
    /// In chunks, plain: through buffers.
    Chunked,
    /// Known length, over TLS.
    Tls,
    /// In chunks, held for the client.
    Held,
}

const PATHS: [Path; 4] = [Path::Spliced, Path::Chunked, Path::Tls, Path::Held];

/// Gives everybody much.
async fn generous(path: Path) -> Origin {
    Origin::start(move |_, mut io| async move {
        while io.message().await.is_some() {
            let sent = if matches!(path, Path::Chunked | Path::Held) {
                let piece = format!("{:x}\r\n{}\r\n", MUCH / 12, "x".repeat(MUCH / 12));
                let body = format!("{}0\r\n\r\n", piece.repeat(12));
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                io.try_send(format!("{head}{body}")).await
            } else {
                io.try_send(ok(&"x".repeat(MUCH))).await
            };
            if sent.is_err() {
                return;
            }
        }
    })
    .await
}

async fn site_of(path: Path, origin: &Origin, ca: &Ca, adjust: fn(&mut VirtualServerSpec)) -> Site {
    let mut site = match path {
        Path::Tls => client_auth::site(origin, ca, ServerTls::default()).await,
        _ => Site::start(&[origin.address]).await,
    };
    if path == Path::Held {
        site.server.http.buffering.response_max_bytes = Some(64 * 1024);
    }
    adjust(&mut site.server);
    site.apply().await;
    site
}

/// Connects with a socket that holds little, so that what is not read here is not taken.
async fn narrow(path: Path, site: &Site, ca: &Ca) -> Io<Box<dyn Both>> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(32 * 1024).unwrap();
    // The far side makes its buffer as large as so many segments.
    socket2::SockRef::from(&socket).set_tcp_mss(536).unwrap();
    let stream: TcpStream = soon(socket.connect(site.address)).await.unwrap();
    if path != Path::Tls {
        return Io::new(stream).boxed();
    }
    let config = rustls::ClientConfig::builder_with_provider(
        rustls::crypto::aws_lc_rs::default_provider().into(),
    )
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(ca.roots())
    .with_no_client_auth();
    let connector = TlsConnector::from(std::sync::Arc::new(config));
    let name = ServerName::try_from("a.test").unwrap();
    Io::new(soon(connector.connect(name, stream)).await.unwrap()).boxed()
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_given_up() {
    let ca = Ca::new("sites");
    for path in PATHS {
        let origin = generous(path).await;
        let site = site_of(path, &origin, &ca, |server| {
            server.http.body_idle_timeout_ms = 500;
        })
        .await;
        let mut client = narrow(path, &site, &ca).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        site.failed(FailureReason::ClientWriteTimeout, 1).await;
        assert_eq!(site.totals().requests_total(), 1, "{path:?}");
        site.has_open(0).await;
    }
}

/// Takes so many bytes each step; how many came until the connection ended or time was over.
async fn take(io: &mut Io<Box<dyn Both>>, step_bytes: usize) -> usize {
    let mut steps = tokio::time::interval(STEP);
    let mut piece = vec![0; step_bytes];
    let mut taken = 0;
    for _ in 0..STEP_COUNT {
        steps.tick().await;
        match soon(io.stream.read_exact(&mut piece)).await {
            Ok(count) => taken += count,
            Err(_) => break,
        }
    }
    taken
}

#[tokio::test]
async fn a_reader_below_the_rate_is_let_go_and_one_above_is_served() {
    let ca = Ca::new("sites");
    let paths = PATHS.map(|path| {
        let ca = &ca;
        async move {
            let origin = generous(path).await;
            let site = site_of(path, &origin, ca, |server| {
                server.http.response_min_bytes_per_s = 400_000;
                server.http.min_rate_grace_ms = 1_000;
                server.http.body_idle_timeout_ms = 1_500;
            })
            .await;
            let (mut slow, mut good) =
                (narrow(path, &site, ca).await, narrow(path, &site, ca).await);
            for io in [&mut slow, &mut good] {
                io.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
            }
            // 100 and 800 kB in a second.
            let (_, good_bytes) = tokio::join!(take(&mut slow, 10_000), take(&mut good, 80_000));
            site.failed(FailureReason::ClientTooSlow, 1).await;
            assert_eq!(good_bytes, STEP_COUNT * 80_000, "{path:?}");
            assert!(good_bytes + good.rest().await.len() > MUCH, "{path:?}");
            site.served(2).await;
            assert_eq!(site.totals().failures_total(), 1, "{path:?}");
        }
    });
    futures_util::future::join_all(paths).await;
}

/// Sends so many bytes each step.
async fn send_steps(io: &mut Io, step_bytes: usize) {
    let mut steps = tokio::time::interval(STEP);
    for _ in 0..STEP_COUNT {
        steps.tick().await;
        if io.try_send("x".repeat(step_bytes)).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_body_below_the_rate_is_refused_and_one_above_is_served() {
    for holds in [false, true] {
        let origin = Origin::answering(|request| ok(&request.body.len().to_string())).await;
        let site = Site::start_with(&[origin.address], |server, _| {
            server.http.body_min_bytes_per_s = 5_000;
            server.http.min_rate_grace_ms = 1_000;
            server.http.body_idle_timeout_ms = 400;
            server.http.buffering.request_max_bytes = holds.then_some(1_000_000);
        })
        .await;
        let (mut slow, mut good) = (site.connect().await, site.connect().await);
        slow.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n").await;
        let length = STEP_COUNT * 2_000;
        good.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")).await;
        // 100 bytes and 20 kB in a second; neither is ever silent for long.
        tokio::join!(send_steps(&mut slow, 10), send_steps(&mut good, 2_000));
        assert_eq!(slow.message().await.unwrap().text(), "408 Request Timeout: body_too_slow\n");
        assert_eq!(good.message().await.unwrap().text(), length.to_string(), "held: {holds}");
        site.failed(FailureReason::BodyTooSlow, 1).await;
    }
}

#[tokio::test]
async fn streams_of_http2_keep_the_rates_too() {
    let origin = generous(Path::Spliced).await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.body_min_bytes_per_s = 5_000;
        server.http.response_min_bytes_per_s = 5_000;
        server.http.min_rate_grace_ms = 1_000;
        server.http.body_idle_timeout_ms = 400;
    })
    .await;
    // One that sends.
    let mut client = Client::connect(&site).await;
    let mut upload = http2_client::request(Method::POST, "/");
    upload.headers_mut().insert("content-length", HeaderValue::from_static("100000"));
    let (response, mut stream) = client.begin(upload, false).await;
    let mut steps = tokio::time::interval(STEP);
    let trickle = async {
        for _ in 0..STEP_COUNT {
            steps.tick().await;
            if stream.send_data(Bytes::from_static(b"0123456789"), false).is_err() {
                return;
            }
        }
    };
    let (answer, ()) = tokio::join!(read(response), trickle);
    assert_eq!(answer.unwrap().text(), "408 Request Timeout: body_too_slow\n");
    site.failed(FailureReason::BodyTooSlow, 1).await;
    // One that opens its window by a little, and one that opens it by enough.
    for (step_bytes, is_served) in [(20, false), (2_000, true)] {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(1_000);
        let mut client = Client::on(site.connect().await.stream, builder).await;
        let (response, _) = client.begin(http2_client::get("/"), true).await;
        let mut body = soon(response).await.unwrap().into_body();
        let mut steps = tokio::time::interval(STEP);
        let mut outcome = Ok(());
        for _ in 0..STEP_COUNT {
            steps.tick().await;
            let mut left: usize = step_bytes;
            while left > 0 && outcome.is_ok() {
                let Some(piece) = soon(body.data()).await else { break };
                outcome = piece.map(|piece| {
                    left = left.saturating_sub(piece.len());
                    let _ = body.flow_control().release_capacity(piece.len().min(step_bytes));
                });
            }
        }
        assert_eq!(outcome.is_ok(), is_served, "{step_bytes}");
        if is_served {
            drop(body);
            site.failures(3).await;
        } else {
            site.failures(2).await;
        }
        assert_eq!(site.totals().failures_for(FailureReason::ClientTooSlow), 1, "{step_bytes}");
    }
}

#[tokio::test]
async fn waiting_for_a_member_is_no_fault_of_the_client() {
    // Thinks for longer than the grace, then says a few bytes now and then, as streams of events do.
    let origin = Origin::start(|_, mut io| async move {
        io.message().await;
        let mut ticks = tokio::time::interval(Duration::from_millis(700));
        for _ in 0..4 {
            ticks.tick().await;
        }
        io.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        for _ in 0..5 {
            ticks.tick().await;
            io.send("1\r\nx\r\n").await;
        }
        io.send("0\r\n\r\n").await;
    })
    .await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.body_min_bytes_per_s = 1_000_000;
        server.http.response_min_bytes_per_s = 1_000_000;
        server.http.min_rate_grace_ms = 1_000;
        server.http.body_idle_timeout_ms = 1_000;
    })
    .await;
    let (mut one, mut two) = (site.connect().await, Client::connect(&site).await);
    let by_http2 = async {
        let (response, _) = two.begin(http2_client::get("/"), true).await;
        read_body(&mut soon(response).await.unwrap().into_body()).await.unwrap()
    };
    let (response, body) = tokio::join!(one.get("/"), by_http2);
    assert_eq!((response.text().as_str(), body.as_slice()), ("xxxxx", &b"xxxxx"[..]));
    site.served(2).await;
    assert_eq!(site.totals().failures_total(), 0);
}
