//! HAProxy and nginx, configured to do the work that ballast does.
//!
//! Of one thread each; both reuse connections to the origin, add X-Forwarded-For, -Proto, -Host and
//! -Port, and speak TLS 1.3 with AES-256-GCM, which is what clients of OpenSSL ask for first.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ballast_test_support::{Host, Lab, Process};

use super::certificate::Certificate;
use super::origin::{self, Origin};
use super::scenario::{HOST_RULE_COUNT, Listener, USER_FIELD, rule_host};
use super::subject::{Running, Subject};
use super::{PROXY_CPU, listening};

const SUITE: &str = "TLS_AES_256_GCM_SHA384";

/// The name of the cookie, where a peer needs one told.
const COOKIE: &str = "SRV";

pub(super) async fn haproxy(
    lab: &Lab,
    origin: &Origin,
    certificate: &Certificate,
) -> Result<Subject> {
    let host = lab.host("haproxy", 41)?;
    let dir = host.dir()?;
    let mut listeners = listeners(&host)?;
    // It has no datagrams but for QUIC and logs.
    listeners.remove(&Listener::Udp);
    let pem = dir.join("haproxy.pem");
    fs::write(&pem, format!("{}{}", certificate.chain_pem, certificate.key_pem))?;
    let mut map = String::new();
    for number in 0..HOST_RULE_COUNT {
        writeln!(map, "{} origin", rule_host(number))?;
    }
    fs::write(dir.join("hosts.map"), map)?;
    let config = dir.join("haproxy.cfg");
    fs::write(&config, haproxy_configuration(&listeners, origin, &dir, &pem)?)?;
    let mut command = host.command_with(PROXY_CPU, "haproxy");
    command.arg("-db").arg("-f").arg(&config);
    let process = Process::start("haproxy", command, &dir.join("haproxy.log"))?;
    of_process("haproxy", listeners, process).await
}

fn haproxy_configuration(
    listeners: &BTreeMap<Listener, SocketAddr>,
    origin: &Origin,
    dir: &Path,
    pem: &Path,
) -> Result<String> {
    let mut text =
        "global\n  nbthread 1\n  maxconn 8192\n  maxpipes 128\n  tune.ssl.cachesize 100000\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  \
         option http-keep-alive\n  option forwardfor\n  http-reuse always\n"
            .to_owned();
    for (listener, address) in listeners.iter().filter(|(it, _)| **it != Listener::Tcp) {
        let (pem, map) = (pem.display(), dir.join("hosts.map"));
        let tls = format!("ssl crt {pem} ssl-min-ver TLSv1.3 ciphersuites {SUITE}");
        let bind = match listener {
            Listener::Tls => format!("{address} {tls} alpn http/1.1"),
            Listener::Http2 => format!("{address} {tls} alpn h2"),
            _ => address.to_string(),
        };
        let scheme = if listener.is_tls() { "https" } else { "http" };
        write!(
            text,
            "frontend {}\n  bind {bind}\n  \
             http-request set-header X-Forwarded-Proto {scheme}\n  \
             http-request set-header X-Forwarded-Host %[req.hdr(host)]\n  \
             http-request set-header X-Forwarded-Port %[dst_port]\n",
            listener.name()
        )?;
        match listener {
            Listener::HostRules => writeln!(
                text,
                "  use_backend %[req.hdr(host),lower,map({})] if {{ req.hdr(host),lower,map({}) -m found }}\n  \
                 default_backend none",
                map.display(),
                map.display()
            )?,
            Listener::Cookie => text.push_str("  default_backend sticky\n"),
            Listener::ByHeader => text.push_str("  default_backend by-header\n"),
            Listener::BySource => text.push_str("  default_backend by-source\n"),
            Listener::Bulk => text.push_str("  option splice-auto\n  default_backend bulk\n"),
            Listener::Timed => text.push_str("  default_backend timed\n"),
            Listener::Logged => {
                text.push_str("  log stdout format raw daemon\n  option httplog\n");
                text.push_str("  default_backend origin\n");
            }
            _ => text.push_str("  default_backend origin\n"),
        }
    }
    writeln!(text, "backend none\nbackend origin\n  server origin {}", origin.addresses[0])?;
    writeln!(text, "backend timed\n  server load {}", origin.timed)?;
    writeln!(text, "backend sticky\n  cookie {COOKIE} insert indirect nocache")?;
    for (number, address) in origin.addresses.iter().enumerate() {
        writeln!(text, "  server o{number} {address} cookie o{number}")?;
    }
    let field = USER_FIELD.to_lowercase();
    for (name, kind, key) in [
        ("by-header", "string len 32", format!("req.hdr({field})")),
        ("by-source", "ip", "src".to_owned()),
    ] {
        writeln!(text, "backend {name}\n  stick-table type {kind} size 100k expire 30m")?;
        writeln!(text, "  stick on {key}")?;
        for (number, address) in origin.addresses.iter().enumerate() {
            writeln!(text, "  server o{number} {address}")?;
        }
    }
    let member = origin.addresses[0];
    writeln!(text, "backend bulk\n  option splice-auto\n  server origin {member}")?;
    writeln!(
        text,
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
         listen tcp\n  bind {}\n  option splice-auto\n  server origin {member}",
        listeners[&Listener::Tcp]
    )?;
    Ok(text)
}

