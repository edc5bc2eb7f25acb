//! Server-sent events (WHATWG HTML §9.2): a parser of the byte stream, and the events in it.
//!
//! In the browser, `EventSource` does the first part: hand the `data` of its messages to
//! [`event`]. Its listeners must be registered for each kind (`config`, `health`, `leader`,
//! `lagged`), since the stream names them.

use ballast_model::event::Event;

use crate::error::ClientError;

/// Longest line accepted, in bytes.
const LINE_MAX_BYTES: usize = 1024 * 1024;

/// One message of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The event's identifier, what `Last-Event-ID` resumes after.
    pub id: Option<String>,
    /// The event's kind.
    pub event: Option<String>,
    /// The event.
    pub data: String,
}

/// Takes bytes as they come, gives messages as they are complete.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    message: Message,
    has_data: bool,
    after_return: bool,
}

impl Parser {
    /// Takes the next bytes and returns the messages that they complete.
    ///
    /// # Errors
    /// Where a line is longer than any event.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Message>, ClientError> {
        let mut complete = Vec::new();
        for &byte in bytes {
            let is_second_of_pair = byte == b'\n' && std::mem::take(&mut self.after_return);
            self.after_return = byte == b'\r';
            match byte {
                _ if is_second_of_pair => {}
                b'\n' | b'\r' => complete.extend(self.end_line()),
                _ if self.line.len() == LINE_MAX_BYTES => {
                    return Err(ClientError::Decode {
                        context: "the events".to_owned(),
                        why: format!("a line is longer than {LINE_MAX_BYTES} bytes"),
                    });
                }
                _ => self.line.push(byte),
            }
        }
        Ok(complete)
    }

    fn end_line(&mut self) -> Option<Message> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            return std::mem::take(&mut self.has_data).then_some(message);
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
            }
            "event" => self.message.event = Some(value.to_owned()),
            "id" => self.message.id = Some(value.to_owned()),
            // "retry" and comments, whose field is empty.
            _ => {}
        }
        None
    }
}

/// The event that a message's `data` holds.
///
/// # Errors
/// Where it holds none.
pub fn event(data: &str) -> Result<Event, ClientError> {
    serde_json::from_str(data).map_err(|error| ClientError::Decode {
        context: "an event".to_owned(),
        why: error.to_string(),
    })
}

#[cfg(test)]
mod tests;
