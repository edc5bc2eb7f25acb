//! What the access log tells of requests, and by what they are known.

use std::path::PathBuf;

use ballast_model::{AccessLogSettings, MemberSpec};
use ballast_telemetry::access_log::AccessLogSink;
use ballast_telemetry::{AccessLog, FailureReason};

use crate::harness::{Origin, Site, ok, vacant};
use crate::http2_client::Client;
use crate::http2_grpc;

/// A site whose access log is read at the end.
struct Logged {
    site: Site,
    log: AccessLog,
    folder: PathBuf,
}

impl Logged {
    async fn start(name: &str, origin: &Origin, settings: AccessLogSettings) -> Self {
        let folder = std::env::temp_dir().join(format!("ballast-l7-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let log = AccessLog::start(&AccessLogSink::File(folder.join("access.log"))).unwrap();
        let plain = Site::start(&[]).await;
        let mut site =
            Site::empty(plain.address, plain.server.clone(), plain.pool.clone(), log.clone());
        plain.plane.shutdown().await;
        site.pool.members = vec![MemberSpec::new(origin.address)];
        site.server.http.access_log = settings;
        site.apply().await;
        Self { site, log, folder }
    }

    async fn end(self) -> Vec<String> {
        self.site.plane.shutdown().await;
        self.log.shutdown();
        let text = std::fs::read_to_string(self.folder.join("access.log")).unwrap();
        std::fs::remove_dir_all(&self.folder).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

fn assert_holds(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{part} in {line}");
    }
}

#[tokio::test]
async fn every_request_leaves_one_record() {
    let origin = Origin::answering(|_| ok("hello")).await;
    let logged = Logged::start("record", &origin, AccessLogSettings::default()).await;
    let mut client = logged.site.connect().await;
    client.get("/a?b").await;
    client.send("BAD\r\n\r\n").await;
    client.rest().await;
    logged.site.failed(FailureReason::BadRequest, 1).await;
    let lines = logged.end().await;
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_holds(
        &lines[0],
        &[
            "\"request_id\":\"",
            "\"protocol\":\"http/1.1\"",
            "\"method\":\"GET\"",
            "\"uri\":\"/a?b\"",
            "\"host\":\"site\"",
            "\"status\":200",
            "\"pool\":\"origin\"",
            "\"attempts\":1",
            "\"request_us\":",
            "\"connect_us\":",
            "\"first_byte_us\":",
            "\"body_us\":",
        ],
    );
    assert_holds(&lines[1], &["\"status\":400", "\"reason\":\"bad_request\"", "\"request_id\":\""]);
}

#[tokio::test]
async fn only_header_fields_that_are_named_are_logged() {
    let origin = Origin::answering(|_| {
        "HTTP/1.1 200 OK\r\nAge: 7\r\nSet-Cookie: secret=1\r\nContent-Length: 0\r\n\r\n".to_owned()
    })
    .await;
    let settings = AccessLogSettings {
        request_headers: vec!["user-agent".to_owned(), "referer".to_owned()],
        response_headers: vec!["age".to_owned()],
        ..AccessLogSettings::default()
    };
    let logged = Logged::start("headers", &origin, settings).await;
    let mut client = logged.site.connect().await;
    client
        .ask(
            "GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: curl\r\nAuthorization: Basic secret\r\n\
             Cookie: secret=1\r\n\r\n",
        )
        .await;
    let lines = logged.end().await;
    assert_holds(
        &lines[0],
        &["\"request_headers\":{\"user-agent\":\"curl\"}", "\"response_headers\":{\"age\":\"7\"}"],
    );
    assert!(!lines[0].contains("secret"), "{}", lines[0]);
}

#[tokio::test]
async fn failures_only_leaves_out_what_went_well() {
    let origin = Origin::answering(|request| {
        let status = if request.head.contains("/bad") { "500 Oh" } else { "200 OK" };
        format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")
    })
    .await;
    let settings = AccessLogSettings { failures_only: true, ..AccessLogSettings::default() };
    let logged = Logged::start("failures", &origin, settings).await;
    let mut client = logged.site.connect().await;
    for target in ["/good", "/bad", "/good"] {
        client.get(target).await;
    }
    let lines = logged.end().await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_holds(&lines[0], &["\"uri\":\"/bad\"", "\"status\":500"]);
}

#[tokio::test]
async fn members_and_clients_are_told_the_identifier() {
    let origin = Origin::echo().await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.request_id.to_client = true;
    })
    .await;
    let mut client = site.connect().await;
    let own = client.get("/").await;
    let id = own.field("x-request-id").unwrap().to_owned();
    assert_eq!(id.len(), 36);
    assert!(own.text().contains(&format!("X-Request-ID: {id}\r\n")), "{}", own.text());
    let next = client.get("/").await;
    assert_ne!(next.field("x-request-id"), Some(&*id));
    let theirs = client.ask("GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: abc-1\r\n\r\n").await;
    assert_eq!(theirs.field("x-request-id"), Some("abc-1"));
    assert_eq!(theirs.text().to_lowercase().matches("x-request-id").count(), 1);
}

#[tokio::test]
async fn our_own_errors_tell_the_identifier() {
    let site = Site::start(&[vacant()]).await;
    let mut client = site.connect().await;
    let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: abc-1\r\n\r\n").await;
    assert_eq!((answer.status(), answer.field("x-request-id")), (502, Some("abc-1")));
    let mut client = site.connect().await;
    let answer = client.ask("GET / HTTP/1.1\r\nNo colon\r\n\r\n").await;
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.field("x-request-id").map(str::len), Some(36));
}

