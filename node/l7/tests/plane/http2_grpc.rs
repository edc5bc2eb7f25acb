//! gRPC: its trailers, its deadlines, and failures in its own form.

use ballast_model::MemberProtocol;
use ballast_telemetry::FailureReason;
use bytes::Bytes;
use http::{HeaderValue, Method, Request};

use crate::harness::*;
use crate::http2_client::*;
use crate::http2_origin;

pub(crate) fn call(timeout: Option<&str>) -> Request<()> {
    let mut request = request(Method::POST, "/test.Echo/Say");
    let fields = request.headers_mut();
    fields.insert("content-type", HeaderValue::from_static("application/grpc+proto"));
    fields.insert("te", HeaderValue::from_static("trailers"));
    if let Some(timeout) = timeout {
        fields.insert("grpc-timeout", HeaderValue::from_str(timeout).unwrap());
    }
    request
}

/// Its status, wherever it stands.
fn status(answer: &Answer) -> Option<&str> {
    let fields = answer.trailers.as_ref().unwrap_or(&answer.fields);
    fields.get("grpc-status").and_then(|status| status.to_str().ok())
}

/// Answers each message, as it comes, with itself; then says that all is well.
async fn echo() -> Origin {
    Origin::start(|_, mut io| async move {
        let Some(head) = io.head().await else { return };
        assert!(head.contains("TE: trailers\r\n"), "{head}");
        let fields = "Content-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n";
        io.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).await;
        while let Some(chunk) = io.chunk().await {
            io.send(format!("{:x}\r\n", chunk.len())).await;
            io.send(chunk).await;
            io.send("\r\n").await;
        }
        io.send("0\r\nGrpc-Status: 0\r\n\r\n").await;
    })
    .await
}

#[tokio::test]
async fn messages_go_both_ways_at_once_and_the_status_comes_last() {
    let origin = echo().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = Client::connect(&site).await;
    let (response, mut send) = client.begin(call(None), false).await;
    send.send_data(Bytes::from_static(b"one"), false).unwrap();
    let mut body = soon(response).await.unwrap().into_body();
    for word in ["one", "two", "three"] {
        if word != "one" {
            send.send_data(Bytes::from(word), false).unwrap();
        }
        let piece = soon(body.data()).await.unwrap().unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        assert_eq!(piece, word);
    }
    send.send_data(Bytes::new(), true).unwrap();
    while let Some(rest) = soon(body.data()).await {
        assert!(rest.unwrap().is_empty());
    }
    let trailers = soon(body.trailers()).await.unwrap().unwrap();
    assert_eq!(trailers.get("grpc-status").unwrap(), "0");
    site.served(1).await;
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn messages_go_both_ways_at_once_by_http_2_on_both_sides() {
    let origin = http2_origin::start(None, h2::server::Builder::new(), |_, exchange| async move {
        let (request, mut respond) = exchange;
        assert_eq!(request.headers().get("te").unwrap(), "trailers");
        let mut body = request.into_body();
        let mut send = respond.send_response(http::Response::new(()), false).unwrap();
        while let Some(Ok(piece)) = body.data().await {
            let _ended = body.flow_control().release_capacity(piece.len());
            send.send_data(piece, false).unwrap();
        }
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        send.send_trailers(trailers).unwrap();
    })
    .await;
    let site = Site::start_with(&[origin.address], |_, pool| {
        pool.protocol = MemberProtocol::Http2;
    })
    .await;
    let mut client = Client::connect(&site).await;
    let (response, mut send) = client.begin(call(Some("1M")), false).await;
    send.send_data(Bytes::from_static(b"one"), false).unwrap();
    let mut body = soon(response).await.unwrap().into_body();
    for word in ["one", "two", "three"] {
        if word != "one" {
            send.send_data(Bytes::from(word), false).unwrap();
        }
        let piece = soon(body.data()).await.unwrap().unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        assert_eq!(piece, word);
    }
    send.send_data(Bytes::new(), true).unwrap();
    while let Some(rest) = soon(body.data()).await {
        assert!(rest.unwrap().is_empty());
    }
    let trailers = soon(body.trailers()).await.unwrap().unwrap();
    assert_eq!(trailers.get("grpc-status").unwrap(), "0");
    site.served(1).await;
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn failures_of_our_own_are_told_as_grpc_tells_them() {
    let site = Site::start(&[vacant()]).await;
    let mut client = Client::connect(&site).await;
    let answer = client.ask(call(None), b"").await.unwrap();
    assert_eq!((answer.status, status(&answer)), (200, Some("14")), "UNAVAILABLE");
    assert_eq!(answer.field("content-type"), Some("application/grpc"));
    assert_eq!(answer.field("grpc-message"), Some("connect_refused"));
    assert!(answer.trailers.is_none() && answer.body.is_empty());
    site.failed(FailureReason::ConnectRefused, 1).await;
    // Others are told as ever.
    assert_eq!(client.get("/").await.status, 502);
}

#[tokio::test]
async fn a_member_that_is_too_slow_is_not_waited_for_beyond_the_deadline() {
    let origin = Origin::start(|_, mut io| async move {
        io.head().await;
        io.rest().await;
    })
    .await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.response_timeout_ms = 60_000;
    })
    .await;
    let mut client = Client::connect(&site).await;
    let timeouts = [("200m", 200), ("200000u", 200), ("99000000n", 99)];
    for (n, (timeout, timeout_ms)) in timeouts.into_iter().enumerate() {
        let begin = tokio::time::Instant::now();
        let answer = client.ask(call(Some(timeout)), b"").await.unwrap();
        assert_eq!(status(&answer), Some("4"), "DEADLINE_EXCEEDED");
        // The worker's clock is as old as its last event, a tick at most.
        let elapsed_ms = begin.elapsed().as_millis();
        assert!(elapsed_ms + 50 >= timeout_ms, "{elapsed_ms} ms");
        site.failed(FailureReason::DeadlineExceeded, n as u64 + 1).await;
    }
}

