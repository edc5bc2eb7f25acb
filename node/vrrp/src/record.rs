//! Recordings of a machine: JSON lines, of which the first holds the machine as it was and every
//! other one an input with the effects it had. A replay of a good recording repeats every effect.

use std::io::{self, BufRead, Read};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::ConfigError;
use crate::effect::Effect;
use crate::input::Input;
use crate::machine::{BrokenInvariant, GroupMachine};
use crate::time::Time;

/// The format that is written, and the only one that is read.
pub const FORMAT: u32 = 1;
/// Longer lines are refused, in bytes.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// What a replay came to.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// Inputs that were repeated.
    pub inputs_count: usize,
    /// The machine after the last of them.
    pub machine: GroupMachine,
}

/// Why a recording cannot be replayed, or where it differs.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The file could not be read.
    #[error("reading the recording")]
    Read(#[source] io::Error),
    /// There is no first line.
    #[error("the recording is empty")]
    Empty,
    /// A line is longer than [`MAX_LINE_BYTES`].
    #[error("line {line} is longer than {MAX_LINE_BYTES} bytes")]
    LineTooLong {
        /// Counted from 1.
        line: usize,
    },
    /// A line is not what it should be.
    #[error("line {line} cannot be understood")]
    Malformed {
        /// Counted from 1.
        line: usize,
        /// What JSON says of it.
        #[source]
        source: serde_json::Error,
    },
    /// Another version wrote it.
    #[error("the recording has format {0}, not {FORMAT}")]
    Format(u32),
    /// The machine of the first line cannot be: its configuration is refused.
    #[error("the recording begins with a machine that cannot be")]
    Config(#[source] ConfigError),
    /// The machine of the first line cannot be: it contradicts itself.
    #[error("the recording begins with a machine that cannot be")]
    Unsound(#[source] BrokenInvariant),
    /// The first difference: this code does something else than what was recorded.
    #[error("line {line}: recorded effects {recorded:?}, now {now:?}")]
    Different {
        /// Counted from 1.
        line: usize,
        /// What the line says.
        recorded: Vec<Effect>,
        /// What the machine did now.
        now: Vec<Effect>,
    },
}

/// The first line of a recording that begins now, without its line end.
pub fn first_line(machine: &GroupMachine) -> Result<String, serde_json::Error> {
    serde_json::to_string(&FirstLineRef { format: FORMAT, machine })
}

/// The line of one call of [`GroupMachine::handle`], without its line end.
pub fn line(now: Time, input: &Input, effects: &[Effect]) -> Result<String, serde_json::Error> {
    serde_json::to_string(&LineRef { now, input, effects })
}

/// Repeats a recording and compares.
pub fn replay(mut reader: impl BufRead) -> Result<Replayed, ReplayError> {
    let first = read_line(&mut reader, 1)?.ok_or(ReplayError::Empty)?;
    let malformed = |line| move |source| ReplayError::Malformed { line, source };
    let head: Format = serde_json::from_slice(&first).map_err(malformed(1))?;
    if head.format != FORMAT {
        return Err(ReplayError::Format(head.format));
    }
    let FirstLine { mut machine }: FirstLine =
        serde_json::from_slice(&first).map_err(malformed(1))?;
    machine.config().validate().map_err(ReplayError::Config)?;
    machine.check_invariants().map_err(ReplayError::Unsound)?;
    let mut inputs_count = 0;
    while let Some(bytes) = read_line(&mut reader, inputs_count + 2)? {
        let line = inputs_count + 2;
        let recorded: Line = serde_json::from_slice(&bytes).map_err(malformed(line))?;
        let mut now = Vec::new();
        machine.handle(recorded.now, recorded.input, &mut now);
        if now != recorded.effects {
            return Err(ReplayError::Different { line, recorded: recorded.effects, now });
        }
        inputs_count += 1;
    }
    Ok(Replayed { inputs_count, machine })
}

#[derive(Serialize)]
struct FirstLineRef<'a> {
    format: u32,
    machine: &'a GroupMachine,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

#[derive(Deserialize)]
struct FirstLine {
    machine: GroupMachine,
}

#[derive(Serialize)]
struct LineRef<'a> {
    now: Time,
    input: &'a Input,
    effects: &'a [Effect],
}

#[derive(Deserialize)]
struct Line {
    now: Time,
    input: Input,
    effects: Vec<Effect>,
}

/// The next line without its end; `None` at the end of the recording.
fn read_line(reader: &mut impl BufRead, line: usize) -> Result<Option<Vec<u8>>, ReplayError> {
    let mut bytes = Vec::new();
    // One more for the line end.
    let limit = MAX_LINE_BYTES as u64 + 1;
    let read_bytes = reader.take(limit).read_until(b'\n', &mut bytes).map_err(ReplayError::Read)?;
    if read_bytes == 0 {
        return Ok(None);
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.len() > MAX_LINE_BYTES {
        return Err(ReplayError::LineTooLong { line });
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests;
