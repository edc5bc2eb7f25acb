//! What a connection of HTTP/2 may ask of us, at each limit and beyond it; and how it ends.

use ballast_model::Http2Limits;
use ballast_telemetry::FailureReason;
use bytes::Bytes;
use h2::Reason;
use http::{HeaderValue, Method};

use crate::harness::*;
use crate::http2_client::*;

const ENHANCE_YOUR_CALM: u32 = 11;

/// An origin that answers when it is told to.
async fn holding() -> (Origin, tokio::sync::watch::Sender<bool>) {
    let (release, released) = tokio::sync::watch::channel(false);
    let origin = Origin::start(move |_, mut io| {
        let mut released = released.clone();
        async move {
            while io.head().await.is_some() {
                // Answers at the end too, when nobody can tell it any more.
                let _ = released.wait_for(|released| *released).await;
                io.send(ok("")).await;
            }
        }
    })
    .await;
    (origin, release)
}

async fn limited(origin: &Origin, adjust: impl FnOnce(&mut Http2Limits)) -> Site {
    Site::start_with(&[origin.address], |server, _| adjust(&mut server.http.http2_limits)).await
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused() {
    let (origin, release) = holding().await;
    let site = limited(&origin, |limits| limits.stream_max_count = 3).await;
    let mut raw = Raw::connect(&site).await;
    for stream in [1, 3, 5, 7] {
        raw.headers(stream, 0x1, &GET).await;
    }
    let reset = raw.next_of(0x3).await.unwrap();
    assert_eq!((reset.stream, reset.code()), (7, Some(7)), "REFUSED_STREAM");
    site.failed(FailureReason::Http2StreamLimit, 1).await;
    release.send_replace(true);
    for _ in 0..3 {
        assert_ne!(raw.next_of(0x1).await.unwrap().stream, 7);
    }
    site.served(4).await;
    site.failed(FailureReason::Http2StreamLimit, 1).await;
    // There is room again.
    raw.headers(9, 0x1, &GET).await;
    assert_eq!(raw.next_of(0x1).await.unwrap().stream, 9);
}

#[tokio::test]
async fn a_connection_is_replaced_after_its_last_request() {
    let origin = Origin::echo().await;
    let site = limited(&origin, |limits| limits.request_max_count = 3).await;
    let mut raw = Raw::connect(&site).await;
    for stream in [1, 3] {
        raw.headers(stream, 0x1, &GET).await;
        assert_eq!(raw.next_of(0x1).await.unwrap().stream, stream);
    }
    raw.headers(5, 0x1, &GET).await;
    let goaway = raw.next_of(0x7).await.unwrap();
    assert_eq!(goaway.code(), Some(0));
    // Whoever keeps to the protocol is served to the end and closes.
    let mut client = Client::connect(&site).await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.status, 200);
    }
    soon(client.connection).await.unwrap().expect("an orderly end");
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn a_rapid_reset_ends_the_connection() {
    let (origin, _release) = holding().await;
    let site = limited(&origin, |limits| limits.reset_max_count = 20).await;
    let mut raw = Raw::connect(&site).await;
    for n in 0..20 {
        raw.headers(2 * n + 1, 0x1, &GET).await;
        raw.send(0x3, 0, 2 * n + 1, &8u32.to_be_bytes()).await;
    }
    raw.send(0x6, 0, 0, &[1; 8]).await;
    assert!(raw.next_of(0x6).await.is_some(), "20 are allowed");
    raw.headers(41, 0x1, &GET).await;
    raw.send(0x3, 0, 41, &8u32.to_be_bytes()).await;
    assert_eq!(raw.next_of(0x7).await.unwrap().code(), Some(ENHANCE_YOUR_CALM));
    until(|| site.totals().failures_for(FailureReason::Http2ResetFlood) == 1).await;
    until(|| site.totals().connections == 0).await;
    let totals = site.totals();
    assert_eq!(totals.failures_for(FailureReason::ClientClosed), totals.requests_total());
}

#[tokio::test]
async fn a_flood_of_pings_ends_the_connection() {
    let origin = Origin::echo().await;
    let site = limited(&origin, |limits| limits.control_frame_max_count = 30).await;
    let mut raw = Raw::connect(&site).await;
    // One was SETTINGS.
    for _ in 0..29 {
        raw.send(0x6, 0, 0, &[1; 8]).await;
    }
    for _ in 0..29 {
        raw.next_of(0x6).await.expect("an answer");
    }
    raw.send(0x6, 0, 0, &[1; 8]).await;
    assert_eq!(raw.next_of(0x7).await.unwrap().code(), Some(ENHANCE_YOUR_CALM));
    site.failed(FailureReason::Http2ControlFlood, 1).await;
}

