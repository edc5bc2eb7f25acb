use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Mutex;

use ballast_telemetry::otlp::{RequestSpans, SpanSink};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// A collector that answers each message with the status that `answer` has for its number.
async fn collector(answer: fn(usize) -> u16) -> (SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let messages = Arc::new(Mutex::new(Vec::new()));
    let held = Arc::clone(&messages);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            let head = loop {
                stream.read_buf(&mut bytes).await.unwrap();
                if let Some(at) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
                    break String::from_utf8(bytes.drain(..at + 4).collect()).unwrap();
                }
            };
            let head = head.to_ascii_lowercase();
            assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
            assert!(head.contains("content-type: application/x-protobuf\r\n"), "{head}");
            assert!(head.contains("x-token: secret\r\n"), "{head}");
            let (_, length) = head.split_once("content-length: ").unwrap();
            let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
            while bytes.len() < length {
                stream.read_buf(&mut bytes).await.unwrap();
            }
            let status = {
                let mut messages = held.lock().unwrap();
                messages.push(bytes);
                answer(messages.len())
            };
            let text = format!("HTTP/1.1 {status} Said\r\nContent-Length: 0\r\n\r\n");
            let _gone = stream.write_all(text.as_bytes()).await;
        }
    });
    (address, messages)
}

fn offer(sink: &SpanSink, path: &str) {
    sink.offer(&RequestSpans {
        trace_id: 1,
        span_id: 2,
        parent_span_id: 0,
        time_us: (0, 1),
        method: b"GET",
        path: path.as_bytes(),
        host: b"a.test",
        scheme: "http",
        protocol: "http/1.1",
        client: "192.0.2.1:1".parse().unwrap(),
        status: 200,
        reason: None,
        virtual_server: "web",
        pool: "",
        attempts: &[],
    });
}

fn exporter(address: SocketAddr) -> Collector {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "# for the collector\n\nX-Token: secret").unwrap();
    let config = OtlpConfig {
        endpoint: format!("http://{address}/v1/traces"),
        headers_file: Some(file.path().to_owned()),
        ca_file: None,
    };
    let origin = Origin { node: "lb1".to_owned(), cluster: "prod".to_owned(), version: "1" };
    Collector::new(&config, origin).unwrap()
}

async fn until(holds: impl Fn() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "it did not happen in time");
        looks.tick().await;
    }
}

fn holds(messages: &Mutex<Vec<Vec<u8>>>, text: &str) -> bool {
    let messages = messages.lock().unwrap();
    messages.iter().any(|m| m.windows(text.len()).any(|window| window == text.as_bytes()))
}

#[tokio::test]
async fn spans_are_sent_together_and_again_where_the_collector_is_busy() {
    let (address, messages) = collector(|number| if number == 1 { 503 } else { 200 }).await;
    let (sink, queue, totals) = SpanSink::new();
    offer(&sink, "/one");
    offer(&sink, "/two");
    let stop = CancellationToken::new();
    let task = tokio::spawn(exporter(address).follow(queue, Arc::clone(&totals), stop.clone()));
    until(|| totals.totals() == (2, 0)).await;
    {
        let messages = messages.lock().unwrap();
        assert_eq!(messages.len(), 2, "the first was refused, the second is the same");
        assert_eq!(messages[0], messages[1]);
    }
    assert!(holds(&messages, "/one") && holds(&messages, "/two") && holds(&messages, "lb1"));
    // What is left when the node stops is sent once more.
    offer(&sink, "/last");
    stop.cancel();
    task.await.unwrap();
    assert!(holds(&messages, "/last") || totals.totals() == (2, 1));
}

#[tokio::test]
async fn spans_that_the_collector_does_not_want_are_counted_and_not_sent_again() {
    let (address, messages) = collector(|_| 400).await;
    let (sink, queue, totals) = SpanSink::new();
    offer(&sink, "/one");
    let stop = CancellationToken::new();
    let task = tokio::spawn(exporter(address).follow(queue, Arc::clone(&totals), stop.clone()));
    until(|| totals.totals() == (0, 1)).await;
    assert_eq!(messages.lock().unwrap().len(), 1);
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_collector_that_is_not_there_costs_spans_and_nothing_else() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (sink, queue, totals) = SpanSink::new();
    offer(&sink, "/one");
    let stop = CancellationToken::new();
    let task = tokio::spawn(exporter(gone).follow(queue, Arc::clone(&totals), stop.clone()));
    until(|| totals.totals() == (0, 1)).await;
    offer(&sink, "/two");
    stop.cancel();
    task.await.unwrap();
    assert_eq!(totals.totals(), (0, 2));
}

#[test]
fn a_file_of_headers_is_told_by_line_and_never_by_content() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "Authorization: Bearer x\nsecret without colon").unwrap();
    let error = headers(file.path()).unwrap_err().to_string();
    assert_eq!(error, "line 2 has no colon");
}
