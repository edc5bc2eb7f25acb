//! Weighted round robin: who has the next turn.
//!
//! Earliest deadline first: a member of weight w takes turns 1/w apart on a virtual clock, and the
//! one whose turn is earliest goes next. That is as smooth as the classic smooth weighted round
//! robin, and costs O(log n) instead of O(n).
//!
//! Invariant: `heap` is a binary min-heap by deadline that holds each member of weight > 0 once.

use crate::hash::Draws;
use crate::pool::Pool;

/// Time between two turns of a member of weight 1.
const WEIGHT_1_PERIOD: u64 = 1 << 32;

/// Members without a turn that are passed over one by one before all are looked at.
const PASS_MAX_COUNT: usize = 8;

/// Deadlines start anew beyond this; at one per [`WEIGHT_1_PERIOD`] that is once in 2^30 rounds.
const DEADLINE_MAX: u64 = 1 << 62;

#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The pool's generation; none before the first use.
    fitted_to: Option<u64>,
    heap: Vec<Turn>,
    /// The latest deadline that was met.
    now: u64,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    deadline: u64,
    period: u64,
    index: u32,
}

impl Turns {
    /// Starts anew if the pool is not the one of the last time. The phases are random, so that
    /// workers don't all begin with the same member.
    pub(super) fn fit(&mut self, pool: &Pool, random: u64) {
        if self.fitted_to == Some(pool.generation()) && self.now < DEADLINE_MAX {
            return;
        }
        self.fitted_to = Some(pool.generation());
        self.now = 0;
        self.heap.clear();
        let mut draws = Draws::new(random);
        for (member, index) in pool.members().iter().zip(0..) {
            if member.weight > 0 {
                let period = WEIGHT_1_PERIOD / u64::from(member.weight);
                self.heap.push(Turn { deadline: draws.below(period), period, index });
            }
        }
        self.heap.sort_unstable_by_key(|turn| turn.deadline);
    }

    /// Gives the next turn to the first in line that `holds`.
    pub(super) fn next(&mut self, holds: impl Fn(u32) -> bool) -> Option<u32> {
        for _ in 0..PASS_MAX_COUNT {
            let index = self.heap.first()?.index;
            self.take(0);
            if holds(index) {
                return Some(index);
            }
        }
        let in_line = self.heap.iter().enumerate().filter(|(_, turn)| holds(turn.index));
        let (position, turn) = in_line.min_by_key(|(_, turn)| turn.deadline)?;
        let index = turn.index;
        self.take(position);
        Some(index)
    }

    /// Moves the turn at `position` of the heap on by its period.
    ///
    /// Whoever was passed over for long gets one turn at once, not all that it missed: it goes on
    /// from the present.
    fn take(&mut self, position: usize) {
        let turn = &mut self.heap[position];
        self.now = self.now.max(turn.deadline);
        turn.deadline = self.now + turn.period;
        self.sift_down(position);
    }

    fn sift_down(&mut self, mut position: usize) {
        loop {
            let left = 2 * position + 1;
            let children = left..self.heap.len().min(left + 2);
            let Some(child) = children.min_by_key(|child| self.heap[*child].deadline) else {
                return;
            };
            if self.heap[position].deadline <= self.heap[child].deadline {
                return;
            }
            self.heap.swap(position, child);
            position = child;
        }
    }

    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        for child in 1..self.heap.len() {
            let parent = (child - 1) / 2;
            assert!(self.heap[parent].deadline <= self.heap[child].deadline);
        }
    }
}
