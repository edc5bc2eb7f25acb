//! `tail`: requests, as they are served.

use std::fmt::Write;

use ballast_client::TailEvent;
use ballast_model::spec::policy::Cidr;
use ballast_model::tail::{RATE_DEFAULT_PER_S, StatusFilter, TailFilter};
use clap::Args;
use serde_json::{Map, Value};

use super::Context;
use crate::failure::Failure;
use crate::output::{self, Tone};
use crate::text::safe;

/// Print requests as they are served on all traffic nodes, until Ctrl-C
#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// Only of this virtual server
    #[arg(long, value_name = "NAME")]
    virtual_server: Option<String>,
    /// Only of this pool
    #[arg(long, value_name = "NAME")]
    pool: Option<String>,
    /// Only of this member
    #[arg(long, value_name = "NAME")]
    member: Option<String>,
    /// Only with such a status: 503, 5xx, 400-499, or none
    #[arg(long)]
    status: Option<StatusFilter>,
    /// Only what failed for this reason; any: whatever failed
    #[arg(long)]
    reason: Option<String>,
    /// Only targets that begin so
    #[arg(long, value_name = "PREFIX")]
    path: Option<String>,
    /// Only clients of this network, or of this address
    #[arg(long, value_name = "CIDR")]
    client: Option<Cidr>,
    /// Only what took at least so long
    #[arg(long, value_name = "MS", default_value_t = 0)]
    min_duration_ms: u64,
    /// Most of each node in a second, 1 to 1000; of further ones only the number is told
    #[arg(long, value_name = "COUNT", default_value_t = RATE_DEFAULT_PER_S)]
    rate: u32,
    /// Only of this node
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
}

impl Tail {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let filter = TailFilter {
            virtual_server: self.virtual_server,
            pool: self.pool,
            member: self.member,
            status: self.status,
            reason: self.reason,
            path_prefix: self.path,
            client: self.client,
            min_duration_ms: self.min_duration_ms,
            rate_max_per_s: self.rate,
        };
        let client = context.client()?;
        let mut stream = client.tail(&filter, self.node.as_deref()).await?;
        while let Some(event) = stream.next().await? {
            match event {
                TailEvent::Record(record) if context.output.is_json() => {
                    context.output.json_line(&record)?;
                }
                TailEvent::Record(record) => {
                    context.output.print(&render(&record, context.output.colours()))?;
                }
                TailEvent::LeftOut { node, left_out_count } => {
                    output::note(&format!("{}: {left_out_count} more are not shown", safe(&node)));
                }
                TailEvent::Unreachable { node, why } => {
                    output::note(&format!("{} is not shown: {}", safe(&node), safe(&why)));
                }
            }
        }
        output::note("the node stopped");
        Ok(())
    }
}

/// One line: when, where, who, what, what came of it, how long it took.
pub(super) fn render(record: &Map<String, Value>, colours: bool) -> String {
    let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = |name: &str| record.get(name).and_then(Value::as_u64);
    let status = number("status").unwrap_or(0);
    let tone = match status {
        0 | 500.. => Tone::Bad,
        400..=499 => Tone::Between,
        _ => Tone::Good,
    };
    let status = if status == 0 { "-".to_owned() } else { status.to_string() };
    let total_ms = number("total_us").unwrap_or(0) as f64 / 1_000.0;
    let mut line = format!("{}  {}  {}", text("time"), text("node"), text("client"));
    for part in [text("method"), text("host"), text("uri")] {
        if !part.is_empty() {
            // Writing to a `String` can't fail.
            let _infallible = write!(line, " {part}");
        }
    }
    let mut line = safe(&line).into_owned();
    let _infallible = write!(line, "  {}  {total_ms:.1} ms  ", tone.paint(&status, colours));
    let mut where_to = text("virtual_server").to_owned();
    if !text("pool").is_empty() {
        let _infallible = write!(where_to, " → {}", text("pool"));
    }
    if !text("member").is_empty() {
        let _infallible = write!(where_to, "/{}", text("member"));
    }
    line.push_str(&safe(&where_to));
    if !text("reason").is_empty() {
        let _infallible = write!(line, "  {}", Tone::Bad.paint(&safe(text("reason")), colours));
    }
    line
}

#[cfg(test)]
mod tests;