#[tokio::test]
async fn a_flood_of_continuations_ends_the_connection() {
    let origin = Origin::echo().await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.header_max_bytes = 16 * 1024;
        server.http.uri_max_bytes = 1_024;
    })
    .await;
    let mut raw = Raw::connect(&site).await;
    let block = literals(&GET);
    raw.send(0x1, 0x1, 1, &block).await;
    for n in 1..=5 {
        let flags = if n == 5 { 0x4 } else { 0 };
        raw.send(0x9, flags, 1, &literals(&[("x", "y")])).await;
    }
    assert_eq!(raw.next_of(0x1).await.unwrap().stream, 1, "5 are allowed");
    raw.send(0x1, 0x1, 3, &block).await;
    for _ in 1..=6 {
        raw.send(0x9, 0, 3, &literals(&[("x", "y")])).await;
    }
    assert_eq!(raw.next_of(0x7).await.unwrap().code(), Some(ENHANCE_YOUR_CALM));
    site.failed(FailureReason::Http2ContinuationFlood, 1).await;
}

#[tokio::test]
async fn a_flood_of_empty_data_ends_the_connection() {
    let (origin, _release) = holding().await;
    let site = Site::start(&[origin.address]).await;
    let mut raw = Raw::connect(&site).await;
    let mut post = GET;
    post[0].1 = "POST";
    raw.headers(1, 0, &post).await;
    for _ in 0..100 {
        raw.send(0x0, 0, 1, b"").await;
    }
    raw.send(0x6, 0, 0, &[1; 8]).await;
    assert!(raw.next_of(0x6).await.is_some(), "100 are allowed");
    raw.send(0x0, 0, 1, b"").await;
    assert_eq!(raw.next_of(0x7).await.unwrap().code(), Some(ENHANCE_YOUR_CALM));
    until(|| site.totals().failures_for(FailureReason::Http2EmptyData) == 1).await;
}

#[tokio::test]
async fn a_header_may_be_as_long_as_allowed_and_no_longer() {
    let origin = Origin::answering(|_| ok("")).await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.header_max_bytes = 2_000;
        server.http.uri_max_bytes = 1_000;
    })
    .await;
    let mut client = Client::connect(&site).await;
    // As it stands in HTTP/1.1.
    let fixed = "GET / HTTP/1.1\r\nhost: site\r\nx-long: \r\n\r\n".len();
    for (length, status) in [(2_000, 200), (2_001, 431)] {
        let mut request = get("/");
        let value = "v".repeat(length - fixed);
        request.headers_mut().insert("x-long", HeaderValue::from_str(&value).unwrap());
        assert_eq!(client.ask(request, b"").await.unwrap().status, status);
    }
    site.failed(FailureReason::HeaderTooLarge, 1).await;
    // Far beyond what was announced it is not even unpacked.
    let mut request = get("/");
    let value = "v".repeat(8_000);
    request.headers_mut().insert("x-long", HeaderValue::from_str(&value).unwrap());
    assert_eq!(client.ask(request, b"").await.unwrap().status, 431);
    site.failed(FailureReason::HeaderTooLarge, 2).await;
    site.served(3).await;
}

#[tokio::test]
async fn a_header_bomb_ends_the_connection() {
    let origin = Origin::echo().await;
    let site = Site::start(&[origin.address]).await;
    let mut raw = Raw::connect(&site).await;
    let mut block = literals(&GET);
    // One field of 4,000 bytes is put into the table, then named by one byte each, 4,000 times.
    block.push(0x40);
    block.extend([1, b'x', 127]);
    let length = 4_000 - 127;
    block.extend([(length % 128) as u8 | 128, (length / 128) as u8]);
    block.extend(vec![b'v'; 4_000]);
    block.extend(vec![0x80 | 62; 4_000]);
    raw.send(0x1, 0x5, 1, &block).await;
    assert_eq!(raw.next_of(0x7).await.unwrap().code(), Some(ENHANCE_YOUR_CALM));
    site.failed(FailureReason::Http2HeaderBomb, 1).await;
}

