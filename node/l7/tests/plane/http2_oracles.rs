//! HTTP/2 as other people's clients speak it: curl, nghttp and h2load. A tool that is missing fails the
//! test and is named with the package that brings it.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::harness::*;

/// What the tool wrote, given those arguments.
async fn run(tool: &str, package: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(tool);
    command.args(arguments).stdin(Stdio::null());
    let output = soon(tokio::task::spawn_blocking(move || command.output())).await.unwrap();
    let output = output.unwrap_or_else(|_| panic!("{tool} is missing: apt-get install {package}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {text}{errors}");
    text
}

fn url(address: SocketAddr, path: &str) -> String {
    format!("http://{address}{path}")
}

/// Answers with the content that came, or with a megabyte.
async fn origin() -> Origin {
    Origin::start(|_, mut io| async move {
        while let Some(request) = io.message().await {
            let body = match request.body.len() {
                0 => vec![b'x'; 1 << 20],
                _ => request.body,
            };
            io.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())).await;
            io.send(body).await;
        }
    })
    .await
}

#[tokio::test]
async fn curl_uploads_and_downloads() {
    let origin = origin().await;
    let site = Site::start(&[origin.address]).await;
    let target = url(site.address, "/");
    let told = ["-w", "%{http_version} %{http_code} %{size_download}", "-o", "/dev/null"];
    let common = ["-sS", "--http2-prior-knowledge"];
    let told_of_get = run("curl", "curl", &[&common[..], &told, &[&target]].concat()).await;
    assert_eq!(told_of_get, "2 200 1048576");
    let body = "y".repeat(100_000);
    let post = [&common[..], &told, &["--data-binary", &body, &target]].concat();
    assert_eq!(run("curl", "curl", &post).await, "2 200 100000");
    let chunked = ["-H", "content-length:", "--data-binary", &body, &target];
    let chunked = [&common[..], &told, &chunked].concat();
    assert_eq!(run("curl", "curl", &chunked).await, "2 200 100000");
    let head = run("curl", "curl", &[&common[..], &["-I", &target]].concat()).await;
    assert!(head.starts_with("HTTP/2 200"), "{head}");
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn nghttp_is_content() {
    let origin = origin().await;
    let site = Site::start(&[origin.address]).await;
    let target = url(site.address, "/");
    let text = run("nghttp", "nghttp2-client", &["-nv", "-m", "5", &target]).await;
    assert_eq!(text.matches(":status: 200").count(), 5, "{text}");
    assert!(!text.contains("RST_STREAM"), "{text}");
    site.served(5).await;
}

#[tokio::test]
async fn h2load_loses_nothing() {
    let origin = Origin::answering(|_| ok("hello")).await;
    let site = Site::start_with(&[origin.address], |_, pool| {
        pool.idle_connection_max_count = 8 * 32;
    })
    .await;
    let target = url(site.address, "/");
    let arguments = ["-n", "4000", "-c", "8", "-m", "32", &target];
    let text = run("h2load", "nghttp2-client", &arguments).await;
    assert!(text.contains("4000 succeeded, 0 failed, 0 errored, 0 timeout"), "{text}");
    assert!(text.contains("status codes: 4000 2xx"), "{text}");
    site.served(4_000).await;
    assert_eq!(site.totals().failures_total(), 0);
    assert!(origin.connections() <= 8 * 32, "members' connections are used again");
}
