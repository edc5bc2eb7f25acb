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

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// To end.
    Stop(Stop),
    /// To open log files anew (SIGHUP).
    ReopenLogs,
    /// To hand everything over to a new process (SIGUSR2).
    Upgrade,
}

/// The signals that a node understands.
pub(crate) struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
    upgrade: Signal,
}

impl Signals {
    /// Listens from now on: none of these signals ends the process by itself any more.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// What the next signal asks for. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Told {
        // Cancel-safe: a signal that was not received stays pending.
        tokio::select! {
            _ = self.hangup.recv() => Told::ReopenLogs,
            _ = self.interrupt.recv() => Told::Stop(Stop::Interrupt),
            _ = self.terminate.recv() => Told::Stop(Stop::Terminate),
            _ = self.upgrade.recv() => Told::Upgrade,
        }
    }
}
