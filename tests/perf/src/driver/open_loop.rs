//! Requests that come when they are due and not when the last answer is there, as from many clients
//! that know nothing of each other.
//!
//! One thread that asks the kernel directly: what this driver takes of its CPU, the origin does not get,
//! and both would be measured instead of the proxy.
//!
//! Invariant: a request's time begins when it was due, whether or not a connection was free then
//! (Tene, "coordinated omission").

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZero;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use rustix::thread::set_current_timer_slack;

use self::member::{MARK, Member};
use super::{ANSWER_MAX_BYTES, Outcome, PATIENCE, measured, request};

mod member;

/// Events taken at once.
const EVENT_MAX_COUNT: usize = 128;

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The proxy.
    #[arg(long)]
    address: SocketAddr,
    /// Where the proxy's member listens, which this is too; without it the member is another's.
    #[arg(long)]
    member: Option<SocketAddr>,
    /// Requests per second.
    #[arg(long)]
    rate: f64,
    /// Connections that carry them.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// How long, in s.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
}

#[cfg(test)]
impl Options {
    /// For a second.
    pub(crate) fn once(address: SocketAddr, rate: f64) -> Self {
        Self { address, member: None, rate, connections: 4, seconds: 1 }
    }

    pub(crate) fn with_member(self, member: SocketAddr) -> Self {
        Self { member: Some(member), ..self }
    }
}

struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
    /// When the request under way was due.
    due: Option<Instant>,
}

/// Sends until everything that was due has been answered.
pub(crate) fn run(options: &Options) -> Result<Outcome> {
    ensure!(options.rate > 0.0, "a rate of nothing");
    // The kernel may otherwise wake an ordinary thread 50 µs late.
    set_current_timer_slack(NonZero::new(1))?;
    let mut load = Load::new(options)?;
    let began = Instant::now();
    let count = (options.rate * options.seconds as f64) as u64;
    let mut given_out = 0;
    let mut heard = began;
    loop {
        let now = Instant::now();
        let due_of = |number: u64| began + Duration::from_secs_f64(number as f64 / options.rate);
        while given_out < count && due_of(given_out) <= now {
            load.waiting.push_back(due_of(given_out));
            given_out += 1;
        }
        load.send()?;
        let until = match given_out < count {
            true => due_of(given_out),
            false if load.is_done() => break,
            false => heard + PATIENCE,
        };
        if load.receive(until.saturating_duration_since(Instant::now()))? {
            heard = Instant::now();
        }
        ensure!(heard.elapsed() < PATIENCE, "nothing was answered for {} s", PATIENCE.as_secs());
    }
    ensure!(!load.times_us.is_empty(), "no request was answered");
    Ok(Outcome::of(&load.times_us, load.failures, began))
}

/// The connections, and what they have seen.
struct Load {
    address: SocketAddr,
    request: Vec<u8>,
    poll: OwnedFd,
    member: Option<Member>,
    connections: Vec<Connection>,
    /// Those that carry nothing; the one that has waited longest is first.
    free: VecDeque<usize>,
    /// When those were due that wait for a connection.
    waiting: VecDeque<Instant>,
    times_us: Vec<f64>,
    failures: u64,
}

impl Load {
    fn new(options: &Options) -> Result<Self> {
        let address = options.address;
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut load = Self {
            address,
            request: request(address, false),
            member: options.member.map(|member| Member::listen(member, &poll)).transpose()?,
            poll,
            connections: Vec::new(),
            free: (0..options.connections).collect(),
            waiting: VecDeque::new(),
            times_us: Vec::new(),
            failures: 0,
        };
        for index in 0..options.connections {
            let stream = load.connect(index)?;
            load.connections.push(Connection { stream, answer: Vec::new(), due: None });
        }
        Ok(load)
    }

    /// Opens the connection with that index.
    fn connect(&self, index: usize) -> Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE).context("connecting")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&self.poll, &stream, data, epoll::EventFlags::IN)?;
        Ok(stream)
    }

    fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.free.len() == self.connections.len()
    }

    /// Sends what is due, as far as connections are free.
    fn send(&mut self) -> Result<()> {
        while let (Some(due), Some(&index)) = (self.waiting.front(), self.free.front()) {
            let connection = &mut self.connections[index];
            connection.due = Some(*due);
            self.waiting.pop_front();
            self.free.pop_front();
            // So little fits in always, unless the connection has ended.
            if !connection.stream.write(&self.request).is_ok_and(|sent| sent == self.request.len())
            {
                self.fail(index)?;
            }
        }
        Ok(())
    }

    /// Takes the answers that come within `limit`; whether any did.
    fn receive(&mut self, limit: Duration) -> Result<bool> {
        let limit = Timespec {
            tv_sec: i64::try_from(limit.as_secs())?,
            tv_nsec: i64::from(limit.subsec_nanos()),
        };
        let mut events = Vec::with_capacity(EVENT_MAX_COUNT);
        epoll::wait(&self.poll, spare_capacity(&mut events), Some(&limit))?;
        let mut is_any = false;
        for event in events {
            let mark = event.data.u64();
            if let Some(member) = self.member.as_mut().filter(|_| mark & MARK != 0) {
                member.turn(mark, &self.poll)?;
                continue;
            }
            let index = usize::try_from(mark)?;
            match self.connections[index].receive() {
                Ok(None) => {}
                Ok(Some(time)) => {
                    self.times_us.push(time.as_secs_f64() * 1e6);
                    self.free.push_back(index);
                    is_any = true;
                }
                Err(_) => self.fail(index)?,
            }
        }
        Ok(is_any)
    }

    /// Counts a failure, and opens the connection again.
    fn fail(&mut self, index: usize) -> Result<()> {
        self.failures += 1;
        // The kernel forgets the old one as it is closed.
        let stream = self.connect(index)?;
        let failed = &mut self.connections[index];
        failed.stream = stream;
        failed.answer.clear();
        if failed.due.take().is_some() {
            self.free.push_back(index);
        }
        Ok(())
    }
}

impl Connection {
    /// Takes what is there; how long the request under way took, once its answer is complete.
    fn receive(&mut self) -> Result<Option<Duration>> {
        let mut storage = [0; 4_096];
        let count = match self.stream.read(&mut storage) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error).context("receiving"),
        };
        ensure!(count > 0, "the connection ended");
        self.answer.extend_from_slice(&storage[..count]);
        ensure!(self.answer.len() <= ANSWER_MAX_BYTES, "an answer too long");
        let Some((status, length)) = measured(&self.answer)? else { return Ok(None) };
        if self.answer.len() < length {
            return Ok(None);
        }
        ensure!(self.answer.len() == length, "more than was asked for");
        ensure!((200..300).contains(&status), "status {status}");
        let due = self.due.take().context("an answer to nothing")?;
        self.answer.clear();
        Ok(Some(due.elapsed()))
    }
}
