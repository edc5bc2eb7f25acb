//! What the system tells the process.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Why a process is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Interrupt,
    Terminate,
}

impl Stop {
    /// The signal's name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }
}

/// The signals that a node understands.
pub(crate) struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens from now on: none of these signals ends the process by itself any more.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next signal; none for SIGHUP, which asks to open log files anew.
    pub(crate) async fn next(&mut self) -> Option<Stop> {
        // Cancel-safe: a signal that was not received stays pending.
        tokio::select! {
            _ = self.hangup.recv() => None,
            _ = self.interrupt.recv() => Some(Stop::Interrupt),
            _ = self.terminate.recv() => Some(Stop::Terminate),
        }
    }
}
