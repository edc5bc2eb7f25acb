//! Clients that are turned away before they have asked anything.

use ballast_model::{Priority, SourceLimits};
use ballast_telemetry::FailureReason;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::harness::*;

#[tokio::test]
async fn connection_over_the_limit_is_told_so_in_full_even_while_it_asks() {
    let origin = Origin::echo().await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.connection_limit = Some(1);
    })
    .await;
    let mut first = site.connect().await;
    assert_eq!(first.get("/").await.status(), 200);
    for count in 1..=3 {
        let mut refused = site.connect().await;
        let response = refused.get("/").await;
        assert_eq!(response.status(), 503);
        assert_eq!(response.field("connection"), Some("close"));
        assert_eq!(response.field("retry-after"), Some("1"));
        assert_eq!(response.text(), "503 Service Unavailable: connection_limit\n");
        assert!(refused.rest().await.is_empty());
        site.failed(FailureReason::ConnectionLimit, count).await;
    }
    assert_eq!(first.get("/").await.status(), 200, "who is in stays in");
    drop(first);
    site.has_open(0).await;
    assert_eq!(site.connect().await.get("/").await.status(), 200);
    assert_eq!(site.plane.totals().refused_total, 3);
}

#[tokio::test]
async fn source_over_its_limit_is_told_so() {
    let origin = Origin::echo().await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.source_limits =
            SourceLimits { connection_max_count: Some(2), ..SourceLimits::default() };
    })
    .await;
    let mut held = [site.connect().await, site.connect().await];
    for client in &mut held {
        assert_eq!(client.get("/").await.status(), 200);
    }
    let response = site.connect().await.get("/").await;
    assert_eq!(response.text(), "503 Service Unavailable: source_connection_limit\n");
    site.failed(FailureReason::SourceConnectionLimit, 1).await;
}

#[tokio::test]
async fn over_tls_a_connection_over_the_limit_is_reset() {
    let origin = Origin::echo().await;
    let mut site = Site::start(&[origin.address]).await;
    crate::tls::make_https(&mut site).await;
    site.server.connection_limit = Some(1);
    site.server.priority = Priority::High;
    site.apply().await;
    let _first = site.connect().await;
    site.has_open(1).await;
    // As early as while connecting, perhaps.
    let read = async { TcpStream::connect(site.address).await?.read(&mut [0]).await };
    assert_eq!(soon(read).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    site.failed(FailureReason::ConnectionLimit, 1).await;
}
