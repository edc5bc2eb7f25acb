//! What a process has learned goes to the one that succeeds it: which client belongs to which member, what
//! rate limits have let through, sessions of datagrams. And where that one dies at the worst moment, the old
//! one goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ballast_model::NodeRole;
use ballast_test_support::{Cluster, Lab, Load, LoadOptions, NodeOptions, Origin, wait_for};
use ballast_tests_cluster::{sign_in, wait_writable};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Longest time for an upgrade on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
/// Users that a pool remembers.
const USER_COUNT: usize = 40;
/// Clients of datagrams, and how often each sends.
const CLIENT_COUNT: usize = 6;
const SEND_INTERVAL: Duration = Duration::from_millis(10);

/// A node with two workers that writes to an access log.
async fn node(lab: &Lab) -> Result<Cluster> {
    let options = NodeOptions {
        workers: 2,
        access_log: lab.dir().join("access.log").display().to_string(),
        ..NodeOptions::new(NodeRole::Traffic)
    };
    Cluster::form(lab, &[("node-1", options)], |_| ()).await
}

/// The head of the answer to a request of that user.
async fn ask(address: SocketAddr, user: usize) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nX-User: user-{user}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    timeout(LIMIT, stream.read_to_string(&mut answer)).await.context("no answer")??;
    Ok(answer)
}

