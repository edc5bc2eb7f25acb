//! A new process takes everything over from the one that runs: no request is lost, long connections go on,
//! and a program that does not come up changes nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ballast_client::{Client, Trust};
use ballast_model::NodeRole;
use ballast_model::status::Health;
use ballast_test_support::{
    Cluster, Lab, Load, LoadOptions, Node, NodeOptions, Origin, TestCa, wait_for,
};
use ballast_tests_cluster::{sign_in, wait_writable, write_value};
use serde_json::{Value, json};
use tokio::net::UnixDatagram;

/// Longest time for an upgrade on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
const SOCKET_COUNT: u16 = 4;

/// A node with two workers, an origin, and virtual servers of each kind.
struct World {
    // First: what runs in the lab ends before it.
    cluster: Cluster,
    _origin: Origin,
    ports: [u16; 3],
    ca: PathBuf,
    lab: Lab,
}

impl World {
    async fn start() -> Result<Self> {
        let lab = Lab::loopback()?;
        let origin = Origin::start(&lab.host("origin-1", 21)?).await?;
        let options = NodeOptions { workers: 2, ..NodeOptions::new(NodeRole::Traffic) };
        let cluster = Cluster::form(&lab, &[("node-1", options)], |_| ()).await?;
        let host = cluster.nodes[0].host();
        let ports = [host.free_port()?, host.free_port()?, host.free_port()?];
        let authority = TestCa::new()?;
        let ca = lab.dir().join("upgrade-ca.pem");
        authority.write_pem(&ca)?;
        let issued = authority.issue(&[&host.ip().to_string()])?;
        let certificate = json!({"chain_pem": issued.chain_pem, "private_key_pem": issued.key_pem});
        cluster.apply(&declaration(&origin, &certificate, ports)).await?;
        let name = origin.http().to_string();
        cluster.wait_for_health(&[&name], Health::Up, LIMIT).await?;
        Ok(Self { cluster, _origin: origin, ports, ca, lab })
    }

    fn node(&mut self) -> &mut Node {
        &mut self.cluster.nodes[0]
    }

    async fn load(
        &self,
        scheme: &str,
        port: usize,
        change: impl Fn(&mut LoadOptions),
    ) -> Result<Load> {
        let ip = self.cluster.nodes[0].host().ip();
        let url = format!("{scheme}://{ip}:{}/", self.ports[port]);
        let ca = Some(self.ca.clone());
        let mut options = LoadOptions { connections: 4, ca, ..LoadOptions::new(url) };
        change(&mut options);
        Load::start(&self.lab.host("client", 31)?, &options).await
    }

    /// Requests of every kind.
    async fn requests(&self) -> Result<Vec<Load>> {
        let each = |options: &mut LoadOptions| options.requests_per_connection = Some(1);
        Ok(vec![
            self.load("http", 0, |_| ()).await?,
            self.load("http", 0, each).await?,
            self.load("https", 1, |_| ()).await?,
            self.load("https", 1, each).await?,
        ])
    }

    /// Connections that last.
    async fn streams(&self) -> Result<Vec<Load>> {
        let few = |options: &mut LoadOptions| {
            options.rate = Some(100.0);
            options.connections = SOCKET_COUNT;
        };
        Ok(vec![
            self.load("ws", 0, few).await?,
            self.load("wss", 1, few).await?,
            self.load("tcp", 2, few).await?,
        ])
    }
}

fn declaration(origin: &Origin, certificate: &Value, ports: [u16; 3]) -> Value {
    let pool = |port: u16| {
        let members = json!([{"address": origin.http().ip(), "port": port}]);
        json!({"members": members, "monitors": ["alive"]})
    };
    let monitor = json!({"type": "tcp", "interval_ms": 500, "timeout_ms": 400});
    let server = |protocol: &str, port: u16, pool: &str| json!({"protocol": protocol, "addresses": ["0.0.0.0"], "ports": [port], "pool": pool});
    let mut site = server("https", ports[1], "web");
    site["certificates"] = json!(["site"]);
    json!({
        "monitors": [{"name": "alive", "spec": monitor}],
        "pools": [
            {"name": "web", "spec": pool(origin.http().port())},
            {"name": "echo", "spec": pool(origin.tcp().port())},
        ],
        "certificates": [{"name": "site", "spec": certificate}],
        "virtual_servers": [
            {"name": "web", "spec": server("http", ports[0], "web")},
            {"name": "site", "spec": site},
            {"name": "echo", "spec": server("tcp", ports[2], "echo")},
        ],
    })
}

