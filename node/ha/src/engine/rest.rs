//! Another process takes over from this one: the thread rests, then departs, or goes on.
//!
//! Invariant: who rests neither sends, nor renews, nor takes anything away; so that for the network nothing
//! has happened when the other process goes on within an interval.

use std::sync::mpsc::{RecvTimeoutError, SyncSender};
use std::time::Duration;

use ballast_vrrp::{Input, State};

use super::{Command, Engine};
use crate::kernel;

/// How often the demand to stop is looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Commands that are kept for later.
const DEFERRED_MAX_COUNT: usize = 1_024;

impl Engine {
    /// Rests until told; whether the thread is to end.
    pub(super) fn rest(&mut self, done: &SyncSender<()>) -> bool {
        self.publish(kernel::monotonic());
        // Nobody waiting any more is fine.
        let _told = done.try_send(());
        let mut deferred = Vec::new();
        loop {
            self.pulse.turn();
            match self.commands.recv_timeout(LOOK_INTERVAL) {
                Ok(Command::Depart) => return true,
                Ok(Command::GoOn) => break,
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    self.release_all();
                    return true;
                }
                Ok(command) if deferred.len() < DEFERRED_MAX_COUNT => deferred.push(command),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) if self.pulse.must_stop() => {
                    self.release_all();
                    return true;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        for group in self.groups.values_mut() {
            if group.state() == State::Active {
                group.handle(Input::Resume { is_manual: false }, &mut self.shell);
            }
        }
        deferred.into_iter().for_each(|command| self.obey(command));
        false
    }
}
