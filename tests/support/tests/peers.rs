//! The peers work in the lab as they do anywhere: exactly one is active, and the right one.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use ballast_test_support::peers::{Frr, FrrOptions, Haproxy, Keepalived, KeepalivedOptions};
use ballast_test_support::{ArpWatch, Lab, Origin, Probe, probe, wait_for};

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn keepalived_moves_its_address_and_the_probe_sees_the_gap() -> Result<()> {
    let lab = Lab::namespaces()?;
    let (one, two) = (lab.host("one", 11)?, lab.host("two", 12)?);
    let (client, observer) = (lab.host("client", 31)?, lab.host("observer", 32)?);
    let origin = Origin::start(&lab.host("origin-1", 21)?).await?;
    let vip = lab.address(100);
    let listen = (vip, 80).into();
    let mut proxies = Vec::new();
    for host in [&one, &two] {
        proxies.push(Haproxy::start(host, listen, origin.http()).await?);
    }
    let mut active = Keepalived::start(&one, &KeepalivedOptions::new(51, 200, [vip.into()]))?;
    wait_for("the address", LIMIT, async || one.holds(vip.into()).unwrap_or(false)).await?;
    let _backup = Keepalived::start(&two, &KeepalivedOptions::new(51, 190, [vip.into()]))?;
    let watch = ArpWatch::start(&observer, vip)?;
    let client = Probe::start(&client, listen)?;
    client.wait_for_answers(50, LIMIT).await?;
    ensure!(client.last_answer() == Some(one.ip().to_string()));
    let since_us = probe::now_us();
    active.sigkill()?;
    proxies[0].sigkill()?;
    wait_for("the other to answer", LIMIT, async || {
        client.last_answer() == Some(two.ip().to_string())
    })
    .await?;
    client.wait_for_answers(50, LIMIT).await?;
    let gap_ms = client.longest_gap_ms(since_us);
    // Three intervals less what had passed of the first, at the least; the peer's skew comes on top.
    ensure!((400.0..5_000.0).contains(&gap_ms), "{gap_ms} ms");
    // A killed keepalived leaves its address behind: both answer now.
    wait_for("both to answer", LIMIT, async || watch.owners().len() == 2).await?;
    ensure!(watch.rivalry_since(since_us).0 > 0);
    wait_for("announcements of the new owner", LIMIT, async || {
        watch.announced_since(since_us).get(&two.mac()).is_some_and(|count| *count >= 5)
    })
    .await
}

#[tokio::test]
async fn frr_and_keepalived_agree_on_one_owner() -> Result<()> {
    let lab = Lab::namespaces()?;
    let (one, two) = (lab.host("one", 11)?, lab.host("two", 12)?);
    let addresses: Vec<IpAddr> = vec![lab.address(101).into(), "fe80::5200".parse()?];
    let mut frr = Frr::start(&one, &FrrOptions::new(52, 200, addresses.clone())).await?;
    let keepalived = Keepalived::start(&two, &KeepalivedOptions::new(52, 100, addresses.clone()))?;
    let holds = |host: &ballast_test_support::Host| {
        addresses.iter().filter(|address| host.holds(**address).unwrap_or(false)).count()
    };
    wait_for("FRR to be active", LIMIT, async || {
        frr.is_active(false).await.unwrap_or(false) && frr.is_active(true).await.unwrap_or(false)
    })
    .await?;
    wait_for("keepalived to let go", LIMIT, async || holds(&two) == 0).await?;
    frr.stop().await?;
    wait_for("keepalived to take over", LIMIT, async || holds(&two) == 2).await?;
    drop(keepalived);
    Ok(())
}
