//! What is measured: three proxies in front of one origin, configured to do the same work.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use ballast_client::WriteOptions;
use ballast_model::{
    AdminState, Draft, MemberSpec, NodeRole, PoolSpec, Protocol, VirtualServerSpec,
};
use ballast_test_support::{Cluster, Host, Lab, NodeOptions, Process, wait_for};
use tokio::net::TcpStream;

const START_LIMIT: Duration = Duration::from_secs(20);

/// The proxies' CPU, and the one of origin and load.
const PROXY_CPU: &[&str] = &["taskset", "-c", "0"];
const ORIGIN_CPU: &[&str] = &["taskset", "-c", "1"];

/// An nginx that answers at once.
pub(super) struct Origin {
    address: SocketAddr,
    _process: Process,
}

/// A proxy under test.
pub(super) struct Subject {
    pub(super) name: &'static str,
    pub(super) pid: u32,
    pub(super) url: String,
    _running: Running,
}

/// Keeps a proxy running.
enum Running {
    Cluster { _cluster: Box<Cluster> },
    Process { _process: Process },
}

impl Origin {
    pub(super) async fn start(lab: &Lab) -> Result<Self> {
        let host = lab.host("origin", 21)?;
        let address = host.socket(host.free_port()?);
        let server = format!(
            "server {{ listen {address}; default_type text/plain; location / {{ return 200 \
             \"The quick brown fox jumps over the lazy dog, and back again.\\n\"; }} }}"
        );
        let process = start_nginx(&host, ORIGIN_CPU, &server).await?;
        listening(address).await?;
        Ok(Self { address, _process: process })
    }
}

impl Subject {
    /// One node with one worker, configured through its API.
    pub(super) async fn ballast(lab: &Lab, origin: &Origin) -> Result<Self> {
        let wrapper = PROXY_CPU.to_vec();
        let options = NodeOptions { wrapper, ..NodeOptions::new(NodeRole::Traffic) };
        let cluster = Cluster::form(lab, &[("node-1", options)], |_| ()).await?;
        let node = &cluster.nodes[0];
        let listen = node.host().socket(node.host().free_port()?);
        let member = MemberSpec {
            name: Some("origin".to_owned()),
            address: origin.address.ip(),
            port: origin.address.port(),
            weight: 1,
            admin_state: AdminState::Enabled,
            drain_until_ms: None,
        };
        let mut pool = PoolSpec { members: vec![member], ..PoolSpec::default() };
        // As the peers: every client connection may have one.
        pool.idle_connection_max_count = 128;
        let mut server = VirtualServerSpec::new(Protocol::Http, listen, "origin");
        server.http.access_log = false;
        let wait = WriteOptions::new().wait_applied();
        cluster.client().put(&Draft::new("origin", pool), &wait).await?;
        cluster.client().put(&Draft::new("bench", server), &wait).await?;
        listening(listen).await?;
        let pid = cluster.nodes[0].pid().context("the node runs")?;
        let running = Running::Cluster { _cluster: Box::new(cluster) };
        Ok(Self { name: "ballast", pid, url: format!("http://{listen}/"), _running: running })
    }

    pub(super) async fn haproxy(lab: &Lab, origin: &Origin) -> Result<Self> {
        let host = lab.host("haproxy", 41)?;
        let listen = host.socket(host.free_port()?);
        let config = host.dir()?.join("haproxy.cfg");
        let text = format!(
            "global\n  nbthread 1\n  maxconn 4096\n\
             defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  \
             option http-keep-alive\n  option forwardfor\n  http-reuse always\n\
             frontend bench\n  bind {listen}\n  \
             http-request set-header X-Forwarded-Proto http\n  \
             http-request set-header X-Forwarded-Host %[req.hdr(host)]\n  \
             http-request set-header X-Forwarded-Port %[dst_port]\n  default_backend origin\n\
             backend origin\n  server origin {}\n",
            origin.address
        );
        fs::write(&config, text)?;
        let mut command = host.command_with(PROXY_CPU, "haproxy");
        command.arg("-db").arg("-f").arg(&config);
        let process = Process::start("haproxy", command, &host.dir()?.join("haproxy.log"))?;
        Self::of_process("haproxy", listen, process).await
    }

    pub(super) async fn nginx(lab: &Lab, origin: &Origin) -> Result<Self> {
        let host = lab.host("nginx", 42)?;
        let listen = host.socket(host.free_port()?);
        let server = format!(
            "upstream origin {{ server {}; keepalive 128; keepalive_requests 1000000000; }}\n\
             server {{ listen {listen}; location / {{ proxy_pass http://origin; \
             proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $http_host; \
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; \
             proxy_set_header X-Forwarded-Proto $scheme; \
             proxy_set_header X-Forwarded-Host $http_host; \
             proxy_set_header X-Forwarded-Port $server_port; }} }}",
            origin.address
        );
        let process = start_nginx(&host, PROXY_CPU, &server).await?;
        Self::of_process("nginx", listen, process).await
    }

    async fn of_process(name: &'static str, listen: SocketAddr, process: Process) -> Result<Self> {
        listening(listen).await.with_context(|| name.to_owned())?;
        let (pid, url) = (process.id(), format!("http://{listen}/"));
        Ok(Self { name, pid, url, _running: Running::Process { _process: process } })
    }
}

/// nginx as one process with everything it writes below the host's folder.
async fn start_nginx(host: &Host, cpu: &[&str], server: &str) -> Result<Process> {
    let dir = host.dir()?;
    let config = dir.join("nginx.conf");
    fs::write(&config, nginx_configuration(&dir, server))?;
    let mut command = host.command_with(cpu, "nginx");
    command.arg("-c").arg(&config).arg("-e").arg(dir.join("error.log"));
    Process::start("nginx", command, &dir.join("nginx.log"))
}

fn nginx_configuration(dir: &Path, server: &str) -> String {
    let dir = dir.display();
    let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {dir}/{kind};"))
        .join(" ");
    format!(
        "daemon off; master_process off; worker_processes 1; pid {dir}/nginx.pid;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 300s; tcp_nodelay on; \
         {folders}\n{server}\n}}\n"
    )
}

async fn listening(address: SocketAddr) -> Result<()> {
    wait_for(&format!("{address} to accept connections"), START_LIMIT, async || {
        TcpStream::connect(address).await.is_ok()
    })
    .await
}
