//! Origins with four different parsers: nginx, Apache httpd, Node and Python.
//!
//! Each answers every request with `X-Path: TARGET` and writes a line `METHOD TARGET` to its log. So a
//! request that somebody smuggled past the proxy shows in the log, and one that was answered with
//! somebody else's answer shows in `X-Path`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use ballast_test_support::{Host, Lab, Process, wait_for};
use tokio::net::TcpStream;

const START_LIMIT: Duration = Duration::from_secs(20);
const LOG_LIMIT: Duration = Duration::from_secs(10);

const NODE_SCRIPT: &str = include_str!("origins/server.js");
const PYTHON_SCRIPT: &str = include_str!("origins/server.py");

/// Where Debian keeps the modules of Apache httpd.
const APACHE_MODULES: &str = "/usr/lib/apache2/modules";

/// Whose parser it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parser {
    /// As Debian ships it.
    Nginx,
    /// As Debian ships it.
    Apache,
    /// As Debian ships it.
    Node,
    /// As Debian ships it.
    Python,
}

impl Parser {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Nginx, Self::Apache, Self::Node, Self::Python];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Apache => "apache",
            Self::Node => "node",
            Self::Python => "python",
        }
    }
}

/// A running origin.
pub struct Origin {
    /// Which one it is.
    pub parser: Parser,
    /// Where it listens.
    pub address: SocketAddr,
    log: PathBuf,
    _process: Process,
}

impl Origin {
    /// Starts it on the host's address.
    ///
    /// # Errors
    /// When the program is missing or does not listen in time.
    pub async fn start(lab: &Lab, parser: Parser, last: u8) -> Result<Self> {
        let host = lab.host(parser.name(), last)?;
        let dir = host.dir()?;
        let address = host.socket(host.free_port()?);
        let log = dir.join("requests.log");
        fs::write(&log, "")?;
        let mut command = match parser {
            Parser::Nginx => {
                let config = dir.join("nginx.conf");
                fs::write(&config, nginx_configuration(address, &dir, &log))?;
                let mut command = host.command("nginx");
                command.arg("-c").arg(config).arg("-e").arg(dir.join("error.log"));
                command
            }
            Parser::Apache => {
                let config = dir.join("apache.conf");
                fs::write(&config, apache_configuration(address, &dir, &log))?;
                let mut command = host.command("apache2");
                command.args(["-X", "-f"]).arg(config);
                command
            }
            Parser::Node => script(&host, "node", "server.js", NODE_SCRIPT)?,
            Parser::Python => script(&host, "python3", "server.py", PYTHON_SCRIPT)?,
        };
        if matches!(parser, Parser::Node | Parser::Python) {
            command.arg(address.ip().to_string()).arg(address.port().to_string()).arg(&log);
        }
        let process = Process::start(parser.name(), command, &dir.join("output.log"))?;
        wait_for(&format!("{} to listen", parser.name()), START_LIMIT, async || {
            TcpStream::connect(address).await.is_ok()
        })
        .await?;
        Ok(Self { parser, address, log, _process: process })
    }

    /// The requests that it saw so far, once one whose line ends with `last` is among them.
    ///
    /// # Errors
    /// When that does not come in time.
    pub async fn requests_until(&self, last: &str) -> Result<Vec<String>> {
        let what = format!("{} to see {last}", self.parser.name());
        wait_for(&what, LOG_LIMIT, async || {
            self.requests().is_ok_and(|lines| lines.iter().any(|line| line.ends_with(last)))
        })
        .await?;
        self.requests()
    }

    fn requests(&self) -> Result<Vec<String>> {
        let text = fs::read(&self.log).context("reading the origin's log")?;
        Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
    }
}

fn script(host: &Host, program: &str, name: &str, text: &str) -> Result<std::process::Command> {
    let path = host.dir()?.join(name);
    fs::write(&path, text)?;
    let mut command = host.command(program);
    command.arg(path);
    Ok(command)
}

fn nginx_configuration(address: SocketAddr, dir: &Path, log: &Path) -> String {
    let dir = dir.display();
    let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {dir}/{kind};"))
        .join(" ");
    format!(
        "daemon off; master_process off; worker_processes 1; pid {dir}/nginx.pid;\n\
         events {{ worker_connections 512; }}\n\
         http {{ log_format seen \"$request_method $request_uri\"; access_log {} seen; {folders}\n\
         server {{ listen {address}; client_max_body_size 1m; \
         location / {{ add_header X-Path $request_uri always; return 200 \"seen\\n\"; }} }} }}\n",
        log.display()
    )
}

fn apache_configuration(address: SocketAddr, dir: &Path, log: &Path) -> String {
    let modules = ["mpm_prefork", "authz_core", "headers", "env", "setenvif"]
        .map(|name| format!("LoadModule {name}_module {APACHE_MODULES}/mod_{name}.so\n"))
        .concat();
    let root = dir.display();
    // What is asked for is not there: an answer like any other.
    format!(
        "ServerRoot {root}\nServerName origin\nListen {address}\nPidFile {root}/apache.pid\n\
         DefaultRuntimeDir {root}\nErrorLog {root}/error.log\nDocumentRoot {root}\n{modules}\
         KeepAlive On\nMaxKeepAliveRequests 0\nKeepAliveTimeout 60\nStartServers 1\n\
         MinSpareServers 1\nMaxSpareServers 4\n\
         LogFormat \"%m %U%q\" seen\nCustomLog {} seen\n\
         Header always set X-Path \"expr=%{{REQUEST_URI}}\"\n",
        log.display()
    )
}
