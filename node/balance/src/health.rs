//! Turns probe results into health: a member changes sides only after enough results in a row.
//!
//! ```text
//!              one success                  `fall` failures in a row
//!   Checking ───────────────► Up ─────────────────────────────────► Down
//!      │                       ▲                                     ▲ │
//!      │                       └─────────────────────────────────────┼─┘
//!      │                           `rise` successes in a row         │
//!      └─────────────────────────────────────────────────────────────┘
//!              one failure
//! ```
//!
//! Invariant: the number of results in a row against the present side is below what changes it.
//! A member that takes no traffic yet is decided by its first probe: waiting would help nobody.

use ballast_model::status::Health;

use crate::member::HealthReport;

/// How many results in a row change a member's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthSettings {
    /// Successes that bring it up; at least 1.
    pub rise: u32,
    /// Failures that take it down; at least 1.
    pub fall: u32,
}

/// What one probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Whether the member answered as it should.
    pub passed: bool,
    /// What happened, as `HTTP 503 after 12 ms; expected 200-399`.
    pub facts: String,
    /// How long it took, in µs.
    pub took_us: u64,
}

/// A change of sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// What the member was.
    pub from: Health,
    /// What it is now.
    pub to: Health,
}

/// The health of a member as one monitor sees it.
#[derive(Clone, Debug)]
pub struct HealthMachine {
    settings: HealthSettings,
    health: Health,
    since_ms: u64,
    last: Option<Probe>,
    /// Results in a row that were like the last one, itself included.
    run_count: u32,
    /// Whether the last result was taken at its word.
    is_decided: bool,
}

impl HealthMachine {
    /// A machine that starts from `health`: [`Health::Checking`] for a new member,
    /// [`Health::Up`] where the member takes traffic already.
    pub fn new(settings: HealthSettings, health: Health, now_ms: u64) -> Self {
        let health = if health == Health::Unmonitored { Health::Up } else { health };
        Self { settings, health, since_ms: now_ms, last: None, run_count: 0, is_decided: false }
    }

    /// What the monitor holds of the member.
    pub fn health(&self) -> Health {
        self.health
    }

    /// Takes in what a probe found; returns the change of sides, if it makes one.
    pub fn observe(&mut self, probe: Probe, now_ms: u64) -> Option<Transition> {
        let is_like_last = self.last.as_ref().is_some_and(|last| last.passed == probe.passed);
        self.run_count = if is_like_last { self.run_count.saturating_add(1) } else { 1 };
        self.last = Some(probe);
        self.is_decided = false;
        if self.against_count() < self.needed() {
            return None;
        }
        let from = self.health;
        self.health =
            if from == Health::Up || self.last_failed() { Health::Down } else { Health::Up };
        self.since_ms = now_ms;
        Some(Transition { from, to: self.health })
    }

    /// Takes what was found at its word, whatever came before.
    pub fn decide(&mut self, probe: Probe, now_ms: u64) {
        let to = if probe.passed { Health::Up } else { Health::Down };
        if self.health != to {
            self.health = to;
            self.since_ms = now_ms;
        }
        self.last = Some(probe);
        self.is_decided = true;
        self.run_count = 0;
    }

    /// Changes how many results it takes; the next result is judged by that.
    pub fn set_settings(&mut self, settings: HealthSettings) {
        self.settings = settings;
        if self.against_count() >= self.needed() {
            self.run_count = self.needed() - 1;
        }
    }

    /// What it holds, and why.
    pub fn report(&self) -> HealthReport {
        HealthReport {
            health: self.health,
            reason: self.reason(),
            since_ms: self.since_ms,
            last_probe_us: self.last.as_ref().map(|probe| probe.took_us),
        }
    }

    /// Checks what must always hold.
    ///
    /// # Errors
    /// A sentence on what does not.
    pub fn check_invariants(&self) -> Result<(), String> {
        if self.against_count() >= self.needed() {
            return Err(format!("{} results should have changed sides", self.against_count()));
        }
        if self.last.is_some() && self.health == Health::Checking {
            return Err("a probe was made and decided nothing".to_owned());
        }
        Ok(())
    }

    fn last_failed(&self) -> bool {
        self.last.as_ref().is_some_and(|last| !last.passed)
    }

    /// Results in a row against the present side.
    fn against_count(&self) -> u32 {
        let against = match (&self.last, self.health) {
            (None, _) => false,
            (Some(_), Health::Checking) => true,
            (Some(last), Health::Down) => last.passed,
            (Some(last), Health::Unmonitored | Health::Up) => !last.passed,
        };
        if against { self.run_count } else { 0 }
    }

    /// Results in a row that change the present side.
    fn needed(&self) -> u32 {
        match self.health {
            Health::Checking => 1,
            Health::Down => self.settings.rise.max(1),
            Health::Unmonitored | Health::Up => self.settings.fall.max(1),
        }
    }

    fn reason(&self) -> String {
        let Some(Probe { facts, passed, .. }) = &self.last else {
            return WAITING.to_owned();
        };
        if self.is_decided {
            return facts.clone();
        }
        let HealthSettings { rise, fall } = self.settings;
        match (self.health, passed, self.run_count) {
            (Health::Down, true, passed) => format!("{facts}; {passed} of {rise} checks passed"),
            (Health::Down, false, 1) if fall > 1 => format!("{facts}; the first check failed"),
            (_, false, failed) => format!("{facts}; {} of {fall} checks failed", failed.min(fall)),
            (_, true, _) => facts.clone(),
        }
    }
}

/// The reason while no probe has ended.
pub(crate) const WAITING: &str = "waiting for the first health check";

/// The health of a member with several monitors: up while all say so, and not down for a monitor
/// that was added a moment ago and has said nothing yet.
///
/// `previous` is what was held of the member before; `monitors` are named.
pub fn combine(
    previous: &HealthReport,
    monitors: &[(&str, &HealthMachine)],
    now_ms: u64,
) -> HealthReport {
    let several = monitors.len() > 1;
    let find = |health| monitors.iter().find(|(_, machine)| machine.health() == health);
    let (health, decisive) = if let Some(down) = find(Health::Down) {
        (Health::Down, Some(down))
    } else if let Some(checking) = find(Health::Checking) {
        match previous.health {
            Health::Unmonitored | Health::Up => (Health::Up, find(Health::Up).or(Some(checking))),
            Health::Checking | Health::Down => (Health::Checking, Some(checking)),
        }
    } else {
        (Health::Up, monitors.last())
    };
    let (name, report) =
        decisive.map(|(name, machine)| (*name, machine.report())).unwrap_or_default();
    HealthReport {
        health,
        reason: if several { format!("{name}: {}", report.reason) } else { report.reason },
        since_ms: if health == previous.health { previous.since_ms } else { now_ms },
        last_probe_us: report.last_probe_us,
    }
}

#[cfg(test)]
mod tests;
