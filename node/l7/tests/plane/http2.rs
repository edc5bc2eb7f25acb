//! HTTP/2 with clients: what a request becomes at a member, and its response at the client.

use ballast_telemetry::FailureReason;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};

use crate::harness::*;
use crate::http2_client::*;

#[tokio::test]
async fn a_request_reaches_the_member_in_http_1() {
    let origin = Origin::echo().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = Client::connect(&site).await;
    let request = Request::builder()
        .uri("http://site:8080/a/b?c=d")
        .header("x-one", "1")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let answer = client.ask(request, b"").await.unwrap();
    let text = answer.text();
    assert_eq!(answer.status, 200);
    assert!(text.starts_with("GET /a/b?c=d HTTP/1.1\r\n"), "{text}");
    for line in ["host: site:8080\r\n", "x-one: 1\r\n", "cookie: a=1; b=2\r\n", "TE: trailers\r\n"]
    {
        assert!(text.contains(line), "{line} {text}");
    }
    assert!(text.contains("X-Forwarded-For: 127.0.0.1\r\n"), "{text}");
    assert!(!text.to_lowercase().contains("transfer-encoding"), "{text}");
    site.served(1).await;
    let totals = site.totals();
    assert_eq!((totals.http2_connections_total, totals.http2_requests_total), (1, 1));
    assert_eq!(totals.failures_total(), 0);
}

#[tokio::test]
async fn methods_go_through_and_lengths_are_told() {
    let origin = Origin::echo().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = Client::connect(&site).await;
    for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        let answer = client.ask(request(method.clone(), "/"), b"").await.unwrap();
        let text = answer.text();
        assert!(text.starts_with(&format!("{method} / HTTP/1.1")), "{text}");
        let tells = matches!(method, Method::POST | Method::PUT | Method::PATCH);
        assert_eq!(text.contains("Content-Length: 0"), tells, "{text}");
    }
    let options = Request::builder().method("OPTIONS").uri("http://site/x").body(()).unwrap();
    assert!(client.ask(options, b"").await.unwrap().text().starts_with("OPTIONS /x "));
    assert_eq!(origin.connections(), 1, "the member's connection was used again");
}