/// Stops the load; nothing of it may have failed.
async fn nothing_failed(loads: Vec<Load>) -> Result<()> {
    for load in loads {
        let report = load.stop().await?;
        ensure!(report.failed_count() == 0, "{report}");
        ensure!(report.ok > 100, "too little traffic to tell: {report}");
    }
    Ok(())
}

/// Stops connections that last; none of them may have been opened anew.
async fn nothing_ended(streams: Vec<Load>) -> Result<()> {
    for stream in streams {
        let report = stream.stop().await?;
        ensure!(report.failed_count() == 0, "{report}");
        let opened = report.connections;
        ensure!(opened == u64::from(SOCKET_COUNT), "{opened} were opened: {report}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_upgrades_in_a_row_lose_no_request_and_no_long_connection() -> Result<()> {
    let mut world = World::start().await?;
    let mut loads = world.requests().await?;
    let mut streams = world.streams().await?;
    for load in loads.iter_mut().chain(&mut streams) {
        load.wait_for_requests(50).await?;
    }
    let mut pids = vec![world.node().pid().context("it runs")?];
    // With fewer workers than there are sockets, and with more.
    for workers in [2, 1, 3] {
        let config = world.node().config().to_owned();
        let text = fs::read_to_string(&config)?;
        let is_other = |line: &&str| !line.starts_with("workers = ");
        let others: Vec<_> = text.lines().filter(is_other).collect();
        let section = "[data_plane]";
        let with = format!("{section}\nworkers = {workers}");
        fs::write(&config, others.join("\n").replace(section, &with))?;
        let pid = world.node().upgrade(LIMIT).await?;
        ensure!(!pids.contains(&pid), "{pid} is not new");
        pids.push(pid);
        for load in loads.iter_mut().chain(&mut streams) {
            load.wait_for_requests(50).await?;
        }
    }
    ensure!(!world.node().has_one_process(), "the streams are with processes that have ended");
    nothing_failed(loads).await?;
    nothing_ended(streams).await?;
    // The last clients of the old processes are gone, and so are those.
    let node = world.node();
    wait_for("the old processes to end", LIMIT, async || node.has_one_process()).await?;
    let clients = sign_in(&world.cluster).await?;
    wait_writable(&clients).await
}

/// Puts a script where the program is, asks for an upgrade, and waits for what the log says.
async fn upgrade_to(world: &mut World, script: &str, why: &str) -> Result<()> {
    let path = world.lab.dir().join("broken");
    fs::write(&path, script)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    world.node().link_program(&path)?;
    let count = |log: &str| log.lines().filter(|line| line.contains("the upgrade failed")).count();
    let before = count(&world.node().log());
    world.node().sigusr2()?;
    let node = world.node();
    wait_for("the upgrade to fail", LIMIT, async || count(&node.log()) > before).await?;
    let log = world.node().log();
    let told = log.lines().rfind(|line| line.contains("the upgrade failed")).unwrap_or_default();
    ensure!(told.contains(why), "the log says {told}");
    Ok(())
}

/// Speaks the words of a new process up to the point at which it has the store, and fails then.
const FAILS_WITH_THE_STORE: &str = r#"#!/usr/bin/python3
import json, socket, sys
old = socket.socket(fileno=0)
hear = lambda: json.loads(socket.recv_fds(old, 65536, 64)[0])
say = lambda word: old.send(json.dumps(word).encode())
hello = hear()
say(hello)
while hear()["say"] != "sockets_done":
    pass
say({"say": "prepared"})
assert hear()["say"] == "go"
say({"say": "failed", "why": "the store is not to its liking"})
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_does_not_come_up_changes_nothing() -> Result<()> {
    let mut world = World::start().await?;
    let loads = world.requests().await?;
    let streams = world.streams().await?;
    let pid = world.node().pid();
    upgrade_to(&mut world, "#!/bin/sh\nexit 3\n", "exit status: 3").await?;
    upgrade_to(&mut world, "not a program", "can't be started").await?;
    upgrade_to(&mut world, FAILS_WITH_THE_STORE, "not to its liking").await?;
    let other_node =
        FAILS_WITH_THE_STORE.replace("say(hello)", "hello['node_id'] = 99; say(hello)");
    upgrade_to(&mut world, &other_node, "number 99").await?;
    let other_protocol = FAILS_WITH_THE_STORE.replace(
        "say(hello)",
        "hello['oldest_protocol'] = hello['newest_protocol'] = 9; say(hello)",
    );
    upgrade_to(&mut world, &other_protocol, "speaks protocols").await?;
    // A program that is fine, with a file that is not.
    world.node().link_program(&ballast_test_support::programs::find("ballastd")?)?;
    let config = world.node().config().to_owned();
    let good = fs::read_to_string(&config)?;
    fs::write(&config, good.replace("workers = 2", "workers = 2000"))?;
    world.node().sigusr2()?;
    let node = world.node();
    let why = "data_plane.workers: at most 256";
    wait_for("the fault to be logged", LIMIT, async || node.log().contains(why)).await?;
    fs::write(&config, good)?;

    let clients = sign_in(&world.cluster).await?;
    wait_writable(&clients).await?;
    ensure!(world.node().pid() == pid && world.node().is_running(), "another process serves");
    nothing_failed(loads).await?;
    nothing_ended(streams).await?;
    // And it can still be upgraded.
    world.node().upgrade(LIMIT).await?;
    wait_writable(&clients).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_never_answers_is_given_up() -> Result<()> {
    let lab = Lab::loopback()?;
    let mut cluster = Cluster::one_node(&lab).await?;
    let node = &mut cluster.nodes[0];
    let text = fs::read_to_string(node.config())?;
    fs::write(node.config(), text.replace("workers = 1", "workers = 1\nupgrade_timeout_s = 1"))?;
    node.restart(LIMIT).await?;
    let path = lab.dir().join("silent");
    fs::write(&path, "#!/bin/sh\nexec sleep 600\n")?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    node.link_program(&path)?;
    node.sigusr2()?;
    wait_for("it to be given up", LIMIT, async || node.log().contains("takes too long")).await?;
    wait_writable(&sign_in(&cluster).await?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_upgraded_node_by_node_goes_on_writing() -> Result<()> {
    let lab = Lab::loopback()?;
    let mut cluster = Cluster::three_nodes(&lab).await?;
    let clients = sign_in(&cluster).await?;
    for (index, value) in (0..cluster.nodes.len()).zip(1_u64..) {
        write_value(&clients[index], "before", value).await?;
        cluster.nodes[index].upgrade(LIMIT).await?;
        // The others have a quorum; this one has its store again, and all that was written.
        wait_writable(&clients).await?;
        wait_for("a write through the new process", LIMIT, async || {
            write_value(&clients[index], "after", value).await.is_ok()
        })
        .await?;
    }
    Ok(())
}

/// Opens the sockets that a service manager would, and becomes the program.
const ACTIVATION: &str = r"
import os, socket, sys
for number, address in enumerate(os.environ['ACTIVATED'].split(',')):
    ip, port = address.rsplit(':', 1)
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((ip, int(port)))
    one.listen(64)
    os.dup2(one.detach(), 10 + number)
count = number + 1
for number in range(count):
    os.dup2(10 + number, 3 + number)
    os.close(10 + number)
os.environ.update(LISTEN_FDS=str(count), LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[1], sys.argv[1:])
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_of_the_service_manager_are_used_where_they_are_wanted() -> Result<()> {
    let mut world = World::start().await?;
    let host = world.node().host().clone();
    let (api, port, unwanted) = (world.node().api(), world.ports[0], host.free_port()?);
    let ip = host.ip();
    world.node().sigkill()?;
    let activated = format!("{api},{ip}:{port},{ip}:{unwanted}");
    world.node().start_through(&["python3", "-c", ACTIVATION], &[("ACTIVATED", &activated)])?;
    world.node().wait_ready(LIMIT).await?;
    let mut loads = world.requests().await?;
    for load in &mut loads {
        load.wait_for_requests(150).await?;
    }
    let node = world.node();
    wait_for("the unwanted socket to be closed", LIMIT, async || {
        node.log().contains("no virtual server wants this socket")
    })
    .await?;
    let log = world.node().log();
    let closed = log.lines().filter(|line| line.contains("no virtual server wants this socket"));
    let closed: Vec<_> = closed.collect();
    let is_told = |line: &&str| line.contains(&unwanted.to_string());
    ensure!(closed.len() == 1 && closed.iter().all(is_told), "{closed:?}");
    nothing_failed(loads).await?;
    let trust = Trust::CaFingerprint(world.cluster.identity.ca_fingerprint_sha256.clone());
    let client: Client = world.node().client(trust)?;
    client.ready().await?;
    Ok(())
}

/// What the service manager of a node hears (sd_notify(3)).
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    /// Starts the node again, as a service manager does.
    async fn start(world: &mut World) -> Result<Self> {
        let path = world.lab.dir().join("notify");
        let socket = UnixDatagram::bind(&path)?;
        let path = path.to_str().context("a path of ASCII")?.to_owned();
        let node = world.node();
        node.sigkill()?;
        node.start_through(&[], &[("NOTIFY_SOCKET", &path)])?;
        node.wait_ready(LIMIT).await?;
        Ok(Self { socket })
    }

    /// What it is told next, sorted; without times.
    async fn told(&self) -> Result<Vec<String>> {
        let mut datagram = [0; 4_096];
        let received = tokio::time::timeout(LIMIT, self.socket.recv(&mut datagram)).await;
        let length = received.context("the service manager is told nothing")??;
        let text = std::str::from_utf8(&datagram[..length])?;
        let words = text.lines().filter(|line| !line.starts_with("MONOTONIC_USEC="));
        let mut words: Vec<_> = words.map(str::to_owned).collect();
        words.sort_unstable();
        Ok(words)
    }

    async fn is_told(&self, words: &[&str]) -> Result<()> {
        let told = self.told().await?;
        ensure!(told == words, "the service manager is told {told:?} instead of {words:?}");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_manager_hears_of_upgrades_and_of_the_death_of_the_new_process() -> Result<()> {
    let mut world = World::start().await?;
    let manager = Manager::start(&mut world).await?;
    let first = format!("MAINPID={}", world.node().pid().context("it runs")?);
    manager.is_told(&[&first, "READY=1", "STATUS=serving"]).await?;
    // Clients that stay with the old processes.
    let mut streams = Vec::new();
    let mut mains = vec![first.clone()];
    for _ in 0..2 {
        let few = |options: &mut LoadOptions| options.rate = Some(100.0);
        let mut stream = world.load("tcp", 2, few).await?;
        stream.wait_for_requests(50).await?;
        streams.push(stream);
        let main = format!("MAINPID={}", world.node().upgrade(LIMIT).await?);
        manager.is_told(&["RELOADING=1", "STATUS=upgrading"]).await?;
        manager.is_told(&[&main, "READY=1", "STATUS=serving"]).await?;
        mains.push(main);
    }
    for (program, why) in [("#!/bin/sh\nexit 3\n", "status: 3"), ("none", "can't be started")] {
        upgrade_to(&mut world, program, why).await?;
        manager.is_told(&["RELOADING=1", "STATUS=upgrading"]).await?;
        let failed = "STATUS=serving; the last upgrade failed";
        manager.is_told(&[&mains[2], "READY=1", failed]).await?;
    }

    // The one in the middle is the node no longer: nobody minds.
    world.node().sigkill_heir(0)?;
    world.node().link_program(&ballast_test_support::programs::find("ballastd")?)?;
    let last = format!("MAINPID={}", world.node().upgrade(LIMIT).await?);
    manager.is_told(&["RELOADING=1", "STATUS=upgrading"]).await?;
    manager.is_told(&[&last, "READY=1", "STATUS=serving"]).await?;
    ensure!(world.node().first_ended().is_none(), "the first process has clients, and has ended");
    drop(streams);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_death_of_the_new_process_is_the_end_of_the_old_one() -> Result<()> {
    let mut world = World::start().await?;
    let manager = Manager::start(&mut world).await?;
    let mut stream = world.load("tcp", 2, |options| options.rate = Some(100.0)).await?;
    stream.wait_for_requests(50).await?;
    let old = format!("MAINPID={}", world.node().pid().context("it runs")?);
    world.node().upgrade(LIMIT).await?;
    for _ in 0..3 {
        manager.told().await?;
    }
    world.node().sigkill_heir(0)?;
    // It is the one whose end the service manager sees, and a failure: ballastd is started again.
    manager.is_told(&[&old]).await?;
    let node = world.node();
    wait_for("the old process to end", LIMIT, async || node.first_ended().is_some()).await?;
    let status = world.node().first_ended().context("it has ended")?;
    ensure!(status.code() == Some(1), "it has ended with {status}");
    drop(stream);
    Ok(())
}