#[tokio::test]
async fn the_virtual_server_s_own_limit_holds_where_it_is_shorter() {
    let origin = Origin::start(|_, mut io| async move {
        io.head().await;
        io.rest().await;
    })
    .await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.response_timeout_ms = 200;
    })
    .await;
    let mut client = Client::connect(&site).await;
    let answer = client.ask(call(Some("1H")), b"").await.unwrap();
    assert_eq!(status(&answer), Some("4"));
    site.failed(FailureReason::ResponseTimeout, 1).await;
}

#[tokio::test]
async fn a_call_that_talks_beyond_its_deadline_is_broken_off() {
    let origin = echo().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = Client::connect(&site).await;
    let (response, mut send) = client.begin(call(Some("300m")), false).await;
    send.send_data(Bytes::from_static(b"one"), false).unwrap();
    let mut body = soon(response).await.unwrap().into_body();
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
    let error = soon(async {
        loop {
            tokio::select! {
                // Both may be asked again after the other was ready.
                piece = body.data() => match piece {
                    Some(Ok(piece)) => {
                        body.flow_control().release_capacity(piece.len()).unwrap();
                    }
                    Some(Err(error)) => return error,
                    None => panic!("an orderly end"),
                },
                _ = ticks.tick() => {
                    // Refused once the stream is gone, which the other branch tells.
                    let _ = send.send_data(Bytes::from_static(b"more"), false);
                }
            }
        }
    })
    .await;
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    site.failed(FailureReason::DeadlineExceeded, 1).await;
}

/// Some servers and libraries add a length to calls of one message; the status comes behind it all the
/// same.
#[tokio::test]
async fn a_length_takes_no_trailers_away() {
    let origin = http2_origin::start(None, h2::server::Builder::new(), |_, exchange| async move {
        let (request, respond) = exchange;
        let kind = request.headers().get("content-type").cloned();
        let (body, trailers) = http2_origin::read_all(request.into_body()).await;
        assert_eq!(trailers.expect("trailers").get("x-sum").unwrap(), "1");
        let mut head = http::Response::new(());
        let fields = head.headers_mut();
        fields.insert("content-length", body.len().into());
        match kind {
            Some(kind) => fields.insert("content-type", kind),
            None => fields.insert("trailer", HeaderValue::from_static("grpc-status")),
        };
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("7"));
        http2_origin::answer(respond, head, &body, Some(trailers)).await;
    })
    .await;
    let site = Site::start_with(&[origin.address], |_, pool| {
        pool.protocol = MemberProtocol::Http2;
    })
    .await;
    let mut client = Client::connect(&site).await;
    let announced = || {
        let mut announced = request(Method::POST, "/");
        announced.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
        announced
    };
    for (mut request, body) in
        [(call(None), "hello"), (announced(), "hello"), (call(None), ""), (announced(), "")]
    {
        request.headers_mut().insert("content-length", body.len().into());
        let (response, mut send) = client.begin(request, false).await;
        if !body.is_empty() {
            send.send_data(Bytes::from_static(body.as_bytes()), false).unwrap();
        }
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("1"));
        send.send_trailers(trailers).unwrap();
        let answer = read(response).await.expect("an answer");
        assert_eq!((answer.text().as_str(), status(&answer)), (body, Some("7")));
    }
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn a_length_that_is_passed_on_in_chunks_must_be_right() {
    let origin = http2_origin::echo(None).await;
    let site = Site::start_with(&[origin.address], |_, pool| {
        pool.protocol = MemberProtocol::Http2;
    })
    .await;
    let mut client = Client::connect(&site).await;
    for length in ["4", "6", "0"] {
        let mut request = call(None);
        request.headers_mut().insert("content-length", HeaderValue::from_static(length));
        let (response, mut send) = client.begin(request, false).await;
        // Refused where the stream is gone already.
        let _ = send.send_data(Bytes::from_static(b"hello"), true);
        assert!(read(response).await.is_err(), "{length}");
    }
    site.failed(FailureReason::BadRequestFraming, 3).await;
}
