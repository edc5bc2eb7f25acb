//! The properties. They look at addresses on interfaces, not at what machines say of themselves.

use crate::plan::{CALM_AT_US, END_AT_US, Plan, SETTLED_AT_US};

/// What a property's breach looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) at_us: u64,
    pub(crate) what: String,
}

/// Timers are served at most so late.
pub(crate) const TICK_LATE_US: u64 = 2_000;
/// Answers are held back so long at most.
const ANSWER_GAP_US: u64 = 10_000;

#[derive(Debug)]
pub(crate) struct Observer {
    interval_us: u64,
    max_delay_us: u64,
    active: Vec<bool>,
    /// Since when a node could have taken over.
    able_since: Vec<Option<u64>>,
    none_since: Option<u64>,
    many_since: Option<u64>,
    pub(crate) transitions_count: usize,
    pub(crate) takeovers_count: usize,
}

impl Observer {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            interval_us: plan.longest_interval_us(),
            max_delay_us: plan.max_delay_us,
            active: vec![false; plan.priorities.len()],
            able_since: vec![None; plan.priorities.len()],
            none_since: Some(0),
            many_since: None,
            transitions_count: 0,
            takeovers_count: 0,
        }
    }

    pub(crate) fn set_able(&mut self, node: usize, since: Option<u64>) {
        self.able_since[node] = since;
    }

    /// A node holds addresses now, or none.
    pub(crate) fn set_active(
        &mut self,
        node: usize,
        is_active: bool,
        now: u64,
    ) -> Result<(), Violation> {
        if self.active[node] == is_active {
            return Ok(());
        }
        self.look(now)?;
        self.active[node] = is_active;
        self.takeovers_count += usize::from(is_active);
        let active_count = self.active.iter().filter(|active| **active).count();
        self.none_since = (active_count == 0).then_some(now);
        self.many_since = if active_count > 1 { self.many_since.or(Some(now)) } else { None };
        Ok(())
    }

    /// A machine changed its state.
    pub(crate) fn count_transition(&mut self, now: u64, what: &str) -> Result<(), Violation> {
        self.transitions_count += 1;
        if now >= SETTLED_AT_US {
            return violated(now, format!("nothing disturbs, and still: {what}"));
        }
        Ok(())
    }

    /// Time has come to `now`, and nothing has changed since the last look.
    pub(crate) fn look(&self, now: u64) -> Result<(), Violation> {
        if let Some(none_since) = self.none_since {
            // 3 × interval and the longest skew; the last advertisement was under way for a while.
            let bound = 4 * self.interval_us + self.max_delay_us + TICK_LATE_US;
            for (node, able_since) in self.able_since.iter().enumerate() {
                let Some(since) = able_since.map(|able| able.max(none_since)) else { continue };
                if now.saturating_sub(since) > bound {
                    return violated(
                        now,
                        format!("node {node} is able and nobody is Active since {since}"),
                    );
                }
            }
        }
        let Some(many_since) = self.many_since else { return Ok(()) };
        // Once every Active has been heard, two of them last as long as a question and an answer.
        let heard_at = CALM_AT_US + self.interval_us + self.max_delay_us + TICK_LATE_US;
        let answer = 2 * self.max_delay_us + TICK_LATE_US + ANSWER_GAP_US;
        if now > many_since.max(heard_at) + answer {
            return violated(now, format!("more than one Active since {many_since}"));
        }
        Ok(())
    }

    /// At the end there is one.
    pub(crate) fn finish(&self) -> Result<usize, Violation> {
        self.look(END_AT_US)?;
        let active: Vec<usize> = (0..self.active.len()).filter(|node| self.active[*node]).collect();
        match *active {
            [one] => Ok(one),
            _ => violated(END_AT_US, format!("Active at the end: {active:?}")),
        }
    }
}

pub(crate) fn violated<T>(at_us: u64, what: String) -> Result<T, Violation> {
    Err(Violation { at_us, what })
}