#[tokio::test]
async fn a_virtual_server_without_identifiers_adds_none() {
    let origin = Origin::echo().await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.request_id.enabled = false;
    })
    .await;
    let mut client = site.connect().await;
    assert!(!client.get("/").await.text().to_lowercase().contains("x-request-id"));
    let asked = "GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: a b\r\n\r\n";
    assert!(client.ask(asked).await.text().contains("X-Request-ID: a b\r\n"));
}

#[tokio::test]
async fn a_trace_is_passed_on_with_a_span_of_its_own() {
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let origin = Origin::echo().await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.http.tracing.enabled = true;
    })
    .await;
    let mut client = site.connect().await;
    let request = |parent: &str| {
        format!("GET / HTTP/1.1\r\nHost: a\r\ntraceparent: {parent}\r\ntracestate: v=1\r\n\r\n")
    };
    let seen = client.ask(&request(PARENT)).await.text();
    assert!(seen.contains("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{seen}");
    assert!(!seen.contains("00f067aa0ba902b7") && seen.contains("tracestate: v=1\r\n"), "{seen}");
    let seen = client.ask(&request("00-1-2-3")).await.text();
    assert!(!seen.contains("00-1-2-3") && !seen.contains("tracestate"), "{seen}");
    assert_eq!(seen.matches("traceparent: 00-").count(), 1);
}

/// Answers calls of gRPC: with a status in the header alone, not at all, or behind the content.
async fn grpc_origin() -> Origin {
    const ONLY: &str =
        "Content-Type: application/grpc\r\nGrpc-Status: 5\r\nContent-Length: 0\r\n\r\n";
    const BEHIND: &str = "Content-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n\
        1\r\nx\r\n0\r\nX-A: 1\r\nGrpc-Status: 14 \r\ngrpc-message: no\r\n\r\n";
    Origin::start(|_, mut io| async move {
        while let Some(request) = io.message().await {
            let rest = match request.head.split(' ').nth(1) {
                Some("/only") => ONLY,
                Some("/none") => return,
                _ => BEHIND,
            };
            io.send(format!("HTTP/1.1 200 OK\r\n{rest}")).await;
        }
    })
    .await
}

#[tokio::test]
async fn status_of_a_call_is_logged_wherever_it_stands() {
    let origin = grpc_origin().await;
    for held_bytes in [None, Some(64 * 1024)] {
        let name = format!("grpc-{}", held_bytes.is_some());
        let mut logged = Logged::start(&name, &origin, AccessLogSettings::default()).await;
        logged.site.server.http.buffering.response_max_bytes = held_bytes;
        logged.site.apply().await;
        let mut client = Client::connect(&logged.site).await;
        for path in ["/only", "/behind", "/none"] {
            let mut call = http2_grpc::call(None);
            *call.uri_mut() = format!("http://a{path}").parse().unwrap();
            client.ask(call, b"x").await.unwrap();
        }
        let mut plain = logged.site.connect().await;
        assert_eq!(plain.get("/behind").await.status(), 200);
        logged.site.served(4).await;
        drop((client, plain));
        let lines = logged.end().await;
        let logged_status = |path: &str| {
            let line = lines.iter().find(|line| line.contains(path) && line.contains("POST"));
            let record: serde_json::Value = serde_json::from_str(line.unwrap()).unwrap();
            assert_eq!(record["status"], 200);
            record["grpc_status"].clone()
        };
        assert_eq!(logged_status("/only"), 5);
        assert_eq!(logged_status("/behind"), 14);
        assert_eq!(logged_status("/none"), 14, "told by us: UNAVAILABLE");
        let plain = lines.iter().find(|line| line.contains("\"GET\"")).unwrap();
        assert!(!plain.contains("grpc_status"), "{plain}");
    }
}