#[tokio::test]
async fn bodies_of_any_size_go_both_ways() {
    let origin = Origin::start(|_, mut io| async move {
        while let Some(request) = io.message().await {
            let head = match request.field("x-chunked") {
                Some(_) => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
                None => {
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len())
                }
            };
            io.send(head).await;
            if request.field("x-chunked").is_none() {
                io.send(&request.body).await;
                continue;
            }
            for chunk in request.body.chunks(30_000) {
                io.send(format!("{:x}\r\n", chunk.len())).await;
                io.send(chunk).await;
                io.send("\r\n").await;
            }
            io.send("0\r\n\r\n").await;
        }
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = Client::connect(&site).await;
    for size in [0, 1, 1_000, 16_383, 16_384, 16_385, 70_000, 1 << 20, 8 << 20] {
        let body: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        for (has_length, is_chunked) in [(true, false), (false, true)] {
            let mut request = request(Method::POST, "/");
            if has_length {
                let length = HeaderValue::from(body.len());
                request.headers_mut().insert("content-length", length);
            }
            if is_chunked {
                request.headers_mut().insert("x-chunked", HeaderValue::from_static("1"));
            }
            let answer = client.ask(request, &body).await.unwrap();
            assert_eq!(answer.status, 200);
            assert!(answer.body == body, "{size} bytes came back as {}", answer.body.len());
            let length = (!is_chunked).then(|| body.len().to_string());
            assert_eq!(answer.field("content-length"), length.as_deref());
            assert_eq!(answer.field("transfer-encoding"), None);
        }
    }
    assert_eq!(origin.connections(), 1);
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn trailers_go_both_ways() {
    let origin = Origin::start(|_, mut io| async move {
        while let Some(request) = io.message().await {
            let trailer = request.trailer.join("|");
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            let length = trailer.len();
            io.send(format!("{head}{length:x}\r\n{trailer}\r\n0\r\nGrpc-Status: 7\r\n\r\n")).await;
        }
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = Client::connect(&site).await;
    let (response, mut stream) = client.begin(request(Method::POST, "/"), false).await;
    stream.send_data(Bytes::from_static(b"hello"), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-check", HeaderValue::from_static("5"));
    stream.send_trailers(trailers).unwrap();
    let answer = read(response).await.unwrap();
    assert_eq!(answer.text(), "x-check: 5");
    assert_eq!(answer.trailers.unwrap().get("grpc-status").unwrap(), "7");
}

#[tokio::test]
async fn responses_without_a_body_end_with_their_head() {
    let origin = Origin::answering(|request| {
        if request.head.starts_with("HEAD") {
            "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_owned()
        } else if request.head.contains("/204") {
            "HTTP/1.1 204 No Content\r\n\r\n".to_owned()
        } else {
            "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 7\r\n\r\n".to_owned()
        }
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = Client::connect(&site).await;
    let answer = client.ask(request(Method::HEAD, "/"), b"").await.unwrap();
    assert_eq!((answer.status, answer.field("content-length")), (200, Some("1000")));
    assert!(answer.body.is_empty());
    assert_eq!(client.get("/204").await.status, 204);
    let answer = client.get("/304").await;
    assert_eq!((answer.status, answer.field("etag")), (304, Some("\"x\"")));
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn interim_responses_come_first() {
    let origin = Origin::start(|_, mut io| async move {
        let head = io.head().await.unwrap();
        assert!(head.to_lowercase().contains("expect: 100-continue"));
        io.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        io.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n").await;
        let body = io.body(&head).await;
        io.send(ok(&format!("{}", body.len()))).await;
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = Client::connect(&site).await;
    let mut expecting = request(Method::POST, "/");
    expecting.headers_mut().insert("expect", HeaderValue::from_static("100-continue"));
    expecting.headers_mut().insert("content-length", HeaderValue::from_static("5"));
    let (mut response, mut stream) = client.begin(expecting, false).await;
    let mut statuses = Vec::new();
    for _ in 0..2 {
        let interim = std::future::poll_fn(|cx| response.poll_informational(cx));
        statuses.push(soon(interim).await.unwrap().unwrap().status().as_u16());
    }
    assert_eq!(statuses, [100, 103]);
    stream.send_data(Bytes::from_static(b"12345"), true).unwrap();
    assert_eq!(read(response).await.unwrap().text(), "5");
}

#[tokio::test]
async fn many_streams_are_served_at_once() {
    let origin = Origin::echo().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = Client::connect(&site).await;
    client.get("/").await;
    let mut waiting = Vec::new();
    for n in 0..100 {
        let (response, _) = client.begin(get(&format!("/{n}")), true).await;
        waiting.push(tokio::spawn(read(response)));
    }
    for (n, waiting) in waiting.into_iter().enumerate() {
        let answer = waiting.await.unwrap().unwrap();
        assert!(answer.text().starts_with(&format!("GET /{n} ")), "{}", answer.text());
    }
    site.served(101).await;
    assert_eq!(site.totals().failures_total(), 0);
    assert_eq!(site.totals().connections_total, 1);
}

#[tokio::test]
async fn failures_of_the_member_are_answered() {
    let site = Site::start(&[vacant()]).await;
    let mut client = Client::connect(&site).await;
    let answer = client.get("/").await;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (502, "502 Bad Gateway: connect_refused\n")
    );
    assert_eq!(answer.field("connection"), None);
    site.failed(FailureReason::ConnectRefused, 1).await;
    assert_eq!(client.get("/").await.status, 502, "the connection goes on");
}

#[tokio::test]
async fn a_response_that_breaks_off_resets_the_stream_alone() {
    let origin = Origin::start(|_, mut io| async move {
        let head = io.head().await.unwrap_or_default();
        if head.starts_with("GET /broken") {
            io.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nabc").await;
        } else {
            io.send(ok("whole")).await;
        }
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = Client::connect(&site).await;
    let error = client.ask(get("/broken"), b"").await.unwrap_err();
    assert!(error.is_reset() && error.is_remote(), "{error}");
    assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
    site.failed(FailureReason::UpstreamClosedEarly, 1).await;
    assert_eq!(client.get("/").await.text(), "whole");
}

#[tokio::test]
async fn a_client_that_breaks_off_its_upload_frees_the_member() {
    let origin = Origin::echo().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = Client::connect(&site).await;
    let (_response, mut stream) = client.begin(request(Method::POST, "/"), false).await;
    stream.send_data(Bytes::from_static(b"some"), false).unwrap();
    until(|| origin.connections() == 1).await;
    stream.send_reset(h2::Reason::CANCEL);
    site.failed(FailureReason::ClientClosed, 1).await;
    assert!(client.get("/after").await.text().starts_with("GET /after"));
    assert_eq!(origin.connections(), 2, "the connection with half a request is not used again");
}

#[tokio::test]
async fn a_client_that_breaks_off_while_it_waits_frees_the_member() {
    let origin = Origin::start(|_, mut io| async move {
        io.head().await;
        io.rest().await;
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = Client::connect(&site).await;
    let (response, mut stream) = client.begin(get("/"), true).await;
    until(|| origin.connections() == 1).await;
    stream.send_reset(h2::Reason::CANCEL);
    drop(response);
    site.failed(FailureReason::ClientClosed, 1).await;
}

#[tokio::test]
async fn a_client_that_breaks_off_its_download_frees_the_member() {
    let origin = Origin::start(|_, mut io| async move {
        while io.head().await.is_some() {
            let length = 64 << 20;
            io.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")).await;
            while io.try_send(vec![0; 1 << 16]).await.is_ok() {}
        }
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = Client::connect(&site).await;
    let (response, mut request) = client.begin(get("/"), true).await;
    let mut stream = soon(response).await.unwrap().into_body();
    soon(stream.data()).await.unwrap().unwrap();
    request.send_reset(h2::Reason::CANCEL);
    drop(stream);
    site.failed(FailureReason::ClientClosed, 1).await;
}

#[tokio::test]
async fn a_slow_reader_holds_the_member_back() {
    let (sent, mut watch) = tokio::sync::watch::channel(0usize);
    let sent = std::sync::Arc::new(sent);
    let origin = Origin::start(move |_, mut io| {
        let sent = std::sync::Arc::clone(&sent);
        async move {
            io.head().await;
            let total = 64 << 20;
            io.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n")).await;
            for _ in 0..total >> 16 {
                if io.try_send(vec![0; 1 << 16]).await.is_err() {
                    return;
                }
                sent.send_modify(|sent| *sent += 1 << 16);
            }
        }
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = Client::connect(&site).await;
    let (response, _) = client.begin(get("/"), true).await;
    let mut stream = soon(response).await.unwrap().into_body();
    // Without a window nothing moves but what sockets and buffers hold.
    let mut last = 0;
    while tokio::time::timeout(QUIET, watch.changed()).await.is_ok() {
        last = *watch.borrow_and_update();
        assert!(last < 32 << 20, "{last} bytes were taken from the member");
    }
    assert!(last > 0);
    let body = read_body(&mut stream).await.unwrap();
    assert_eq!(body.len(), 64 << 20);
    site.served(1).await;
}

#[tokio::test]
async fn a_slow_member_holds_the_client_back() {
    let origin = Origin::start(|_, mut io| async move {
        let head = io.head().await.unwrap();
        assert!(head.contains("content-length") || head.contains("Content-Length"));
        // Reads nothing more.
        std::future::pending::<()>().await;
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut client = Client::connect(&site).await;
    let mut upload = request(Method::POST, "/");
    upload.headers_mut().insert("content-length", HeaderValue::from(64 << 20));
    let (_response, mut stream) = client.begin(upload, false).await;
    let mut sent = 0;
    loop {
        stream.reserve_capacity(1 << 16);
        if stream.capacity() == 0 {
            let room = std::future::poll_fn(|cx| stream.poll_capacity(cx));
            if tokio::time::timeout(QUIET, room).await.is_err() {
                break;
            }
        }
        let count = stream.capacity();
        stream.send_data(Bytes::from(vec![0; count]), false).unwrap();
        sent += count;
        assert!(sent < 48 << 20, "{sent} bytes were taken");
    }
    assert!(sent > 0);
}

#[tokio::test]
async fn fields_of_the_connection_stay_behind() {
    let origin = Origin::answering(|_| {
        let fields = "Connection: keep-alive, X-Hop\r\nKeep-Alive: 5\r\nX-Hop: 1\r\nX-End: 2\r\n";
        format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok")
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let answer = Client::connect(&site).await.get("/").await;
    assert_eq!(answer.field("x-end"), Some("2"));
    for name in ["connection", "keep-alive", "x-hop"] {
        let name: HeaderName = name.parse().unwrap();
        assert!(!answer.fields.contains_key(name));
    }
}

#[tokio::test]
async fn http_2_is_refused_where_it_is_off() {
    let origin = Origin::echo().await;
    let site = Site::start_with(&[origin.address], |server, _| server.http.http2 = false).await;
    let mut client = site.connect().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let answer = String::from_utf8(client.rest().await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 505 "), "{answer}");
    site.failed(FailureReason::VersionNotSupported, 1).await;
}

#[tokio::test]
async fn the_preface_may_come_in_pieces() {
    let origin = Origin::echo().await;
    let site = Site::start(&[origin.address]).await;
    let mut raw = Raw { io: site.connect().await };
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(0x4, 0, 0, b""));
    bytes.extend(frame(0x1, 0x5, 1, &literals(&GET)));
    for byte in bytes {
        raw.io.send([byte]).await;
        tokio::task::yield_now().await;
    }
    let head = raw.next_of(0x1).await.unwrap();
    assert_eq!(head.stream, 1);
    site.served(1).await;
}

#[tokio::test]
async fn http_1_stays_what_it_was_on_the_same_listener() {
    let origin = Origin::echo().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    assert_eq!(client.get("/").await.status(), 200);
    // Behind a request it is no preface, but a request of a version that there is not.
    let answer = client.ask("PRI * HTTP/2.0\r\n\r\n").await;
    assert_eq!(answer.status(), 505);
    assert_eq!(site.totals().http2_connections_total, 0);
}
