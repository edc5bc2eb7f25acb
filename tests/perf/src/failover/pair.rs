//! Two nodes that share a virtual address, whoever made them.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use ballast_test_support::{Host, Lab, Origin};
use clap::ValueEnum;

use super::ballast::BallastPair;
use super::keepalived::KeepalivedPair;
use super::rhythm::Rhythm;

/// The virtual address is `.100`, port 80.
const ADDRESS_LAST: u8 = 100;
const PORT: u16 = 80;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum SubjectName {
    /// Two traffic nodes and a witness.
    Ballast,
    /// keepalived and HAProxy on each of two nodes.
    Keepalived,
}

/// A pair in a lab of its own.
pub(super) struct Pair {
    pub(super) name: SubjectName,
    pub(super) client: Host,
    pub(super) observer: Host,
    pub(super) address: Ipv4Addr,
    pub(super) listen: SocketAddr,
    pub(super) rhythm: Rhythm,
    kind: Kind,
    _origin: Origin,
    // Last: what runs in it ends first.
    pub(super) lab: Lab,
}

enum Kind {
    Ballast(Box<BallastPair>),
    Keepalived(Box<KeepalivedPair>),
}

impl Pair {
    /// Starts a pair with adverts every `interval_ms`.
    pub(super) async fn start(name: SubjectName, interval_ms: u32) -> Result<Self> {
        let lab = Lab::with_cluster_network()?;
        let origin = Origin::start(&lab.host("origin-1", 21)?).await?;
        let address = lab.address(ADDRESS_LAST);
        let listen = SocketAddr::from((address, PORT));
        let kind = match name {
            SubjectName::Ballast => {
                let pair = BallastPair::start(&lab, listen, origin.http(), interval_ms).await?;
                Kind::Ballast(Box::new(pair))
            }
            SubjectName::Keepalived => {
                let pair = KeepalivedPair::start(&lab, listen, origin.http(), interval_ms).await?;
                Kind::Keepalived(Box::new(pair))
            }
        };
        let (client, observer) = (lab.host("client", 31)?, lab.host("observer", 32)?);
        let rhythm = Rhythm::start(&lab, interval_ms).await?;
        Ok(Self { name, rhythm, client, observer, address, listen, kind, _origin: origin, lab })
    }

    /// Which node has the address that the origin saw.
    pub(super) fn index_of(&self, ip: &str) -> Result<usize> {
        let found = (0..2).find(|index| self.host(*index).ip().to_string() == ip);
        found.with_context(|| format!("{ip} is neither node"))
    }

    pub(super) fn host(&self, index: usize) -> &Host {
        match &self.kind {
            Kind::Ballast(pair) => pair.host(index),
            Kind::Keepalived(pair) => pair.host(index),
        }
    }

    /// Kills all of the product on a node.
    pub(super) fn kill(&mut self, index: usize) -> Result<()> {
        match &mut self.kind {
            Kind::Ballast(pair) => pair.kill(index),
            Kind::Keepalived(pair) => pair.kill(index),
        }
    }

    /// Starts it again.
    pub(super) async fn start_node(&mut self, index: usize) -> Result<()> {
        match &mut self.kind {
            Kind::Ballast(pair) => pair.start_node(index),
            Kind::Keepalived(pair) => pair.start_node(index),
        }
    }

    /// Lets it stand still.
    pub(super) fn stop(&self, index: usize) -> Result<()> {
        match &self.kind {
            Kind::Ballast(pair) => pair.stop(index),
            Kind::Keepalived(pair) => pair.stop(index),
        }
    }

    /// Lets it go on.
    pub(super) fn go_on(&self, index: usize) -> Result<()> {
        match &self.kind {
            Kind::Ballast(pair) => pair.go_on(index),
            Kind::Keepalived(pair) => pair.go_on(index),
        }
    }

    /// Asks it to stop.
    pub(super) async fn shutdown(&mut self, index: usize) -> Result<()> {
        match &mut self.kind {
            Kind::Ballast(pair) => pair.shutdown(index).await,
            Kind::Keepalived(pair) => pair.shutdown(index).await,
        }
    }

    /// Moves the address to the other node.
    pub(super) async fn move_away(&self, index: usize) -> Result<()> {
        match &self.kind {
            Kind::Ballast(pair) => pair.move_away(index).await,
            Kind::Keepalived(pair) => pair.move_away(index),
        }
    }

    /// Undoes what the move changed besides the owner.
    pub(super) fn moved(&self, index: usize) -> Result<()> {
        match &self.kind {
            Kind::Ballast(_) => Ok(()),
            Kind::Keepalived(pair) => pair.moved(index),
        }
    }

    /// Waits until the node could take over.
    pub(super) async fn ready(&mut self, index: usize) -> Result<()> {
        match &mut self.kind {
            Kind::Ballast(pair) => pair.ready(index).await,
            Kind::Keepalived(pair) => pair.ready(index).await,
        }
    }
}
