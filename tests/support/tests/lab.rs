//! The lab proves itself: hosts reach each other, load counts what happens, nothing is left behind.

use std::time::Duration;

use anyhow::Result;
use ballast_test_support::{Forward, Lab, Load, LoadOptions, Origin, TestCa, wait_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LIMIT: Duration = Duration::from_secs(20);

async fn every_protocol_reaches_its_origin(lab: Lab) -> Result<()> {
    let origin = Origin::start(&lab.host("origin-1", 21)?).await?;
    let client = lab.host("client", 31)?;
    let urls = [
        format!("http://{}/", origin.http()),
        format!("http://{}/?chunked=100000", origin.http()),
        format!("ws://{}/", origin.http()),
        format!("tcp://{}", origin.tcp()),
    ];
    for url in urls {
        let options = LoadOptions {
            connections: 4,
            requests_per_connection: Some(10),
            ..LoadOptions::new(url)
        };
        let mut load = Load::start(&client, &options).await?;
        load.wait_for_requests(100).await?;
        let report = load.stop().await?;
        assert_eq!(report.failed_count(), 0, "{report}");
        assert_eq!(report.sent, report.ok, "{report}");
        assert_eq!(report.of_origin("origin-1"), report.ok, "{report}");
        assert!(report.connections > 4, "{report}");
    }
    Ok(())
}

#[tokio::test]
async fn hosts_of_a_loopback_lab_reach_each_other() -> Result<()> {
    every_protocol_reaches_its_origin(Lab::loopback()?).await
}

#[tokio::test]
async fn hosts_of_a_lab_reach_each_other() -> Result<()> {
    every_protocol_reaches_its_origin(Lab::new()?).await
}

#[tokio::test]
async fn a_killed_origin_is_seen_as_failures_and_comes_back() -> Result<()> {
    let lab = Lab::new()?;
    let mut origin = Origin::start(&lab.host("origin-1", 21)?).await?;
    let client = lab.host("client", 31)?;
    let mut load =
        Load::start(&client, &LoadOptions::new(format!("http://{}/", origin.http()))).await?;
    load.wait_for_requests(50).await?;
    origin.kill()?;
    wait_for("failures", LIMIT, async || {
        load.snapshot().await.is_ok_and(|report| report.failed_count() > 0)
    })
    .await?;
    origin.resume().await?;
    let before = load.snapshot().await?;
    wait_for("good answers", LIMIT, async || {
        load.snapshot().await.is_ok_and(|report| report.ok > before.ok + 50)
    })
    .await?;
    let report = load.stop().await?;
    assert_eq!(report.sent, report.ok + report.failed_count(), "{report}");
    Ok(())
}

#[tokio::test]
async fn this_machine_reaches_a_host_through_a_forward() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.host("origin-1", 21)?;
    let origin = Origin::start(&host).await?;
    let forward = Forward::start(&host, origin.tcp())?;
    let mut stream = tokio::net::TcpStream::connect(forward.address()).await?;
    stream.write_all(b"hello").await?;
    stream.shutdown().await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    assert_eq!(text, "origin-1\nhello");
    assert_eq!(origin.request_count().await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_dropped_lab_leaves_nothing() -> Result<()> {
    let lab = Lab::new()?;
    let (id, dir) = (lab.id().to_owned(), lab.dir().to_owned());
    let origin = Origin::start(&lab.host("origin-1", 21)?).await?;
    drop(lab);
    drop(origin);
    let list = std::process::Command::new("ip").args(["netns", "list"]).output()?;
    assert!(!String::from_utf8_lossy(&list.stdout).contains(&id));
    assert!(!dir.exists());
    Ok(())
}

#[test]
fn a_test_certificate_is_for_its_names() -> Result<()> {
    let ca = TestCa::new()?;
    let certificate = ca.issue(&["www.example.test", "10.77.0.11"])?;
    assert_eq!(certificate.chain_pem.matches("BEGIN CERTIFICATE").count(), 2);
    assert!(certificate.key_pem.contains("PRIVATE KEY"));
    assert!(certificate.chain_pem.ends_with(ca.pem()));
    Ok(())
}