pub(super) async fn nginx(
    lab: &Lab,
    origin: &Origin,
    certificate: &Certificate,
) -> Result<Subject> {
    let host = lab.host("nginx", 42)?;
    let dir = host.dir()?;
    let listeners = listeners(&host)?;
    let chain = dir.join("chain.pem");
    let key = dir.join("key.pem");
    fs::write(&chain, &certificate.chain_pem)?;
    fs::write(&key, &certificate.key_pem)?;
    let http = nginx_configuration(&listeners, origin, &dir, (chain, key))?;
    let stream = nginx_streams(&listeners, origin);
    let process = origin::start_nginx(&host, PROXY_CPU, &http, &stream).await?;
    of_process("nginx", listeners, process).await
}

fn nginx_streams(listeners: &BTreeMap<Listener, SocketAddr>, origin: &Origin) -> String {
    let (tcp, udp) = (listeners[&Listener::Tcp], listeners[&Listener::Udp]);
    format!(
        "upstream tcp {{ server {}; }}\nserver {{ listen {tcp}; tcp_nodelay on; proxy_pass tcp; }}\n\
         upstream udp {{ server {}; }}\nserver {{ listen {udp} udp; proxy_timeout 60s; proxy_pass udp; }}\n",
        origin.addresses[0], origin.datagrams.address
    )
}

fn nginx_configuration(
    listeners: &BTreeMap<Listener, SocketAddr>,
    origin: &Origin,
    dir: &Path,
    (chain, key): (PathBuf, PathBuf),
) -> Result<String> {
    let keepalive = "keepalive 128; keepalive_requests 1000000000;";
    let mut text = format!(
        "map_hash_max_size 65536; map_hash_bucket_size 128;\n\
         ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.3; \
         ssl_conf_command Ciphersuites {SUITE}; ssl_session_cache shared:tls:16m;\n\
         upstream origin {{ server {}; {keepalive} }}\n\
         upstream timed {{ server {}; {keepalive} }}\n",
        chain.display(),
        key.display(),
        origin.addresses[0],
        origin.timed
    );
    let members: String =
        origin.addresses.iter().map(|address| format!("server {address}; ")).collect();
    writeln!(
        text,
        "upstream sticky {{ hash $cookie_{COOKIE} consistent; {members} {keepalive} }}"
    )?;
    for (name, key) in [("by_header", nginx_field().as_str()), ("by_source", "$remote_addr")] {
        writeln!(text, "upstream {name} {{ hash {key} consistent; {members} {keepalive} }}")?;
    }
    text.push_str("map $host $by_host {\n  default none;\n");
    for number in 0..HOST_RULE_COUNT {
        writeln!(text, "  {} origin;", rule_host(number))?;
    }
    text.push_str("}\n");
    let streams = [Listener::Tcp, Listener::Udp];
    for (listener, address) in listeners.iter().filter(|(it, _)| !streams.contains(it)) {
        let listen = match listener {
            Listener::Tls => format!("{address} ssl"),
            Listener::Http2 => format!("{address} ssl http2"),
            _ => address.to_string(),
        };
        let upstream = match listener {
            Listener::Timed => "timed",
            Listener::HostRules => "$by_host",
            Listener::Cookie => "sticky",
            Listener::ByHeader => "by_header",
            Listener::BySource => "by_source",
            _ => "origin",
        };
        let settings = match listener {
            Listener::Logged => {
                format!(
                    "access_log {} combined buffer=64k flush=1s;",
                    dir.join("access.log").display()
                )
            }
            // Else it writes what the client has not taken yet to a disk.
            Listener::Bulk => "proxy_max_temp_file_size 0;".to_owned(),
            _ => String::new(),
        };
        writeln!(
            text,
            "server {{ listen {listen}; {settings} location / {{ proxy_pass http://{upstream}; \
             proxy_http_version 1.1; proxy_set_header Connection \"\"; \
             proxy_set_header Host $http_host; \
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; \
             proxy_set_header X-Forwarded-Proto $scheme; \
             proxy_set_header X-Forwarded-Host $http_host; \
             proxy_set_header X-Forwarded-Port $server_port; }} }}",
        )?;
    }
    Ok(text)
}

async fn of_process(
    name: &'static str,
    listeners: BTreeMap<Listener, SocketAddr>,
    process: Process,
) -> Result<Subject> {
    for address in streams(&listeners) {
        listening(address).await.with_context(|| name.to_owned())?;
    }
    let pid = process.id();
    let cookie = format!("{COOKIE}=o1");
    Ok(Subject { name, pid, listeners, cookie, _running: Running::Process { _process: process } })
}

/// How nginx calls the field that names clients.
fn nginx_field() -> String {
    format!("$http_{}", USER_FIELD.to_lowercase().replace('-', "_"))
}

/// Those that accept connections.
pub(super) fn streams(
    listeners: &BTreeMap<Listener, SocketAddr>,
) -> impl Iterator<Item = SocketAddr> {
    listeners.iter().filter(|(it, _)| **it != Listener::Udp).map(|(_, address)| *address)
}

/// An address for each listener.
pub(super) fn listeners(host: &Host) -> Result<BTreeMap<Listener, SocketAddr>> {
    let mut listeners = BTreeMap::new();
    for listener in Listener::ALL {
        listeners.insert(listener, host.socket(host.free_port()?));
    }
    Ok(listeners)
}