fn origin_of(answer: &str) -> Result<&str> {
    let line = answer.lines().find_map(|line| line.strip_prefix("x-origin: "));
    line.with_context(|| format!("no origin has answered: {answer}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_keep_their_members_and_limits_what_they_have_let_through() -> Result<()> {
    let lab = Lab::loopback()?;
    let origins =
        [Origin::start(&lab.host("one", 21)?).await?, Origin::start(&lab.host("two", 22)?).await?];
    let mut cluster = node(&lab).await?;
    let host = cluster.nodes[0].host().clone();
    let (web, limited) = (host.socket(host.free_port()?), host.socket(host.free_port()?));
    let member =
        |origin: &Origin| json!({"address": origin.http().ip(), "port": origin.http().port()});
    let server = |address: SocketAddr| json!({"protocol": "http", "addresses": [address.ip()], "ports": [address.port()], "pool": "web"});
    let mut sticky = server(web);
    sticky["persistence"] = json!({"type": "header", "name": "X-User"});
    let mut few = server(limited);
    few["policies"] = json!(["few"]);
    let limit = json!({"requests": 3, "interval_s": 600, "burst": 3, "key": ["address"]});
    cluster
        .apply(&json!({
            "pools": [{"name": "web", "spec": {"members": origins.each_ref().map(member)}}],
            "policies": [{"name": "few", "spec": {"rules": [
                {"name": "few", "rate_limits": [limit]},
            ]}}],
            "virtual_servers": [{"name": "web", "spec": sticky}, {"name": "few", "spec": few}],
        }))
        .await?;
    wait_for("the virtual server", LIMIT, async || ask(web, 0).await.is_ok()).await?;
    let mut homes = BTreeMap::new();
    for user in 0..USER_COUNT {
        homes.insert(user, origin_of(&ask(web, user).await?)?.to_owned());
    }
    let used: BTreeSet<_> = homes.values().collect();
    ensure!(used.len() == 2, "all users are with one origin: nothing can be told");
    for _ in 0..3 {
        ensure!(ask(limited, 0).await?.starts_with("HTTP/1.1 200"), "within the limit");
    }
    ensure!(ask(limited, 0).await?.starts_with("HTTP/1.1 429"), "beyond the limit");

    for round in 0..2 {
        cluster.nodes[0].upgrade(LIMIT).await?;
        for (user, home) in &homes {
            let answer = ask(web, *user).await?;
            let now = origin_of(&answer)?;
            ensure!(now == home, "upgrade {round}: user {user} was with {home}, and is with {now}");
        }
        let answer = ask(limited, 0).await?;
        ensure!(answer.starts_with("HTTP/1.1 429"), "upgrade {round}: {answer}");
    }
    Ok(())
}

/// A member that answers with its name, the port that it sees, and what it got.
async fn named(socket: UdpSocket, name: usize) {
    let mut buffer = vec![0; 2_048];
    loop {
        // An error tells of an answer that nobody waited for.
        let Ok((count, peer)) = socket.recv_from(&mut buffer).await else { continue };
        let head = format!("{name} {} ", peer.port());
        let _lost = socket.send_to(&[head.as_bytes(), &buffer[..count]].concat(), peer).await;
    }
}

/// Sends a number every few ms until `end`, then waits for what is missing; who has answered each.
async fn converse(address: SocketAddr, mut end: watch::Receiver<bool>) -> Result<Vec<String>> {
    let socket = UdpSocket::bind("0.0.0.0:0").await?;
    socket.connect(address).await?;
    let mut answers = BTreeMap::new();
    let mut sends = interval(SEND_INTERVAL);
    sends.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut sent, mut is_over) = (0_u64, false);
    let mut buffer = vec![0; 2_048];
    let deadline = Instant::now() + 3 * LIMIT;
    while !is_over || answers.len() as u64 != sent {
        ensure!(Instant::now() < deadline, "{} of {sent} were answered", answers.len());
        let looks = timeout(LIMIT / 6, socket.recv(&mut buffer));
        // Cancel-safe: each branch only waits.
        tokio::select! {
            _ = end.changed(), if !is_over => is_over = true,
            _ = sends.tick(), if !is_over => {
                socket.send(sent.to_string().as_bytes()).await?;
                sent += 1;
            }
            received = looks => {
                let count = received.with_context(|| {
                    format!("{} of {sent} were answered and nothing more comes", answers.len())
                })??;
                let text = std::str::from_utf8(&buffer[..count])?;
                let (who, number) = text.rsplit_once(' ').context("an answer of the member")?;
                let before = answers.insert(number.parse::<u64>()?, who.to_owned());
                ensure!(before.is_none(), "{number} was answered twice");
            }
        }
    }
    Ok(answers.into_values().collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_datagrams_go_on_with_the_same_member_from_the_same_port() -> Result<()> {
    let lab = Lab::loopback()?;
    let mut cluster = node(&lab).await?;
    let host = cluster.nodes[0].host().clone();
    let mut members = Vec::new();
    let mut tasks = JoinSet::new();
    for name in 0..2 {
        let member_host = lab.host(&format!("member-{name}"), 21 + name)?;
        let socket = UdpSocket::bind(member_host.socket(0)).await?;
        let address = socket.local_addr()?;
        members.push(json!({"address": address.ip(), "port": address.port()}));
        tasks.spawn(named(socket, name.into()));
    }
    let address = host.socket(host.free_port()?);
    cluster
        .apply(&json!({
            "pools": [{"name": "echo", "spec": {"members": members}}],
            "virtual_servers": [{"name": "echo", "spec": {
                "protocol": "udp", "addresses": [address.ip()], "ports": [address.port()],
                "pool": "echo",
            }}],
        }))
        .await?;
    wait_for("the virtual server", LIMIT, async || {
        let Ok(socket) = UdpSocket::bind("0.0.0.0:0").await else { return false };
        let _refused = (socket.connect(address).await, socket.send(b"x").await);
        let answered = timeout(Duration::from_millis(200), socket.recv(&mut [0; 64])).await;
        matches!(answered, Ok(Ok(_)))
    })
    .await?;
    let (end, told) = watch::channel(false);
    let mut clients = JoinSet::new();
    for _ in 0..CLIENT_COUNT {
        clients.spawn(converse(address, told.clone()));
    }
    for _ in 0..3 {
        // In the middle of it.
        timeout(LIMIT, interval_of(20)).await?;
        cluster.nodes[0].upgrade(LIMIT).await?;
    }
    timeout(LIMIT, interval_of(20)).await?;
    end.send(true)?;
    let mut sessions = BTreeSet::new();
    while let Some(client) = clients.join_next().await {
        let who = client??;
        ensure!(who.len() > 50, "only {} datagrams: nothing can be told", who.len());
        let one: BTreeSet<_> = who.iter().cloned().collect();
        ensure!(one.len() == 1, "a client was served by {one:?}");
        sessions.extend(one);
    }
    ensure!(sessions.len() == CLIENT_COUNT, "{sessions:?}");
    // Nothing holds the old processes.
    let node = &mut cluster.nodes[0];
    wait_for("the old processes to end", LIMIT, async || node.has_one_process()).await?;
    let log = node.log();
    let moved = log.lines().filter(|line| line.contains("sessions of datagrams are handed over"));
    ensure!(moved.count() == 3, "{}", node.log_tail(40));
    tasks.shutdown().await;
    Ok(())
}

/// So many ticks of what clients send in.
async fn interval_of(count: usize) {
    let mut ticks = interval(SEND_INTERVAL);
    for _ in 0..count {
        ticks.tick().await;
    }
}

/// Speaks the words of a new process up to the point at which traffic groups rest, and is killed there.
const DIES_BEFORE_IT_OWNS: &str = r#"#!/usr/bin/python3
import json, os, signal, socket
old = socket.socket(fileno=0)
hear = lambda: json.loads(socket.recv_fds(old, 65536, 64)[0])
say = lambda word: old.send(json.dumps(word).encode())
say(hear())
while hear()["say"] != "sockets_done":
    pass
say({"say": "prepared"})
assert hear()["say"] == "go"
say({"say": "serving"})
assert hear()["say"] == "own"
os.kill(os.getpid(), signal.SIGKILL)
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_before_it_owns_the_node_leaves_it_to_the_old_one() -> Result<()> {
    let lab = Lab::loopback()?;
    let origin = Origin::start(&lab.host("one", 21)?).await?;
    let mut cluster = node(&lab).await?;
    let host = cluster.nodes[0].host().clone();
    let address = host.socket(host.free_port()?);
    let member = json!({"address": origin.http().ip(), "port": origin.http().port()});
    cluster
        .apply(&json!({
            "pools": [{"name": "web", "spec": {"members": [member]}}],
            "virtual_servers": [{"name": "web", "spec": {
                "protocol": "http", "addresses": [address.ip()], "ports": [address.port()],
                "pool": "web",
            }}],
        }))
        .await?;
    wait_for("the virtual server", LIMIT, async || ask(address, 0).await.is_ok()).await?;
    let load = LoadOptions { connections: 4, ..LoadOptions::new(format!("http://{address}/")) };
    let mut load = Load::start(&lab.host("client", 31)?, &load).await?;
    load.wait_for_requests(50).await?;
    let pid = cluster.nodes[0].pid();
    let script = lab.dir().join("dies");
    fs::write(&script, DIES_BEFORE_IT_OWNS)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    cluster.nodes[0].link_program(&script)?;
    cluster.nodes[0].sigusr2()?;
    let node = &cluster.nodes[0];
    wait_for("it to be killed", LIMIT, async || {
        node.log().contains("the new process ended with signal: 9")
    })
    .await?;
    // The store is open again, and everything is served by who served it before.
    let clients = sign_in(&cluster).await?;
    wait_writable(&clients).await?;
    let now = load.snapshot().await?.ok;
    load.wait_for_requests(now + 100).await?;
    let report = load.stop().await?;
    ensure!(report.failed_count() == 0, "{report}");
    ensure!(cluster.nodes[0].pid() == pid && cluster.nodes[0].is_running(), "another one serves");
    cluster.nodes[0].link_program(&ballast_test_support::programs::find("ballastd")?)?;
    cluster.nodes[0].upgrade(LIMIT).await?;
    wait_writable(&clients).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_rotates_the_access_log_and_both_write_to_it() -> Result<()> {
    let lab = Lab::loopback()?;
    let origin = Origin::start(&lab.host("one", 21)?).await?;
    let mut cluster = node(&lab).await?;
    let config = cluster.nodes[0].config().to_owned();
    let text = fs::read_to_string(&config)?;
    let rotated = "[log]\naccess_log_max_mib = 1\naccess_log_kept_count = 50\n";
    fs::write(&config, text.replace("[log]\n", rotated))?;
    cluster.nodes[0].restart(LIMIT).await?;
    let host = cluster.nodes[0].host().clone();
    let address = host.socket(host.free_port()?);
    let member = json!({"address": origin.http().ip(), "port": origin.http().port()});
    cluster
        .apply(&json!({
            "pools": [{"name": "web", "spec": {"members": [member]}}],
            "virtual_servers": [{"name": "web", "spec": {
                "protocol": "http", "addresses": [address.ip()], "ports": [address.port()],
                "pool": "web",
            }}],
        }))
        .await?;
    wait_for("the virtual server", LIMIT, async || ask(address, 0).await.is_ok()).await?;
    // The answer of a request that began before the upgrade is what keeps the old process.
    let padding = "p".repeat(1_500);
    let mut slow = TcpStream::connect(address).await?;
    let request = format!("GET /slow?delay_ms=8000 HTTP/1.1\r\nHost: {address}\r\n\r\n");
    slow.write_all(request.as_bytes()).await?;
    cluster.nodes[0].upgrade(LIMIT).await?;
    // What the new process writes is put aside at 1 MiB.
    let url = format!("http://{address}/?{padding}");
    let load = LoadOptions { connections: 4, ..LoadOptions::new(url) };
    let mut load = Load::start(&lab.host("client", 31)?, &load).await?;
    load.wait_for_requests(1_000).await?;
    let report = load.stop().await?;
    let mut answer = vec![0; 1_024];
    let count = timeout(LIMIT, slow.read(&mut answer)).await??;
    ensure!(answer[..count].starts_with(b"HTTP/1.1 200"), "the old process has answered");
    drop(slow);
    let node = &mut cluster.nodes[0];
    wait_for("the old process to end", LIMIT, async || node.has_one_process()).await?;
    let newest = lab.dir().join("access.log");
    wait_for("the old process's record", LIMIT, async || {
        fs::read_to_string(&newest).is_ok_and(|text| text.contains("/slow"))
    })
    .await?;
    let mut lines = 0;
    let mut rotated = 0;
    for entry in fs::read_dir(lab.dir())? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        if name.is_some_and(|name| name.starts_with("access.log")) {
            lines +=
                fs::read_to_string(path)?.lines().filter(|it| it.contains("ppp")).count() as u64;
            rotated += 1;
        }
    }
    ensure!(rotated >= 2, "nothing was put aside");
    ensure!(lines == report.ok, "{lines} records of {} requests", report.ok);
    Ok(())
}
