//! `explain`: why a request would get what it gets.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use ballast_model::explain::{ExplainReport, ExplainRequest};
use clap::Args;

use super::Context;
use crate::failure::Failure;
use crate::output::{Field, Table, Tone};
use crate::text::safe;

/// Print which rules a request would meet, and which pool and member it would get
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The virtual server
    virtual_server: String,
    /// Path and query
    #[arg(default_value = "/")]
    path: String,
    /// The host that it asks for
    #[arg(long, default_value = "")]
    host: String,
    /// The method
    #[arg(short = 'X', long, default_value = "GET")]
    method: String,
    /// A header field; may be repeated
    #[arg(short = 'H', long, value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// A cookie; may be repeated
    #[arg(short = 'b', long, value_name = "NAME=VALUE", value_parser = cookie)]
    cookie: Vec<(String, String)>,
    /// The client's address
    #[arg(long, default_value = "127.0.0.1")]
    source: IpAddr,
}

impl Explain {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let request = ExplainRequest {
            virtual_server: self.virtual_server,
            method: self.method,
            host: self.host,
            path: self.path,
            headers: self.header.into_iter().collect::<BTreeMap<_, _>>(),
            cookies: self.cookie.into_iter().collect::<BTreeMap<_, _>>(),
            source: self.source,
        };
        let (client, output) = (context.client()?, context.output);
        let report = client.explain(&request).await?;
        if output.is_json() {
            return output.json(&report);
        }
        output.print(&render(&report, output.colours()))
    }
}

fn render(report: &ExplainReport, colours: bool) -> String {
    let mut text = String::new();
    if !report.steps.is_empty() {
        let mut table = Table::new(&["POLICY", "RULE", "MATCHES", "WHY, OR WHAT IT DOES"]);
        for step in &report.steps {
            let (word, tone) =
                if step.matched { ("yes", Tone::Good) } else { ("no", Tone::Between) };
            let why = step.why.clone().unwrap_or_else(|| step.does.join("; "));
            table.row(vec![
                step.policy.as_str().into(),
                step.rule.as_str().into(),
                Field::toned(word, tone),
                why.into(),
            ]);
        }
        let _infallible = write!(text, "{}\n\n", table.render(colours));
    }
    if report.untold_count > 0 {
        let _infallible = writeln!(text, "{} more rules did not match", report.untold_count);
    }
    let none = || "none".to_owned();
    let _infallible = write!(
        text,
        "verdict  {}\npool     {}\nmember   {} ({})",
        safe(&report.verdict),
        safe(&report.pool.clone().unwrap_or_else(none)),
        safe(&report.member.clone().unwrap_or_else(none)),
        safe(&report.why),
    );
    text
}

/// `Name: value`, as curl takes it.
fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.trim().to_owned())),
        _ => Err("a header field is NAME: VALUE".to_owned()),
    }
}

/// `name=value`.
fn cookie(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a cookie is NAME=VALUE".to_owned()),
    }
}
