//! Two groups, each at home on another node: traffic on both, and either node carries all of it alone.

use anyhow::{Context, Result, ensure};
use ballast_client::WriteOptions;
use ballast_model::{Draft, Failback, Persistence, Protocol, TrafficGroupSpec, VirtualServerSpec};
use ballast_test_support::process;
use ballast_tests_failover::{LIMIT, PORT, VRID, World};

const GROUPS: [(&str, u8); 2] = [("one", 100), ("two", 101)];

async fn active_active(failback: Failback) -> Result<World> {
    let world = World::start(3).await?;
    for (index, (name, last)) in GROUPS.into_iter().enumerate() {
        let vrid = VRID + u8::try_from(index)?;
        let mut group = TrafficGroupSpec::new(vrid, [world.address(last).into()]);
        let names = ["node-1", "node-2"];
        group.nodes = vec![names[index].to_owned(), names[1 - index].to_owned()];
        group.failback = failback;
        world.put_group(name, group).await?;
    }
    Ok(world)
}

/// A request that brings `cookie`; the origin that answered, and the cookie that was set.
async fn ask(world: &World, last: u8, cookie: Option<&str>) -> Result<(String, Option<String>)> {
    let mut curl = world.client.command("curl");
    curl.args(["--silent", "--show-error", "--fail", "--max-time", "5", "--include"]);
    if let Some(cookie) = cookie {
        curl.args(["--header", &format!("Cookie: {cookie}")]);
    }
    curl.arg(format!("http://{}:{PORT}/", world.address(last)));
    let output = process::run(curl, LIMIT).await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let field = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let cookie = field("set-cookie").and_then(|value| Some(value.split(';').next()?.to_owned()));
    Ok((field("x-origin").context("no x-origin")?, cookie))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_node_carries_both_groups_and_a_cookie_finds_its_member() -> Result<()> {
    let mut world = active_active(Failback { enabled: true, delay_s: 0 }).await?;
    let any = std::net::Ipv4Addr::UNSPECIFIED;
    let mut server = VirtualServerSpec::new(Protocol::Http, (any, PORT).into(), "web");
    server.persistence = Persistence::Cookie { name: "member".to_owned(), ttl_s: 0 };
    let wait = WriteOptions::new().wait_applied();
    world.cluster.client().put(&Draft::new("web", server), &wait).await?;
    for victim in [0, 1] {
        for (index, (_, last)) in GROUPS.into_iter().enumerate() {
            world.wait_for_holder(world.address(last), index).await?;
        }
        let mut clients = Vec::new();
        for (_, last) in GROUPS {
            for _ in 0..4 {
                let (origin, cookie) = ask(&world, last, None).await?;
                clients.push((last, origin, cookie.context("no cookie was set")?));
            }
        }
        world.cluster.nodes[victim].sigkill()?;
        for (_, last) in GROUPS {
            world.wait_for_holder(world.address(last), 1 - victim).await?;
        }
        for (last, origin, cookie) in &clients {
            let (now, _) = ask(&world, *last, Some(cookie)).await?;
            ensure!(now == *origin, "{cookie}: {origin} before, {now} after");
        }
        world.bring_back(victim).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_failback_a_returning_node_takes_nothing() -> Result<()> {
    let mut world = active_active(Failback::default()).await?;
    let (one, two) = (world.address(100), world.address(101));
    world.wait_for_one_holder(one).await?;
    let victim = world.wait_for_one_holder(two).await?;
    world.cluster.nodes[victim].sigkill()?;
    world.wait_for_holder(one, 1 - victim).await?;
    world.wait_for_holder(two, 1 - victim).await?;
    world.bring_back(victim).await?;
    let probe = world.probe(two).await?;
    probe.wait_for_answers(400, LIMIT).await?;
    ensure!(world.holders(one)? == [1 - victim] && world.holders(two)? == [1 - victim]);
    Ok(())
}
