//! Who answers for an address: an observer asks by ARP every few milliseconds, so that two answers to
//! one question show two owners, and counts what is announced unasked.
//!
//! It must not be on the client's host: answers would refresh that host's neighbour table.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use clap::Args;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike as _, bind,
    recv, send, setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::lab::{Host, format_mac};
use crate::probe::now_us;
use crate::process::Process;
use crate::programs;

const FRAME_BYTES: usize = 42;
const OPERATION_REQUEST: u8 = 1;
const OPERATION_REPLY: u8 = 2;

/// Whom to ask for.
#[derive(Clone, Debug, Args)]
pub struct WatchOptions {
    /// The address that is asked for.
    pub target: Ipv4Addr,
    /// The observer's own address.
    #[arg(long)]
    pub own: Ipv4Addr,
    /// The observer's device.
    #[arg(long, default_value = "eth0")]
    pub device: String,
    /// Time between two questions, in ms.
    #[arg(long, default_value_t = 20)]
    pub interval_ms: u64,
}

/// An answer or an announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// When it came, in µs on the clock of [`now_us`].
    pub at_us: u64,
    /// The question that it answers; 0 for an announcement.
    pub question: u64,
    /// Who claims the address.
    pub mac: String,
}

/// A running observer; it ends when dropped.
#[derive(Debug)]
pub struct ArpWatch {
    claims: Arc<Mutex<Vec<Claim>>>,
    process: Process,
    reader: Option<JoinHandle<()>>,
}

impl ArpWatch {
    /// Starts asking for `target` from `host`.
    ///
    /// # Errors
    /// When the observer cannot be started.
    pub fn start(host: &Host, target: Ipv4Addr) -> Result<Self> {
        let mut command = host.command(programs::find("ballast-arp-watch")?);
        command.arg(target.to_string()).args(["--own", &host.ip().to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let log = host.dir()?.join("arp-watch.log");
        let mut process = Process::start_with_pipes("ballast-arp-watch", command, &log)?;
        let stdout = process.child_mut().stdout.take().context("its output is a pipe")?;
        let claims = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&claims);
        // Ends with the observer, whose death closes the pipe.
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                lock(&into).extend(parse(&line));
            }
        });
        Ok(Self { claims, process, reader: Some(reader) })
    }

    /// Forgets what it saw.
    pub fn forget(&self) {
        lock(&self.claims).clear();
    }

    /// How many questions since then were answered by more than one, and when the last of them was,
    /// in µs.
    pub fn rivalry_since(&self, since_us: u64) -> (u64, Option<u64>) {
        rivalry(&lock(&self.claims), since_us)
    }

    /// Announcements since then, by who made them.
    pub fn announced_since(&self, since_us: u64) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for claim in lock(&self.claims).iter() {
            if claim.question == 0 && claim.at_us >= since_us {
                *counts.entry(claim.mac.clone()).or_default() += 1;
            }
        }
        counts
    }

    /// Who answered the last question that was answered.
    pub fn owners(&self) -> BTreeSet<String> {
        let claims = lock(&self.claims);
        let last = claims.iter().map(|claim| claim.question).max().unwrap_or(0);
        let answers = claims.iter().filter(|claim| claim.question == last && last > 0);
        answers.map(|claim| claim.mac.clone()).collect()
    }
}

impl Drop for ArpWatch {
    fn drop(&mut self) {
        drop(self.process.kill());
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
    }
}

fn rivalry(claims: &[Claim], since_us: u64) -> (u64, Option<u64>) {
    let mut answers: BTreeMap<u64, (BTreeSet<&str>, u64)> = BTreeMap::new();
    for claim in claims.iter().filter(|c| c.question > 0 && c.at_us >= since_us) {
        let (macs, at_us) = answers.entry(claim.question).or_default();
        macs.insert(&claim.mac);
        *at_us = claim.at_us;
    }
    let rivals = answers.values().filter(|(macs, _)| macs.len() > 1);
    (rivals.clone().count() as u64, rivals.map(|(_, at_us)| *at_us).max())
}

fn parse(line: &str) -> Option<Claim> {
    let mut words = line.split(' ');
    let (at_us, question) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Claim { at_us, question, mac: words.next()?.to_owned() })
}

fn lock(claims: &Mutex<Vec<Claim>>) -> MutexGuard<'_, Vec<Claim>> {
    claims.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What `ballast-arp-watch` does: asks on schedule, prints a line for each claim.
