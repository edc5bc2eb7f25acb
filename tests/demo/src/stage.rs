//! What the audience sees: chapters, and under each what was seen, good or bad.

use std::cell::Cell;
use std::time::Instant;

/// Prints, and remembers whether anything was bad.
#[derive(Debug)]
pub(crate) struct Stage {
    started: Instant,
    good: Cell<u32>,
    bad: Cell<u32>,
}

impl Stage {
    /// The clock starts now.
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), good: Cell::new(0), bad: Cell::new(0) }
    }

    /// Announces what comes next.
    pub(crate) fn chapter(&self, text: &str) {
        println!("\n[{:6.1} s] {text}", self.started.elapsed().as_secs_f64());
    }

    /// Something that went well.
    pub(crate) fn saw(&self, text: &str) {
        self.good.set(self.good.get() + 1);
        println!("  ✓ {text}");
    }

    /// Something that must hold: good if it does.
    pub(crate) fn expect(&self, holds: bool, text: &str) {
        if holds {
            self.saw(text);
        } else {
            self.bad.set(self.bad.get() + 1);
            println!("  ✗ {text}");
        }
    }

    /// How much was good, and how much bad.
    pub(crate) fn counts(&self) -> (u32, u32) {
        (self.good.get(), self.bad.get())
    }
}

/// Something to know that is neither good nor bad.
pub(crate) fn note(text: &str) {
    println!("    {text}");
}
