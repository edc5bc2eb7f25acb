//! What is on the wire: frames of one network of a lab, recorded by tcpdump at the switch.
//!
//! The switch sees what each host sends, also what a partition then keeps from others.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::lab::{Lab, Segment};
use crate::process::Process;
use crate::wait::wait_for;

pub mod frame;

pub use frame::{Advert, Frame, Kind};

/// A filter for VRRP adverts.
pub const ADVERTS: &str = "ip proto 112 or ip6 proto 112";
/// A filter for ARP and neighbour advertisements (ICMPv6 type 136).
pub const ANNOUNCEMENTS: &str = "arp or (icmp6 and ip6[40] == 136)";

/// Longest time for tcpdump to begin.
const START_LIMIT: Duration = Duration::from_secs(10);

/// The header of a capture file, and of each packet in it.
const FILE_HEADER_BYTES: usize = 24;
const PACKET_HEADER_BYTES: usize = 16;
/// The first four bytes of a file with microseconds, as this machine writes it.
const MAGIC: u32 = 0xa1b2_c3d4;

/// A running capture; it ends when dropped.
#[derive(Debug)]
pub struct Capture {
    file: PathBuf,
    process: Process,
}

impl Capture {
    /// Starts recording, and waits until tcpdump listens.
    ///
    /// # Errors
    /// On loopback, without tcpdump, or when it refuses the filter.
    pub async fn start(lab: &Lab, segment: Segment, name: &str, filter: &str) -> Result<Self> {
        let file = lab.dir().join(format!("{name}.pcap"));
        let log = lab.dir().join(format!("{name}.tcpdump.log"));
        let mut command = lab.switch_command("tcpdump")?;
        // Packet by packet into the file, so that what was sent can be waited for.
        command.args([
            "-n",
            "-U",
            "--immediate-mode",
            "-s",
            "0",
            "-i",
            &Lab::bridge(segment),
            "-w",
        ]);
        command.arg(&file).arg(filter).stdin(Stdio::null()).stdout(Stdio::null());
        let mut process = Process::start_with_pipes("tcpdump", command, &log)
            .context("tcpdump (Debian package tcpdump)")?;
        let said = || fs::read_to_string(&log).unwrap_or_default();
        let mut ended = None;
        wait_for("tcpdump to listen", START_LIMIT, async || {
            ended = process.ended();
            ended.is_some() || said().contains("listening on")
        })
        .await?;
        if let Some(status) = ended {
            bail!("tcpdump (Debian package tcpdump) ended with {status}: {}", said());
        }
        Ok(Self { file, process })
    }

    /// What was recorded so far.
    ///
    /// # Errors
    /// When tcpdump has died or its file is malformed.
    pub fn frames(&mut self) -> Result<Vec<Frame>> {
        ensure!(self.process.ended().is_none(), "tcpdump has died");
        frames_of(&fs::read(&self.file)?)
    }

    /// The adverts that were recorded so far.
    ///
    /// # Errors
    /// As [`Capture::frames`].
    pub fn adverts(&mut self) -> Result<Vec<Advert>> {
        let adverts = self.frames()?.into_iter().filter_map(|frame| match frame.kind {
            Kind::Advert(advert) => Some(advert),
            _ => None,
        });
        Ok(adverts.collect())
    }
}

/// The frames in a capture file; one that tcpdump is still writing is left out.
fn frames_of(file: &[u8]) -> Result<Vec<Frame>> {
    if file.len() < FILE_HEADER_BYTES {
        return Ok(Vec::new());
    }
    ensure!(number(file, 0)? == MAGIC, "not a capture file of this machine");
    let mut rest = &file[FILE_HEADER_BYTES..];
    let mut frames = Vec::new();
    while rest.len() >= PACKET_HEADER_BYTES {
        let (seconds, micros) = (u64::from(number(rest, 0)?), u64::from(number(rest, 4)?));
        let end = PACKET_HEADER_BYTES + usize::try_from(number(rest, 8)?)?;
        let Some(bytes) = rest.get(PACKET_HEADER_BYTES..end) else { break };
        frames.push(Frame::parse(seconds * 1_000_000 + micros, bytes));
        rest = &rest[end..];
    }
    Ok(frames)
}

fn number(bytes: &[u8], at: usize) -> Result<u32> {
    let bytes = bytes.get(at..at + 4).context("the capture file is cut short")?;
    Ok(u32::from_ne_bytes(bytes.try_into()?))
}