#[tokio::test]
async fn a_header_that_does_not_end_times_out() {
    let origin = Origin::echo().await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.header_timeout_ms = 200;
    })
    .await;
    let mut raw = Raw::connect(&site).await;
    raw.send(0x1, 0x1, 1, &literals(&GET)).await;
    assert_eq!(raw.next_of(0x7).await.unwrap().code(), Some(ENHANCE_YOUR_CALM));
    site.failed(FailureReason::HeaderTimeout, 1).await;
}

/// Stream 0 has no requests (RFC 9113 §6.2). Once, such a frame had the worker count for ever.
#[tokio::test]
async fn a_header_on_stream_0_that_does_not_end_times_out() {
    let origin = Origin::echo().await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.header_timeout_ms = 200;
    })
    .await;
    let mut raw = Raw::connect(&site).await;
    raw.io.send([0, 0, 6, 0x1, 0x1, 0, 0, 0, 0]).await;
    assert_eq!(raw.next_of(0x7).await.unwrap().code(), Some(ENHANCE_YOUR_CALM));
    site.failed(FailureReason::HeaderTimeout, 1).await;
    assert_eq!(site.plane.totals().panics_total, 0);
}

#[tokio::test]
async fn a_client_that_never_says_hello_is_let_go() {
    let origin = Origin::echo().await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.header_timeout_ms = 200;
    })
    .await;
    let mut raw = Raw { io: site.connect().await };
    raw.io.send(b"PRI * HTTP/2.0\r\n\r\nSM").await;
    raw.io.rest().await;
    site.failed(FailureReason::Http2Protocol, 1).await;
}

#[tokio::test]
async fn a_stalled_window_ends_the_connection() {
    let origin = Origin::answering(|_| ok(&"x".repeat(1_000))).await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.body_idle_timeout_ms = 300;
    })
    .await;
    let mut io = site.connect().await;
    io.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let mut raw = Raw { io };
    // SETTINGS_INITIAL_WINDOW_SIZE of 0: nothing may be sent to it.
    raw.send(0x4, 0, 0, &[0, 4, 0, 0, 0, 0]).await;
    raw.headers(1, 0x1, &GET).await;
    assert_eq!(raw.next_of(0x1).await.unwrap().stream, 1);
    until(|| site.totals().failures_total() > 0).await;
    // The exchange is told first; what then is left in the connection is told by that.
    let totals = site.totals();
    let told = totals.failures_for(FailureReason::ClientWriteTimeout)
        + totals.failures_for(FailureReason::Http2WindowStall);
    assert_eq!((told, totals.failures_total()), (1, 1));
}

#[tokio::test]
async fn what_waits_for_a_client_that_reads_nothing_ends_the_connection() {
    // Windows that hold every response, and a socket that does not.
    let origin = Origin::answering(|_| ok(&"x".repeat(60_000))).await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.body_idle_timeout_ms = 400;
    })
    .await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut io = Io::new(soon(socket.connect(site.address)).await.unwrap());
    io.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let mut raw = Raw { io };
    raw.send(0x4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]).await;
    raw.send(0x8, 0, 0, &0x7f00_0000u32.to_be_bytes()).await;
    for n in 0..120 {
        raw.headers(2 * n + 1, 0x1, &GET).await;
    }
    until(|| site.totals().http2_connections_total == 1).await;
    until(|| site.totals().connections == 0).await;
    let totals = site.totals();
    let stalls = totals.failures_for(FailureReason::Http2WindowStall);
    let timeouts = totals.failures_for(FailureReason::ClientWriteTimeout);
    assert!(stalls + timeouts > 0, "{totals:?}");
}

#[tokio::test]
async fn an_upload_that_stalls_times_out_alone() {
    let origin = Origin::echo().await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.body_idle_timeout_ms = 200;
    })
    .await;
    let mut client = Client::connect(&site).await;
    let mut upload = request(Method::POST, "/");
    upload.headers_mut().insert("content-length", HeaderValue::from_static("11"));
    let (response, mut stream) = client.begin(upload, false).await;
    stream.send_data(Bytes::from_static(b"some"), false).unwrap();
    assert_eq!(read(response).await.unwrap().status, 408);
    site.failed(FailureReason::BodyTimeout, 1).await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(site.totals().connections_total, 1);
}

