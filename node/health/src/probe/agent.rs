//! A probe of a member's agent.
//!
//! Invariant: of what an agent sends at most [`LINE_MAX_BYTES`] are read, and what it says is within
//! the bounds of what could be declared.

use ballast_model::AgentProbe;
use ballast_model::limits::MEMBER_CONNECTION_LIMIT_MAX;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Fault;

/// Longest line of an agent; what comes after is not read.
pub(super) const LINE_MAX_BYTES: usize = 1_024;
/// Highest share of the configured weight.
const PERCENT_MAX: u32 = 25_600;
/// How much of an agent's text is told.
const TEXT_MAX_CHARS: usize = 200;

/// What an agent said in one line. What it did not speak of is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentWord {
    /// Whether the member works.
    pub up: Option<bool>,
    /// What the agent wants of it.
    pub wish: Option<AgentWish>,
    /// Share of the configured weight.
    pub weight_percent: Option<u32>,
    /// Most in flight; 0: as configured.
    pub connection_limit: Option<u32>,
    /// The text after `#`, for people.
    pub text: Option<String>,
}

/// What an agent wants of its member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AgentWish {
    /// `ready`: nothing in particular.
    #[default]
    Ready,
    /// `drain`: no new sessions.
    Drain,
    /// `maint`: no sessions at all.
    Maint,
}

/// Asks the agent; what it says, or a sentence on what it says instead.
pub(super) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    settings: &AgentProbe,
) -> Result<AgentWord, Fault> {
    if let Some(text) = &settings.send {
        stream.write_all(text.as_bytes()).await.map_err(Fault::Exchange)?;
    }
    let mut line = Vec::with_capacity(LINE_MAX_BYTES);
    let mut input = stream.take(LINE_MAX_BYTES as u64);
    let end = loop {
        let read = input.read_buf(&mut line).await.map_err(Fault::Exchange)?;
        if let Some(end) = line.iter().position(|b| matches!(b, b'\r' | b'\n')) {
            break end;
        }
        if line.len() >= LINE_MAX_BYTES {
            return Err(Fault::Answer(format!("the agent's line exceeds {LINE_MAX_BYTES} bytes")));
        }
        if read == 0 {
            break line.len();
        }
    };
    parse(&line[..end]).map_err(Fault::Answer)
}

/// Reads a line, without its end.
pub(super) fn parse(line: &[u8]) -> Result<AgentWord, String> {
    let line = String::from_utf8_lossy(line);
    let (words, text) = match line.split_once('#') {
        Some((words, text)) => (words, Some(text.trim())),
        None => (&*line, None),
    };
    let mut said = AgentWord::default();
    let mut understood = false;
    for word in words.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
        // A word that is not known may be one of tomorrow: others beside it count.
        understood |= said.hear(&word.to_ascii_lowercase());
    }
    if !understood {
        return Err(if line.trim().is_empty() {
            "the agent says nothing".to_owned()
        } else {
            format!("the agent says {:?}, none of which is understood", shown(line.trim()))
        });
    }
    said.text = text.filter(|text| !text.is_empty()).map(shown);
    Ok(said)
}

impl AgentWord {
    /// Takes in one word, in lower case; whether it is known.
    fn hear(&mut self, word: &str) -> bool {
        match word {
            "up" => self.up = Some(true),
            "down" | "fail" | "failed" | "stopped" => self.up = Some(false),
            "ready" => self.wish = Some(AgentWish::Ready),
            "drain" => self.wish = Some(AgentWish::Drain),
            "maint" => self.wish = Some(AgentWish::Maint),
            _ => {
                if let Some(percent) = word.strip_suffix('%').and_then(digits) {
                    self.weight_percent = Some(percent.min(PERCENT_MAX));
                } else if let Some(limit) = word.strip_prefix("maxconn:").and_then(digits) {
                    self.connection_limit = Some(limit.min(MEMBER_CONNECTION_LIMIT_MAX));
                } else {
                    return false;
                }
            }
        }
        true
    }
}

/// A number of digits alone; one that is too large is the largest.
fn digits(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u32::MAX))
}

/// As much of an agent's text as is told, without what a terminal might act on.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests;
