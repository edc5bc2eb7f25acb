//! What traffic nodes tell each other while they serve: after a failover the other node knows the
//! clients, and a rate limit is one limit of the cluster.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ballast_client::WriteOptions;
use ballast_model::{
    Algorithm, Draft, MemberSpec, NodeRole, Persistence, PolicySpec, PoolSpec, Protocol,
    VirtualServerSpec,
};
use ballast_test_support::{Cluster, Lab, NodeOptions, wait_for};
use ballast_tests_cluster::origins::SessionOrigin;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{MissedTickBehavior, interval};

/// Clients of each kind.
const HEADER_COUNT: usize = 2_500;
const COOKIE_COUNT: usize = 2_000;
const SOURCE_COUNT: usize = 500;
const ALL_COUNT: usize = HEADER_COUNT + COOKIE_COUNT + SOURCE_COUNT;
const MEMBER_COUNT: usize = 5;
/// Longest time for what takes a second, on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

fn three_traffic_nodes() -> [(&'static str, NodeOptions); 3] {
    ["node-1", "node-2", "node-3"].map(|name| (name, NodeOptions::new(NodeRole::Traffic)))
}

/// One connection, used for many requests.
struct Client(BufReader<TcpStream>);

struct Answer {
    status: u16,
    member: String,
    cookie: Option<String>,
}

impl Client {
    async fn connect(to: SocketAddr) -> Result<Self> {
        Ok(Self(BufReader::new(TcpStream::connect(to).await?)))
    }

    /// From that address of this machine.
    async fn connect_from(from: Ipv4Addr, to: SocketAddr) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        Ok(Self(BufReader::new(socket.connect(to).await?)))
    }

    async fn ask(&mut self, path: &str, field: &str) -> Result<Answer> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{field}\r\n");
        self.0.get_mut().write_all(request.as_bytes()).await?;
        let mut line = String::new();
        self.0.read_line(&mut line).await?;
        let status = line.split(' ').nth(1).context("no status")?.parse()?;
        let (mut length, mut cookie) = (0, None);
        loop {
            line.clear();
            self.0.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse()?;
            } else if name.eq_ignore_ascii_case("set-cookie") {
                cookie = value.split(';').next().map(str::to_owned);
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok(Answer { status, member: String::from_utf8(body)?, cookie })
    }
}

/// Three virtual servers over one pool: by header, by cookie, by source.
struct Site {
    cluster: Cluster,
    _origins: Vec<SessionOrigin>,
    ports: [u16; 3],
}

/// A client by what it is known, and the member that it got first.
struct Known {
    kind: usize,
    field: String,
    from: Option<Ipv4Addr>,
    member: String,
}

impl Site {
    async fn start(lab: &Lab) -> Result<Self> {
        let cluster = Cluster::form(lab, &three_traffic_nodes(), |_| ()).await?;
        let mut origins = Vec::new();
        for number in 0..MEMBER_COUNT {
            origins.push(SessionOrigin::start(format!("m{number}")).await?);
        }
        let members = origins.iter().map(|origin| MemberSpec::new(origin.address)).collect();
        // What chooses must not be what finds clients back.
        let pool = PoolSpec { members, algorithm: Algorithm::Random, ..PoolSpec::default() };
        let wait = WriteOptions::new().wait_applied();
        cluster.client().put(&Draft::new("web", pool), &wait).await?;
        let host = cluster.nodes[0].host();
        let ports = [host.free_port()?, host.free_port()?, host.free_port()?];
        let kinds = [
            json!({"type": "header", "name": "X-User"}),
            json!({"type": "application_cookie", "name": "SID"}),
            json!({"type": "source"}),
        ];
        for (port, kind) in ports.iter().zip(kinds) {
            let listen = (Ipv4Addr::UNSPECIFIED, *port).into();
            let mut server = VirtualServerSpec::new(Protocol::Http, listen, "web");
            server.persistence = serde_json::from_value::<Persistence>(kind)?;
            cluster.client().put(&Draft::new(format!("by-{port}"), server), &wait).await?;
        }
        Ok(Self { cluster, _origins: origins, ports })
    }

