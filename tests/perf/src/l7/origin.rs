//! An nginx that answers at once, and the folder things of every nginx here.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use ballast_test_support::{Host, Lab, Process};

use super::{LOAD_CPU, LOAD_CPU_INDEX, listening};
use crate::driver::udp::Echo;

/// Ports that it listens on, as many as the pool with persistence has members.
pub(super) const MEMBER_COUNT: usize = 4;

/// Sizes of the files that it serves beside its short text.
const FILES: [(&str, usize); 3] =
    [("16k", 16 * 1024), ("1m", 1024 * 1024), ("64m", 64 * 1024 * 1024)];

pub(super) struct Origin {
    /// The same content on every one.
    pub(super) addresses: Vec<SocketAddr>,
    /// Where a load that measures latencies is its own member.
    pub(super) timed: SocketAddr,
    /// Sends datagrams back.
    pub(super) datagrams: Echo,
    _process: Process,
}

impl Origin {
    pub(super) async fn start(lab: &Lab) -> Result<Self> {
        let host = lab.host("origin", 21)?;
        let dir = host.dir()?;
        for (name, bytes) in FILES {
            fs::write(dir.join(name), vec![b'x'; bytes])?;
        }
        let mut addresses = Vec::new();
        for _ in 0..MEMBER_COUNT {
            addresses.push(host.socket(host.free_port()?));
        }
        let listens: String =
            addresses.iter().map(|address| format!("listen {address}; ")).collect();
        let server = format!(
            "server {{ {listens} default_type text/plain; root {}; sendfile on; \
             open_file_cache max=16 inactive=1h; \
             location = / {{ return 200 \
             \"The quick brown fox jumps over the lazy dog, and back again.\\n\"; }} }}",
            dir.display()
        );
        let process = start_nginx(&host, LOAD_CPU, &server, "").await?;
        for address in &addresses {
            listening(*address).await?;
        }
        let datagrams = Echo::start(host.socket(host.free_port()?), LOAD_CPU_INDEX)?;
        let timed = host.socket(host.free_port()?);
        Ok(Self { addresses, timed, datagrams, _process: process })
    }
}

/// nginx as one process with everything it writes below the host's folder; without `stream` it serves HTTP
/// alone.
pub(super) async fn start_nginx(
    host: &Host,
    cpu: &[&str],
    http: &str,
    stream: &str,
) -> Result<Process> {
    let dir = host.dir()?;
    let config = dir.join("nginx.conf");
    fs::write(&config, configuration(&dir, http, stream))?;
    let mut command = host.command_with(cpu, "nginx");
    command.arg("-c").arg(&config).arg("-e").arg(dir.join("error.log"));
    Process::start("nginx", command, &dir.join("nginx.log"))
}

fn configuration(dir: &Path, http: &str, stream: &str) -> String {
    let dir = dir.display();
    let (module, stream) = match stream {
        "" => ("", String::new()),
        stream => {
            ("load_module modules/ngx_stream_module.so; ", format!("stream {{\n{stream}}}\n"))
        }
    };
    let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {dir}/{kind};"))
        .join(" ");
    format!(
        "{module}daemon off; master_process off; worker_processes 1; pid {dir}/nginx.pid;\n\
         events {{ worker_connections 8192; }}\n\
         http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 300s; tcp_nodelay on; \
         {folders}\n{http}\n}}\n{stream}"
    )
}
