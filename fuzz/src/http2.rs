//! HTTP/2 (RFC 9113): frames as they are counted, and whole connections as they are served.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ballast_l7::HttpHandlers;
use ballast_l7::http2::frames::{FrameScanner, PREFACE};
use ballast_model::{
    AnyDraft, Config, Draft, Edit, MemberSpec, PoolSpec, Protocol, Snapshot, State,
    VirtualServerSpec,
};
use ballast_telemetry::AccessLog;
use ballast_telemetry::access_log::AccessLogSink;
use ballast_workers::{DataPlane, DataPlaneConfig, Handlers, NoConnections, NoDatagrams};

use crate::cut_at;

/// Nothing that a client sends may hold an answer up for so long.
const PATIENCE: Duration = Duration::from_secs(20);
/// SETTINGS without any, and a request for `/` on stream 1, by HPACK's static table alone (RFC 7541,
/// appendix A): GET, http, `/`, and `:authority: a`.
const REQUEST: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a";
/// HEADERS on stream 1: what a request that is served is answered with, whatever its status.
const ANSWERED: &[u8] = b"\0\0\0\x01";

/// The frames of a direction.
///
/// # Panics
/// A cut changes what is seen.
pub fn frames(data: &[u8]) {
    let Some((cut, input)) = cut_at(data) else { return };
    let seen = |mut scanner: FrameScanner, pieces: [&[u8]; 2]| {
        let mut frames = Vec::new();
        for piece in pieces {
            scanner.advance(piece, |frame| frames.push(format!("{frame:?}")));
        }
        (frames, scanner.is_within_frame())
    };
    for scanner in [FrameScanner::from_client(), FrameScanner::from_server()] {
        let pieces = seen(scanner.clone(), [&input[..cut], &input[cut..]]);
        assert_eq!(seen(scanner, [input, b""]), pieces);
    }
}

/// A connection of a client that sends the preface, and then `data`.
///
/// # Panics
/// It is not ended in time, a worker has panicked, or who comes next is not served.
pub fn adapter(data: &[u8]) {
    static SITE: OnceLock<Site> = OnceLock::new();
    let site = SITE.get_or_init(Site::start);
    site.ask(data);
    let answer = site.ask(REQUEST);
    let is_answered = answer.windows(ANSWERED.len()).any(|window| window == ANSWERED);
    assert!(is_answered, "the next client is not served: {answer:?}");
    assert_eq!(site.plane.totals().panics_total, 0, "a worker has panicked");
}

/// A data plane of one worker, before a member that answers everything alike.
struct Site {
    address: SocketAddr,
    plane: DataPlane,
}

impl Site {
    fn start() -> Self {
        let member = TcpListener::bind("127.0.0.1:0").expect("a port of the loopback interface");
        let member_address = member.local_addr().expect("it is bound");
        std::thread::spawn(move || {
            for stream in member.incoming().flatten() {
                std::thread::spawn(move || answer(stream));
            }
        });
        let config = DataPlaneConfig::for_trial(1);
        let log = AccessLog::start(&AccessLogSink::Off).expect("no log is always to be had");
        let http = Arc::new(HttpHandlers::new(log));
        let handlers = Handlers { http, tcp: Arc::new(NoConnections), udp: Arc::new(NoDatagrams) };
        let plane = DataPlane::start(config, handlers).expect("threads");
        let address = free_address();
        plane.apply(snapshot(address, member_address));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let mut applied = plane.applied();
        runtime.expect("a runtime").block_on(async {
            let applied = applied.wait_for(|applied| applied.index == 1).await;
            assert_eq!(applied.expect("the plane is there").errors, [""; 0]);
        });
        Self { address, plane }
    }

    /// What a client that says this gets until its connection is closed.
    fn ask(&self, said: &[u8]) -> Vec<u8> {
        let mut client = TcpStream::connect(self.address).expect("the listener is there");
        client.set_read_timeout(Some(PATIENCE)).expect("a time that is not zero");
        // Who is cut off while speaking still hears why.
        let _ = client.write_all(PREFACE).and_then(|()| client.write_all(said));
        let _ = client.shutdown(Shutdown::Write);
        let mut heard = Vec::new();
        match client.read_to_end(&mut heard) {
            Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => {
                panic!("the connection does not end: {error}")
            }
            _ => heard,
        }
    }
}

/// Answers requests of one line each, whatever they ask, until the connection ends.
fn answer(mut stream: TcpStream) {
    let mut seen = Vec::new();
    let mut piece = [0; 4_096];
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        seen.extend_from_slice(&piece[..count]);
        while let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
            seen.drain(..end + 4);
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                return;
            }
        }
        // Bodies are none of its business; nor is it to keep all of one.
        if seen.len() > 64 * 1024 {
            seen.clear();
        }
    }
}

fn free_address() -> SocketAddr {
    let bound = TcpListener::bind("127.0.0.1:0").expect("a port of the loopback interface");
    bound.local_addr().expect("it is bound")
}

fn snapshot(listen: SocketAddr, member: SocketAddr) -> Arc<Snapshot> {
    let pool = PoolSpec { members: vec![MemberSpec::new(member)], ..PoolSpec::default() };
    let mut server = VirtualServerSpec::new(Protocol::Http, listen, "origin");
    server.http.http2 = true;
    let edits = [
        Edit::put(AnyDraft::Pool(Draft::new("origin", pool)), "pool-1"),
        Edit::put(AnyDraft::VirtualServer(Draft::new("front", server)), "server-1"),
    ];
    let config = Config::default().edited(&edits, 1, 0).expect("it is valid");
    Arc::new(Snapshot { index: 1, state: State { config, ..State::default() } })
}