    fn address(&self, node: usize, kind: usize) -> SocketAddr {
        (self.cluster.nodes[node].host().ip(), self.ports[kind]).into()
    }

    /// New clients come to that node.
    async fn meet(&self, node: usize) -> Result<Vec<Known>> {
        let mut known = Vec::new();
        let mut by_header = Client::connect(self.address(node, 0)).await?;
        for number in 0..HEADER_COUNT {
            let field = format!("X-User: user-{number}\r\n");
            let member = by_header.ask("/", &field).await?.member;
            known.push(Known { kind: 0, field, from: None, member });
        }
        let mut by_cookie = Client::connect(self.address(node, 1)).await?;
        for number in 0..COOKIE_COUNT {
            let answer = by_cookie.ask(&format!("/login/{number}"), "").await?;
            let cookie = answer.cookie.context("no cookie")?;
            let field = format!("Cookie: theme=dark; {cookie}\r\n");
            known.push(Known { kind: 1, field, from: None, member: answer.member });
        }
        for number in 0..SOURCE_COUNT {
            let from = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 77, 0, 1)) + number as u32);
            let mut client = Client::connect_from(from, self.address(node, 2)).await?;
            let member = client.ask("/", "").await?.member;
            known.push(Known { kind: 2, field: String::new(), from: Some(from), member });
        }
        Ok(known)
    }

    /// How many of these clients are served by the member that they know, at that node.
    async fn count_kept(&self, node: usize, known: &[Known]) -> Result<usize> {
        let mut clients = [
            Client::connect(self.address(node, 0)).await?,
            Client::connect(self.address(node, 1)).await?,
        ];
        let mut count = 0;
        for one in known {
            let answer = match one.from {
                Some(from) => {
                    let mut client = Client::connect_from(from, self.address(node, 2)).await?;
                    client.ask("/", "").await?
                }
                None => clients[one.kind].ask("/", &one.field).await?,
            };
            ensure!(answer.status == 200, "{}", answer.status);
            count += usize::from(answer.member == one.member);
        }
        Ok(count)
    }

    /// Waits until that node remembers so many clients.
    async fn wait_for_entries(&self, node: usize, count: usize) -> Result<()> {
        let name = self.cluster.nodes[node].name().to_owned();
        let what = format!("{name} to remember {count} clients");
        let seen = wait_for(&what, LIMIT, async || {
            let Ok(status) = self.cluster.status().await else { return false };
            let reports = status.nodes.iter().filter(|report| report.name == name);
            let tables = reports.filter_map(|report| report.status.as_ref());
            let mut tables = tables.flat_map(|status| &status.persistence_tables);
            tables.any(|table| table.pool == "web" && table.entry_count == count as u64)
        });
        seen.await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_clients_keep_their_members() -> Result<()> {
    let lab = Lab::loopback()?;
    let mut site = Site::start(&lab).await?;
    let known = site.meet(0).await?;
    let start = Instant::now();
    for node in [1, 2] {
        site.wait_for_entries(node, ALL_COUNT).await?;
    }
    println!("{ALL_COUNT} clients known everywhere {:?} after the last one", start.elapsed());
    site.cluster.nodes[0].sigkill()?;
    let kept = site.count_kept(1, &known).await?;
    println!("after the first node died, {kept} of {ALL_COUNT} kept their member");
    ensure!(kept * 1_000 >= ALL_COUNT * 999, "{kept} of {ALL_COUNT} kept their member");
    // The one that returns is told everything by either of the others.
    site.cluster.nodes[0].start()?;
    site.cluster.nodes[0].wait_ready(LIMIT).await?;
    site.wait_for_entries(0, ALL_COUNT).await?;
    site.cluster.nodes[1].sigkill()?;
    let kept = site.count_kept(0, &known).await?;
    println!("at the node that came back, {kept} of {ALL_COUNT}");
    ensure!(kept * 1_000 >= ALL_COUNT * 999, "{kept} of {ALL_COUNT} at the node that returned");
    Ok(())
}

/// Requests in a second that the limit lets through, and at once.
const RATE: u64 = 50;
const BURST: u64 = 10;
/// How long clients ask.
const SPAN: Duration = Duration::from_secs(6);
/// Between two requests to each node: twice what the limit lets through, to each of them.
const PAUSE: Duration = Duration::from_millis(10);
/// From a request until all nodes have counted it: 100 ms, a message, and what a busy machine adds.
const LAG_S: f64 = 0.5;

/// Asks these addresses, each evenly over [`SPAN`]; how many requests passed, and the seconds it took.
async fn ask_all(addresses: Vec<SocketAddr>) -> Result<(u64, f64)> {
    let start = Instant::now();
    let mut asking = tokio::task::JoinSet::new();
    for address in addresses {
        asking.spawn(async move {
            let mut client = Client::connect(address).await?;
            let mut ticks = interval(PAUSE);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let (begin, mut passed) = (Instant::now(), 0);
            while begin.elapsed() < SPAN {
                ticks.tick().await;
                let answer = client.ask("/", "X-Key: one\r\n").await?;
                ensure!(matches!(answer.status, 200 | 429), "{}", answer.status);
                passed += u64::from(answer.status == 200);
            }
            Ok(passed)
        });
    }
    let mut passed = 0;
    while let Some(one) = asking.join_next().await {
        passed += one??;
    }
    Ok((passed, start.elapsed().as_secs_f64()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_is_one_limit_for_all_nodes() -> Result<()> {
    let lab = Lab::loopback()?;
    let mut cluster = Cluster::form(&lab, &three_traffic_nodes(), |_| ()).await?;
    let origin = SessionOrigin::start("m".to_owned()).await?;
    let wait = WriteOptions::new().wait_applied();
    let members = vec![MemberSpec::new(origin.address)];
    let pool = PoolSpec { members, ..PoolSpec::default() };
    cluster.client().put(&Draft::new("web", pool), &wait).await?;
    let policy: PolicySpec = serde_json::from_value(json!({"rules": [{"name": "limited",
        "rate_limits": [{"key": [{"header": "X-Key"}], "requests": RATE, "burst": BURST}]}]}))?;
    cluster.client().put(&Draft::new("limits", policy), &wait).await?;
    let port = cluster.nodes[0].host().free_port()?;
    let listen = (Ipv4Addr::UNSPECIFIED, port).into();
    let mut server = VirtualServerSpec::new(Protocol::Http, listen, "web");
    server.policies = vec!["limits".to_owned()];
    cluster.client().put(&Draft::new("web", server), &wait).await?;
    let addresses: Vec<SocketAddr> =
        cluster.nodes.iter().map(|node| (node.host().ip(), port).into()).collect();

    let (passed, span_s) = ask_all(addresses.clone()).await?;
    // B + R·W + (N − 1)·(B + R·L): `ballast_policy::limiter` says why.
    let (rate, burst) = (RATE as f64, BURST as f64);
    let limit = burst + rate * span_s;
    let bound = limit + 2.0 * (burst + rate * LAG_S);
    println!("three nodes let {passed} through in {span_s:.2} s; the limit is {limit:.0}");
    ensure!(passed as f64 <= bound, "{passed} passed; the bound is {bound:.0}");
    ensure!(passed as f64 >= rate * span_s * 0.8, "{passed} passed; the limit is {limit:.0}");

    // The others are gone, and the quorum with them: the one that is left limits alone.
    cluster.nodes[1].sigkill()?;
    cluster.nodes[2].sigkill()?;
    let (passed, span_s) = ask_all(addresses[..1].to_vec()).await?;
    let limit = burst + rate * span_s;
    println!("one node lets {passed} through in {span_s:.2} s; the limit is {limit:.0}");
    ensure!(passed as f64 <= limit + 1.0, "{passed} passed; the limit is {limit:.0}");
    ensure!(passed as f64 >= rate * span_s * 0.8, "{passed} passed; the limit is {limit:.0}");
    Ok(())
}
