//! The live tail, natively.

use std::collections::VecDeque;

use ballast_model::tail::TailFilter;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::ClientError;
use crate::sse::{Message, Parser};
use crate::transport::{Client, Request, refusal};

/// What a reader of the live tail is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TailEvent {
    /// A request that was served: the access log's names, and `node`.
    Record(Map<String, Value>),
    /// More was served than is shown.
    LeftOut {
        /// Where.
        node: String,
        /// How much more, since this was last told.
        left_out_count: u64,
    },
    /// Nothing is shown of what that node serves.
    Unreachable {
        /// The node.
        node: String,
        /// Why, in a sentence.
        why: String,
    },
}

#[derive(Deserialize)]
struct LeftOut {
    node: String,
    left_out_count: u64,
}

#[derive(Deserialize)]
struct Unreachable {
    node: String,
    why: String,
}

/// Requests as they are served. Ends when the server shuts down.
#[derive(Debug)]
pub struct TailStream {
    response: reqwest::Response,
    parser: Parser,
    waiting: VecDeque<TailEvent>,
}

impl Client {
    /// Opens the live tail of all traffic nodes, or of `node`.
    ///
    /// # Errors
    /// Where the call fails.
    pub async fn tail(
        &self,
        filter: &TailFilter,
        node: Option<&str>,
    ) -> Result<TailStream, ClientError> {
        let request = query(filter, node);
        let response = self.prepare(&request)?.send().await.map_err(broken)?;
        if !response.status().is_success() {
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let body = response.bytes().await.map_err(broken)?;
            return Err(refusal(status, &headers, &body, || "GET tail".to_owned()));
        }
        Ok(TailStream { response, parser: Parser::default(), waiting: VecDeque::new() })
    }
}

fn query(filter: &TailFilter, node: Option<&str>) -> Request {
    let optional = [
        ("virtual_server", filter.virtual_server.clone()),
        ("pool", filter.pool.clone()),
        ("member", filter.member.clone()),
        ("status", filter.status.map(|status| status.to_string())),
        ("reason", filter.reason.clone()),
        ("path_prefix", filter.path_prefix.clone()),
        ("client", filter.client.map(|client| client.to_string())),
        ("node", node.map(str::to_owned)),
    ];
    let mut request = Request::api(Method::GET, ["tail"]);
    for (name, value) in optional {
        if let Some(value) = value {
            request = request.query(name, value);
        }
    }
    request
        .query("min_duration_ms", filter.min_duration_ms.to_string())
        .query("rate_max_per_s", filter.rate_max_per_s.to_string())
}

impl TailStream {
    /// What comes next; none when the stream has ended. Safe to cancel.
    ///
    /// # Errors
    /// Where the connection breaks, or what comes can't be read.
    pub async fn next(&mut self) -> Result<Option<TailEvent>, ClientError> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            let Some(bytes) = self.response.chunk().await.map_err(broken)? else {
                return Ok(None);
            };
            for message in self.parser.push(&bytes)? {
                self.waiting.extend(event(&message)?);
            }
        }
    }
}

/// What a message says; none for one of a later version.
fn event(message: &Message) -> Result<Option<TailEvent>, ClientError> {
    let wrong = |error: serde_json::Error| ClientError::Decode {
        context: "the live tail".to_owned(),
        why: error.to_string(),
    };
    let data = &message.data;
    Ok(match message.event.as_deref() {
        Some("record") => Some(TailEvent::Record(serde_json::from_str(data).map_err(wrong)?)),
        Some("left_out") => {
            let LeftOut { node, left_out_count } = serde_json::from_str(data).map_err(wrong)?;
            Some(TailEvent::LeftOut { node, left_out_count })
        }
        Some("unreachable") => {
            let Unreachable { node, why } = serde_json::from_str(data).map_err(wrong)?;
            Some(TailEvent::Unreachable { node, why })
        }
        _ => None,
    })
}

fn broken(source: reqwest::Error) -> ClientError {
    ClientError::Transport { context: "reading the live tail".to_owned(), source }
}
