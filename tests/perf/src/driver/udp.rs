//! Datagrams back and forth: clients with so many under way each, and a member that sends everything back.
//!
//! Invariant: an answer counts when it is what was sent, byte for byte; what does not come back within
//! [`SILENCE_LIMIT`] is lost, and counts as a failure.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::{Outcome, PATIENCE};

/// Silence after which what is under way is lost.
const SILENCE_LIMIT: Duration = Duration::from_millis(200);
/// How long is waited at once for anything to come.
const LOOK_INTERVAL: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
/// Room for a datagram.
const DATAGRAM_MAX_BYTES: usize = 65_535;

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The proxy.
    #[arg(long)]
    address: SocketAddr,
    /// Clients, each with a port of its own.
    #[arg(long, default_value_t = 8)]
    clients: u32,
    /// Datagrams of each that are under way.
    #[arg(long, default_value_t = 8)]
    window: usize,
    /// Bytes of a datagram.
    #[arg(long, default_value_t = 1_200)]
    bytes: usize,
    /// How long, in s.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
}

#[cfg(test)]
impl Options {
    /// For a second.
    pub(crate) fn once(address: SocketAddr) -> Self {
        Self { address, clients: 8, window: 8, bytes: 1_200, seconds: 1 }
    }
}

struct Client {
    socket: UdpSocket,
    content: Vec<u8>,
    under_way: usize,
    heard: Instant,
}

/// Sends until time is up.
pub(crate) fn run(options: &Options) -> Result<Outcome> {
    ensure!(options.bytes >= 4 && options.window > 0, "datagrams of 4 bytes, one at least");
    let clients = (0..options.clients).map(|number| Client::new(options, number));
    let mut clients = clients.collect::<Result<Vec<_>>>()?;
    let mut outcome = Outcome::default();
    let began = Instant::now();
    let end = began + Duration::from_secs(options.seconds);
    let mut storage = vec![0; DATAGRAM_MAX_BYTES];
    loop {
        let now = Instant::now();
        if now >= end {
            break;
        }
        let mut is_idle = true;
        for client in &mut clients {
            is_idle &= client.turn(options.window, now, &mut storage, &mut outcome)? == 0;
        }
        if is_idle {
            let sockets = clients.iter().map(|client| PollFd::new(&client.socket, PollFlags::IN));
            poll(&mut sockets.collect::<Vec<_>>(), Some(&LOOK_INTERVAL))?;
        }
    }
    outcome.duration_s = began.elapsed().as_secs_f64();
    Ok(outcome)
}

impl Client {
    /// One that has had an answer.
    fn new(options: &Options, number: u32) -> Result<Self> {
        let any: IpAddr =
            if options.address.is_ipv4() { [0_u8; 4].into() } else { [0_u16; 8].into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(options.address)?;
        socket.set_read_timeout(Some(SILENCE_LIMIT))?;
        let mut content = vec![b'x'; options.bytes];
        content[..4].copy_from_slice(&number.to_be_bytes());
        let mut answer = vec![0; DATAGRAM_MAX_BYTES];
        let until = Instant::now() + PATIENCE;
        loop {
            ensure!(Instant::now() < until, "{} does not answer", options.address);
            // Nobody may listen yet, or know of a member.
            let _refused = socket.send(&content);
            if socket.recv(&mut answer).is_ok_and(|count| answer[..count] == content) {
                break;
            }
        }
        socket.set_nonblocking(true)?;
        Ok(Self { socket, content, under_way: 0, heard: Instant::now() })
    }

    /// Takes what is there and sends as much; how many it took.
    fn turn(
        &mut self,
        window: usize,
        now: Instant,
        storage: &mut [u8],
        outcome: &mut Outcome,
    ) -> Result<usize> {
        let mut taken = 0;
        loop {
            match self.socket.recv(storage) {
                Ok(count) if storage[..count] == self.content => taken += 1,
                Ok(_) => outcome.failures += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("receiving"),
            }
        }
        if taken > 0 {
            self.heard = now;
        } else if self.under_way > 0 && now.duration_since(self.heard) > SILENCE_LIMIT {
            outcome.failures += self.under_way as u64;
            self.under_way = 0;
            self.heard = now;
        }
        outcome.requests += taken as u64;
        outcome.bytes += (taken * self.content.len()) as u64;
        self.under_way = self.under_way.saturating_sub(taken);
        while self.under_way < window {
            self.socket.send(&self.content).context("sending")?;
            self.under_way += 1;
        }
        Ok(taken)
    }
}

/// A member that sends everything back, on a thread of its own, until it is dropped.
pub(crate) struct Echo {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Listens at `address`, on that CPU.
    pub(crate) fn start(address: SocketAddr, cpu: usize) -> Result<Self> {
        let socket = UdpSocket::bind(address)?;
        socket.set_read_timeout(Some(SILENCE_LIMIT))?;
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let address = socket.local_addr()?;
        let thread = std::thread::Builder::new().name("echo".to_owned()).spawn(move || {
            let mut cpus = CpuSet::new();
            cpus.set(cpu);
            // Elsewhere it would be in the proxy's way, and no more than that.
            let _moved = sched_setaffinity(None, &cpus);
            let mut storage = vec![0; DATAGRAM_MAX_BYTES];
            while !over.load(Relaxed) {
                // An error: nothing came, or a client has gone.
                if let Ok((count, peer)) = socket.recv_from(&mut storage) {
                    // What finds no room is lost, as in any network.
                    let _lost = socket.send_to(&storage[..count], peer);
                }
            }
        })?;
        Ok(Self { address, is_over, thread: Some(thread) })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of its own has told of itself.
            let _ended = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(address: SocketAddr) -> Options {
        Options { address, clients: 2, window: 4, bytes: 64, seconds: 1 }
    }

    #[test]
    fn what_comes_back_is_counted() {
        let echo = Echo::start("127.0.0.1:0".parse().unwrap(), 0).unwrap();
        let outcome = run(&options(echo.address)).unwrap();
        assert!(outcome.requests > 8, "{outcome:?}");
        assert_eq!((outcome.failures, outcome.bytes), (0, outcome.requests * 64));
    }

    #[test]
    fn what_does_not_come_back_is_a_failure() {
        let member = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = member.local_addr().unwrap();
        // Answers each client once and then no more.
        let thread = std::thread::spawn(move || {
            let mut storage = [0; 64];
            for _ in 0..2 {
                let (count, peer) = member.recv_from(&mut storage).unwrap();
                member.send_to(&storage[..count], peer).unwrap();
            }
            member
        });
        let outcome = run(&options(address)).unwrap();
        let _member = thread.join().unwrap();
        assert_eq!(outcome.requests, 0);
        assert!(outcome.failures >= 8, "{outcome:?}");
    }
}
