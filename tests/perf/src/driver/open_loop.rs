//! Requests that come when they are due and not when the last answer is there, as from many clients
//! that know nothing of each other.
//!
//! Invariant: a request's time begins when it was due, whether or not a connection was free then
//! (Tene, "coordinated omission").

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Write;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Outcome, PATIENCE, Target, ask, request};

/// How often requests that are due are given out. tokio's timers are ten times coarser.
const TICK: Duration = Duration::from_micros(100);

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
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

/// What the timer and the connections share.
struct Shared {
    due: RefCell<VecDeque<Instant>>,
    available: Semaphore,
    seen: RefCell<(Vec<f64>, u64)>,
}

pub(super) async fn run(options: &Options) -> Result<Outcome> {
    ensure!(options.rate > 0.0, "a rate of nothing");
    let shared = Rc::new(Shared {
        due: RefCell::default(),
        available: Semaphore::new(0),
        seen: RefCell::default(),
    });
    let mut connections = JoinSet::new();
    for _ in 0..options.connections {
        let stream = TcpStream::connect(options.target.address).await.context("connecting")?;
        stream.set_nodelay(true)?;
        connections.spawn_local(carry(stream, options.target.clone(), Rc::clone(&shared)));
    }
    let mut ticks = ticks()?;
    let mut ticked = [0; 1_024];
    let began = Instant::now();
    let count = (options.rate * options.seconds as f64) as u64;
    let mut given_out = 0;
    while given_out < count {
        ensure!(ticks.read(&mut ticked).await? > 0, "the clock has stopped");
        let now = Instant::now();
        while given_out < count {
            let due = began + Duration::from_secs_f64(given_out as f64 / options.rate);
            if due > now {
                break;
            }
            shared.due.borrow_mut().push_back(due);
            shared.available.add_permits(1);
            given_out += 1;
        }
    }
    // What was given out is answered; then nothing more comes.
    let drained = async {
        while !shared.due.borrow().is_empty() {
            ensure!(ticks.read(&mut ticked).await? > 0, "the clock has stopped");
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, drained).await.context("requests were left over")??;
    shared.available.close();
    while let Some(ended) = connections.join_next().await {
        ended?;
    }
    let (times_us, failures) = shared.seen.take();
    ensure!(!times_us.is_empty(), "no request was answered");
    Ok(Outcome::of(&times_us, failures, began))
}

/// A byte every [`TICK`]: from a thread, whose only work is to wait for it.
fn ticks() -> Result<UnixStream> {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::empty())?;
    let tick = Timespec { tv_sec: 0, tv_nsec: i64::from(TICK.subsec_nanos()) };
    let setting = Itimerspec { it_interval: tick, it_value: tick };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &setting)?;
    let (mut ticker, ticks) = std::os::unix::net::UnixStream::pair()?;
    std::thread::spawn(move || {
        let mut expirations = [0; 8];
        // Until nobody listens any more.
        while rustix::io::read(&timer, &mut expirations).is_ok() && ticker.write_all(&[1]).is_ok() {
        }
    });
    ticks.set_nonblocking(true)?;
    Ok(UnixStream::from_std(ticks)?)
}

/// Takes what is due, one after another, until nothing more comes.
async fn carry(mut stream: TcpStream, target: Target, shared: Rc<Shared>) {
    let request = request(target.address, false);
    let mut answer = Vec::new();
    while let Ok(permit) = shared.available.acquire().await {
        permit.forget();
        let Some(due) = shared.due.borrow_mut().pop_front() else { continue };
        let asked = timeout(PATIENCE, ask(&mut stream, &request, &mut answer)).await;
        if matches!(asked, Ok(Ok(200..300))) {
            shared.seen.borrow_mut().0.push(due.elapsed().as_secs_f64() * 1e6);
            continue;
        }
        shared.seen.borrow_mut().1 += 1;
        match TcpStream::connect(target.address).await {
            Ok(fresh) => stream = fresh,
            Err(_) => return,
        }
    }
}
