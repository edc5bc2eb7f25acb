//! The stream of events, natively.

use std::collections::VecDeque;

use ballast_model::event::Event;
use reqwest::Method;

use crate::error::ClientError;
use crate::sse::{self, Parser};
use crate::transport::{Client, Request, refusal};

/// Events as they happen. Ends when the server shuts down; [`Client::events`] with the last
/// event's `id` goes on where it ended.
#[derive(Debug)]
pub struct EventStream {
    response: reqwest::Response,
    parser: Parser,
    waiting: VecDeque<Event>,
}

impl Client {
    /// Opens the stream of events. `kinds`: `config`, `health`, `leader`; none means all. `after`:
    /// the last event that is known already; those after it come first.
    ///
    /// # Errors
    /// Where the call fails.
    pub async fn events(
        &self,
        kinds: &[&str],
        after: Option<u64>,
    ) -> Result<EventStream, ClientError> {
        let mut request = Request::api(Method::GET, ["events"]);
        if !kinds.is_empty() {
            request = request.query("kinds", kinds.join(","));
        }
        if let Some(after) = after {
            request = request.header("last-event-id", after.to_string());
        }
        let response = self.prepare(&request)?.send().await.map_err(broken)?;
        if !response.status().is_success() {
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let body = response.bytes().await.map_err(broken)?;
            return Err(refusal(status, &headers, &body, || "GET events".to_owned()));
        }
        Ok(EventStream { response, parser: Parser::default(), waiting: VecDeque::new() })
    }
}

impl EventStream {
    /// The next event; none when the stream has ended. Safe to cancel.
    ///
    /// # Errors
    /// Where the connection breaks, or what comes is no event.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            let Some(bytes) = self.response.chunk().await.map_err(broken)? else {
                return Ok(None);
            };
            for message in self.parser.push(&bytes)? {
                self.waiting.push_back(sse::event(&message.data)?);
            }
        }
    }
}

fn broken(source: reqwest::Error) -> ClientError {
    ClientError::Transport { context: "reading events".to_owned(), source }
}
