//! keepalived and HAProxy on two nodes. Priorities are equal and nobody is preferred, as in the Ballast pair
//! without failback; the timer's skew is that of Ballast's first priority.

use std::net::SocketAddr;

use anyhow::Result;
use ballast_test_support::peers::{Haproxy, Keepalived, KeepalivedOptions};
use ballast_test_support::{Host, Lab};
use rustix::process::Signal;

const VRID: u8 = 51;
const PRIORITY: u8 = 220;
/// What a move takes from the priority of the active one.
const HANDICAP: i8 = -50;

pub(super) struct KeepalivedPair {
    nodes: Vec<(Keepalived, Haproxy)>,
}

impl KeepalivedPair {
    pub(super) async fn start(
        lab: &Lab,
        listen: SocketAddr,
        origin: SocketAddr,
        interval_ms: u32,
    ) -> Result<Self> {
        let options = KeepalivedOptions::new(VRID, PRIORITY, [listen.ip()]);
        let options = KeepalivedOptions { interval_ms, ..options };
        let mut nodes = Vec::new();
        for (name, last) in [("node-1", 11), ("node-2", 12)] {
            let host = lab.host(name, last)?;
            let haproxy = Haproxy::start(&host, listen, origin).await?;
            nodes.push((Keepalived::start(&host, &options)?, haproxy));
        }
        Ok(Self { nodes })
    }

    pub(super) fn host(&self, index: usize) -> &Host {
        self.nodes[index].0.host()
    }

    pub(super) fn kill(&mut self, index: usize) -> Result<()> {
        let (keepalived, haproxy) = &mut self.nodes[index];
        keepalived.sigkill()?;
        haproxy.sigkill()
    }

    pub(super) fn start_node(&mut self, index: usize) -> Result<()> {
        let (keepalived, haproxy) = &mut self.nodes[index];
        haproxy.resume()?;
        keepalived.resume()
    }

    pub(super) fn stop(&self, index: usize) -> Result<()> {
        let (keepalived, haproxy) = &self.nodes[index];
        keepalived.signal(Signal::STOP)?;
        haproxy.signal(Signal::STOP)
    }

    pub(super) fn go_on(&self, index: usize) -> Result<()> {
        let (keepalived, haproxy) = &self.nodes[index];
        haproxy.signal(Signal::CONT)?;
        keepalived.signal(Signal::CONT)
    }

    pub(super) async fn shutdown(&mut self, index: usize) -> Result<()> {
        let (keepalived, haproxy) = &mut self.nodes[index];
        keepalived.stop().await?;
        haproxy.sigkill()
    }

    pub(super) fn move_away(&self, index: usize) -> Result<()> {
        self.nodes[index].0.set_handicap(HANDICAP)
    }

    pub(super) fn moved(&self, index: usize) -> Result<()> {
        self.nodes[index].0.set_handicap(0)
    }

    pub(super) async fn ready(&self, index: usize) -> Result<()> {
        self.nodes[index].0.wait_ready().await
    }
}
