//! The lab proves itself: hosts reach each other, load counts what happens, nothing is left behind.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result};
use ballast_test_support::capture::{ANNOUNCEMENTS, Kind as FrameKind};
use ballast_test_support::process::{run, try_run};
use ballast_test_support::{
    Capture, Forward, Host, Lab, Load, LoadOptions, Origin, Segment, TestCa, wait_for,
};
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

/// Whether one ping from `from` to `to` is answered.
async fn reaches(from: &Host, to: Ipv4Addr) -> Result<bool> {
    let mut ping = from.command("ping");
    ping.args(["-c", "1", "-W", "1", &to.to_string()]);
    Ok(try_run(ping, LIMIT).await?.status.success())
}

#[tokio::test]
async fn a_partition_keeps_two_hosts_apart_on_one_network_until_it_heals() -> Result<()> {
    let lab = Lab::with_cluster_network()?;
    let [one, two, three] = [("one", 11), ("two", 12), ("three", 13)].map(|(n, l)| lab.host(n, l));
    let (one, two, three) = (one?, two?, three?);
    let cluster_ip = |host: &Host| host.cluster_ip().context("the lab has a cluster network");
    assert!(reaches(&one, two.ip()).await?);
    lab.partition(Segment::Clients, &[&one], &[&two])?;
    assert!(!reaches(&one, two.ip()).await? && !reaches(&two, one.ip()).await?);
    assert!(reaches(&one, three.ip()).await? && reaches(&three, two.ip()).await?);
    assert!(reaches(&one, cluster_ip(&two)?).await?);
    lab.heal()?;
    assert!(reaches(&one, two.ip()).await?);
    lab.partition(Segment::Cluster, &[&one], &[&two, &three])?;
    assert!(reaches(&one, two.ip()).await?);
    assert!(!reaches(&one, cluster_ip(&three)?).await?);
    Ok(())
}

#[tokio::test]
async fn a_pulled_plug_silences_one_network_and_a_power_cut_all() -> Result<()> {
    let lab = Lab::with_cluster_network()?;
    let (one, two) = (lab.host("one", 11)?, lab.host("two", 12)?);
    let cluster_ip = two.cluster_ip().context("the lab has a cluster network")?;
    one.link_down(Segment::Clients)?;
    assert!(!reaches(&one, two.ip()).await? && reaches(&one, cluster_ip).await?);
    one.link_up(Segment::Clients)?;
    comes_to_reach(&one, two.ip()).await?;
    one.unplug()?;
    assert!(!reaches(&one, two.ip()).await? && !reaches(&one, cluster_ip).await?);
    one.plug_in()?;
    comes_to_reach(&one, two.ip()).await?;
    comes_to_reach(&one, cluster_ip).await
}

/// Waits until it does: a link that comes up takes a moment.
async fn comes_to_reach(host: &Host, address: Ipv4Addr) -> Result<()> {
    let what = format!("{} to reach {address}", host.name());
    wait_for(&what, LIMIT, async || reaches(host, address).await.is_ok_and(|is_there| is_there))
        .await
}

#[tokio::test]
async fn hosts_have_ipv6_at_once_and_say_which_addresses_they_hold() -> Result<()> {
    let lab = Lab::namespaces()?;
    let (one, two) = (lab.host("one", 11)?, lab.host("two", 12)?);
    let target = two.ipv6().context("hosts have IPv6")?;
    assert_eq!(target.to_string(), "fd77:77::12");
    let mut ping = one.command("ping");
    ping.args(["-c", "1", "-W", "1", &target.to_string()]);
    run(ping, LIMIT).await?;
    assert!(two.holds(target.into())? && two.holds(two.ip().into())?);
    assert!(!one.holds(target.into())?);
    Ok(())
}

#[tokio::test]
async fn a_capture_tells_who_announced_and_who_answered() -> Result<()> {
    let lab = Lab::namespaces()?;
    let (one, two) = (lab.host("one", 11)?, lab.host("two", 12)?);
    let mut capture = Capture::start(&lab, Segment::Clients, "arp", ANNOUNCEMENTS).await?;
    // What one host says to the other passes the switch, and so does what a partition drops there.
    lab.partition(Segment::Clients, &[&one], &[&two])?;
    let mut arping = one.command("arping");
    arping.args(["-U", "-c", "1", "-I", "eth0", &one.ip().to_string()]);
    try_run(arping, LIMIT).await?;
    lab.heal()?;
    assert!(reaches(&one, two.ip()).await?);
    let mut frames = Vec::new();
    wait_for("the announcement and the answer", LIMIT, async || {
        frames = capture.frames().unwrap_or_default();
        let has = |mac: String, kind: FrameKind| {
            frames.iter().any(|frame| frame.source_mac == mac && frame.kind == kind)
        };
        has(one.mac(), FrameKind::GratuitousArp(one.ip()))
            && has(two.mac(), FrameKind::ArpReply(two.ip()))
    })
    .await
    .with_context(|| format!("{frames:?}"))
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