///
/// # Errors
/// When the device is not there or nobody reads the lines.
pub fn run(options: &WatchOptions) -> Result<()> {
    let device = device(&options.device)?;
    let mac = device.addr().context("the device has no hardware address")?;
    let flags = SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)?;
    bind(fd.as_raw_fd(), &device).context("binding to the device")?;
    let question_frame = request(mac, options.own, options.target);
    let (mut question, mut due_us) = (0, now_us());
    let mut frame = [0; 2_048];
    loop {
        if now_us() >= due_us {
            question += 1;
            due_us += options.interval_ms * 1_000;
            // A link that is down for a while is no reason to give up.
            let _ = send(fd.as_raw_fd(), &question_frame, MsgFlags::empty());
        }
        let wait_us = i64::try_from(due_us.saturating_sub(now_us()).max(100))?;
        setsockopt(&fd, ReceiveTimeout, &TimeVal::microseconds(wait_us))?;
        let Ok(length) = recv(fd.as_raw_fd(), &mut frame, MsgFlags::empty()) else { continue };
        if let Some((mac, is_answer)) = claim(&frame[..length], options.target, mac) {
            let question = if is_answer { question } else { 0 };
            let mut stdout = std::io::stdout().lock();
            writeln!(stdout, "{} {question} {}", now_us(), format_mac(mac))?;
            stdout.flush()?;
        }
    }
}

/// The device's own link-level address: what a packet socket is bound to.
fn device(name: &str) -> Result<LinkAddr> {
    let mut all = nix::ifaddrs::getifaddrs()?.filter(|interface| interface.interface_name == name);
    let found = all.find_map(|interface| {
        let address = interface.address?;
        (address.family() == Some(AddressFamily::Packet))
            .then(|| address.as_link_addr().copied())?
    });
    found.with_context(|| format!("no device {name}"))
}

/// RFC 826, to everybody.
fn request(mac: [u8; 6], own: Ipv4Addr, target: Ipv4Addr) -> [u8; FRAME_BYTES] {
    let mut frame = [0; FRAME_BYTES];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&mac);
    frame[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, OPERATION_REQUEST]);
    frame[22..28].copy_from_slice(&mac);
    frame[28..32].copy_from_slice(&own.octets());
    frame[38..42].copy_from_slice(&target.octets());
    frame
}

/// Who claims `target` in this frame, and whether it answers us.
fn claim(frame: &[u8], target: Ipv4Addr, own: [u8; 6]) -> Option<([u8; 6], bool)> {
    let is_arp = frame.get(12..14)? == [8, 6];
    let sender: [u8; 4] = frame.get(28..32)?.try_into().ok()?;
    let mac: [u8; 6] = frame.get(22..28)?.try_into().ok()?;
    if !is_arp || Ipv4Addr::from(sender) != target || mac == own {
        return None;
    }
    let is_gratuitous = frame.get(38..42)? == sender;
    let is_reply = *frame.get(21)? == OPERATION_REPLY;
    (is_gratuitous || is_reply).then_some((mac, !is_gratuitous))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_answers_to_one_question_are_a_rivalry() {
        let claims = ["5 1 a", "6 1 a", "25 2 a", "26 2 b", "45 3 b", "46 0 b"].map(parse);
        let claims: Vec<_> = claims.into_iter().flatten().collect();
        assert_eq!(claims.len(), 6);
        assert_eq!(rivalry(&claims, 0), (1, Some(26)));
        assert_eq!(rivalry(&claims, 40), (0, None));
    }

    #[test]
    fn questions_are_no_claims_and_announcements_no_answers() {
        let (one, two) = (Ipv4Addr::new(10, 77, 0, 11), Ipv4Addr::new(10, 77, 0, 100));
        let asked = request([1; 6], one, two);
        assert_eq!(claim(&asked, one, [9; 6]), None);
        let announced = request([1; 6], two, two);
        assert_eq!(claim(&announced, two, [9; 6]), Some(([1; 6], false)));
        let mut answer = request([1; 6], two, one);
        answer[21] = OPERATION_REPLY;
        assert_eq!(claim(&answer, two, [9; 6]), Some(([1; 6], true)));
        assert_eq!(claim(&answer, two, [1; 6]), None);
    }
}
