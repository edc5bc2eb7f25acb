//! Answers that parsers disagree about, and an origin that gives them.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What the client must see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// 502: the answer can't be understood in one way only.
    Refused,
    /// An answer that is cut off, for it went wrong after its beginning was passed on; or 502, where
    /// that was seen before.
    Cut,
    /// This status and this content, whatever comes behind it.
    Passed(u16, &'static str),
}

/// An answer, or what looks like one.
#[derive(Clone, Debug)]
pub struct Vector {
    /// Unique; given to whoever asks for `/v-NAME`.
    pub name: &'static str,
    /// See there.
    pub expect: Expect,
    raw: &'static str,
}

/// What a client is given that got somebody else's answer.
pub const SMUGGLED: &str = "smuggled";

macro_rules! vectors {
    ($($name:literal $expect:expr, $raw:literal;)*) => {
        /// All of them.
        pub const VECTORS: &[Vector] = &[$(Vector { name: $name, expect: $expect, raw: $raw }),*];
    };
}

use Expect::{Cut, Passed, Refused};

vectors! {
    "plain" Passed(200, "ok"), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    "no-reason" Passed(200, "ok"), "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok";
    "until-close" Passed(200, "ok"), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok";
    "chunked" Passed(200, "ok"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";

    // More than was asked for.
    "second-answer" Passed(200, "ok"), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";
    "second-after-chunks" Passed(200, "ok"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";
    "second-after-204" Passed(204, ""), "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";
    "second-after-304" Passed(304, ""), "HTTP/1.1 304 Not Modified\r\nContent-Length: 60\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";
    "204-in-chunks" Passed(204, ""), "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nsmuggled\r\n0\r\n\r\n";
    "204-with-length" Passed(204, ""), "HTTP/1.1 204 No Content\r\nContent-Length: 8\r\n\r\nsmuggled";
    "304-in-chunks" Passed(304, ""), "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nsmuggled\r\n0\r\n\r\n";
    "spare-bytes" Passed(200, "ok"), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n\r\n";

    // Two lengths.
    "cl-te" Refused, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    "cl-twice" Refused, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk";
    "cl-list" Refused, "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nokk";
    "cl-plus" Refused, "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok";
    "cl-minus" Refused, "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok";
    "cl-hex" Refused, "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok";
    "cl-empty" Refused, "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok";
    "cl-overflow" Refused, "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551618\r\n\r\nok";
    "cl-space-before-colon" Refused, "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok";
    "te-x" Refused, "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    "te-twice" Refused, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    "cl-same-twice" Refused, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok";
    "cl-space-inside" Refused, "HTTP/1.1 200 OK\r\nContent-Length: 2 2\r\n\r\nok";
    "cl-fraction" Refused, "HTTP/1.1 200 OK\r\nContent-Length: 2.0\r\n\r\nok";
    "cl-folded" Refused, "HTTP/1.1 200 OK\r\nContent-Length:\r\n 2\r\n\r\nok";
    "cl-te-close" Refused, "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nContent-Length: 12\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    "te-space-before-colon" Refused, "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    "te-vertical-tab" Refused, "HTTP/1.1 200 OK\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    "te-identity" Refused, "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok";
    "te-gzip-chunked" Refused, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    "te-chunked-not-last" Refused, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    "te-empty" Refused, "HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\nContent-Length: 2\r\n\r\nok";
    "te-null" Refused, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\u{0}\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    "te-http-1.0" Refused, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";

    // Lines.
    "bare-lf" Refused, "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";
    "bare-lf-once" Refused, "HTTP/1.1 200 OK\r\nX: y\nContent-Length: 2\r\n\r\nok";
    "bare-cr" Refused, "HTTP/1.1 200 OK\r\nX: y\rZ: z\r\nContent-Length: 2\r\n\r\nok";
    "folded" Refused, "HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 2\r\n\r\nok";
    "null" Refused, "HTTP/1.1 200 OK\r\nX: y\u{0}z\r\nContent-Length: 2\r\n\r\nok";
    "no-colon" Refused, "HTTP/1.1 200 OK\r\nX\r\nContent-Length: 2\r\n\r\nok";
    "space-in-name" Refused, "HTTP/1.1 200 OK\r\nX y: z\r\nContent-Length: 2\r\n\r\nok";
    "no-name" Refused, "HTTP/1.1 200 OK\r\n: z\r\nContent-Length: 2\r\n\r\nok";

    // Status lines.
    "garbage" Refused, "220 mail.example ESMTP\r\n\r\n";
    "version-2" Refused, "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok";
    "version-none" Refused, "HTTP 200 OK\r\nContent-Length: 2\r\n\r\nok";
    "status-two-digits" Refused, "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok";
    "status-four-digits" Refused, "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok";
    "status-letters" Refused, "HTTP/1.1 2OO OK\r\nContent-Length: 2\r\n\r\nok";
    "status-99" Refused, "HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok";
    "status-600" Passed(600, "ok"), "HTTP/1.1 600 Odd\r\nContent-Length: 2\r\n\r\nok";
    "leading-line" Refused, "\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

    // Answers that are none yet, or something else.
    "continue" Passed(200, "ok"), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    "early-hints" Passed(200, "ok"), "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    "interim-with-length" Passed(200, "ok"), "HTTP/1.1 103 Early Hints\r\nContent-Length: 60\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    "interim-in-chunks" Passed(200, "ok"), "HTTP/1.1 102 Processing\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    "interim-bare-lf" Refused, "HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    "switching-unasked" Refused, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nsmuggled";

    // Bodies that go wrong.
    "short" Cut, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nok";
    "chunk-size" Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nx\r\n";
    "chunk-size-plus" Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+2\r\nok\r\n0\r\n\r\n";
    "chunk-end" Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokk\r\n0\r\n\r\n";
    "chunk-bare-lf" Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\n0\n\n";
    "chunk-size-space" Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n 2\r\nok\r\n0\r\n\r\n";
    "chunk-size-0x" Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nok\r\n0\r\n\r\n";
    "chunk-size-empty" Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nok\r\n0\r\n\r\n";
    "chunk-size-overflow" Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\nok\r\n0\r\n\r\n";
    "chunk-extension-bare-lf" Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a\nok\r\n0\r\n\r\n";
    "chunk-extension-bare-cr" Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a\rb\r\nok\r\n0\r\n\r\n";
    "chunk-end-bare-lf" Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\n\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";
    "chunk-trailer-bare-lf" Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\n\r\n";
    "chunk-trailer-length" Passed(200, "ok"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nContent-Length: 8\r\nTransfer-Encoding: identity\r\n\r\n";
    "chunk-no-last" Cut, "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n";
}

/// An origin that answers `/v-NAME` with what the vector says, and everything else with its target.
/// It goes with what is returned.
///
/// # Errors
/// When it can't listen.
pub async fn origin(address: SocketAddr) -> Result<JoinSet<()>> {
    let listener = TcpListener::bind(address).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream));
        }
    });
    Ok(tasks)
}

async fn serve(mut stream: TcpStream) {
    let mut input = Vec::new();
    loop {
        while let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&input[..end]).into_owned();
            input.drain(..end + 4);
            let target = head.split(' ').nth(1).unwrap_or_default();
            let vector = VECTORS.iter().find(|vector| target == format!("/v-{}", vector.name));
            let answer = match vector {
                Some(vector) => vector.raw.to_owned(),
                None => format!("HTTP/1.1 200 OK\r\nX-Path: {target}\r\nContent-Length: 0\r\n\r\n"),
            };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
            if answer.contains("Connection: close") {
                return;
            }
        }
        match stream.read_buf(&mut input).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}