#[tokio::test]
async fn an_idle_connection_is_asked_to_go() {
    let origin = Origin::echo().await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.keep_alive_timeout_ms = 200;
    })
    .await;
    let mut client = Client::connect(&site).await;
    assert_eq!(client.get("/").await.status, 200);
    soon(client.connection).await.unwrap().expect("an orderly end");
    until(|| site.totals().connections == 0).await;
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn a_drain_lets_what_is_under_way_finish() {
    let (origin, release) = holding().await;
    let mut site = Site::start(&[origin.address]).await;
    let mut client = Client::connect(&site).await;
    let (response, _) = client.begin(get("/"), true).await;
    until(|| origin.connections() == 1).await;
    site.server.enabled = false;
    site.apply().await;
    release.send_replace(true);
    assert_eq!(read(response).await.unwrap().status, 200);
    soon(client.connection).await.unwrap().expect("an orderly end");
    until(|| site.totals().connections == 0).await;
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn a_change_that_does_not_concern_it_leaves_a_connection_alone() {
    let (one, other) = (Origin::answering(|_| ok("1")).await, Origin::answering(|_| ok("2")).await);
    let mut site = Site::start(&[one.address]).await;
    let mut client = Client::connect(&site).await;
    assert_eq!(client.get("/").await.text(), "1");
    site.pool.members = vec![ballast_model::MemberSpec::new(other.address)];
    site.server.http.body_max_bytes = Some(10);
    site.apply().await;
    assert_eq!(client.get("/").await.text(), "2");
    let mut upload = request(Method::POST, "/");
    upload.headers_mut().insert("content-length", HeaderValue::from_static("11"));
    let (response, _stream) = client.begin(upload, false).await;
    assert_eq!(read(response).await.unwrap().status, 413);
    let (response, mut stream) = client.begin(request(Method::POST, "/"), false).await;
    stream.send_data(Bytes::from(vec![0; 11]), true).unwrap();
    assert_eq!(read(response).await.unwrap().status, 413);
    site.failed(FailureReason::BodyTooLarge, 2).await;
    assert_eq!(site.totals().connections_total, 1);
}

#[tokio::test]
async fn broken_frames_end_the_connection() {
    let origin = Origin::echo().await;
    let site = Site::start(&[origin.address]).await;
    let frames: [(&str, Vec<u8>, Reason); 5] = [
        ("DATA of no stream", frame(0x0, 0, 0, b"x"), Reason::PROTOCOL_ERROR),
        ("an even stream", frame(0x1, 0x5, 2, &literals(&GET)), Reason::PROTOCOL_ERROR),
        ("a PING of 7 bytes", frame(0x6, 0, 0, &[0; 7]), Reason::PROTOCOL_ERROR),
        ("a frame too long", frame(0x0, 0, 1, &[0; 16_385]), Reason::FRAME_SIZE_ERROR),
        ("an unknown index", frame(0x1, 0x5, 1, &[0xff, 0x7f]), Reason::PROTOCOL_ERROR),
    ];
    for (n, (what, bytes, reason)) in frames.into_iter().enumerate() {
        let mut raw = Raw::connect(&site).await;
        raw.io.send(bytes).await;
        let goaway = raw.next_of(0x7).await.unwrap_or_else(|| panic!("{what}: no GOAWAY"));
        assert_eq!(goaway.code(), Some(reason.into()), "{what}");
        site.failed(FailureReason::Http2Protocol, n as u64 + 1).await;
    }
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn a_header_frame_that_trickles_times_out() {
    let origin = Origin::echo().await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.header_timeout_ms = 200;
    })
    .await;
    let mut raw = Raw::connect(&site).await;
    // END_HEADERS and END_STREAM are said; of 100 bytes one comes.
    raw.io.send([0, 0, 100, 0x1, 0x5, 0, 0, 0, 1, 0x82]).await;
    assert_eq!(raw.next_of(0x7).await.unwrap().code(), Some(ENHANCE_YOUR_CALM));
    site.failed(FailureReason::HeaderTimeout, 1).await;
}

#[tokio::test]
async fn who_asks_for_nothing_at_first_may_take_as_long_as_a_header() {
    let origin = Origin::echo().await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.header_timeout_ms = 300;
        server.http.keep_alive_timeout_ms = 60_000;
    })
    .await;
    let mut asks = Client::connect(&site).await;
    assert_eq!(asks.get("/").await.status, 200);
    let silent = Client::connect(&site).await;
    soon(silent.connection).await.unwrap().expect("an orderly end");
    until(|| site.totals().connections == 1).await;
    assert_eq!(asks.get("/").await.status, 200, "between requests there is more time");
    assert_eq!(site.totals().failures_total(), 0);
}
