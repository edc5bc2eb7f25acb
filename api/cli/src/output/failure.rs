//! What is printed where a command fails, and the exit status.

use std::fmt::Write as _;

use anyhow::Error;
use ballast_client::ClientError;
use ballast_model::Problem;

use crate::{EXIT_FAILED, EXIT_USAGE};

/// The command can't be carried out as it was typed or set up.
#[derive(Debug)]
pub(crate) struct Usage(String);

impl Usage {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

pub(crate) fn exit_status(error: &Error) -> u8 {
    let is_settings = matches!(error.downcast_ref(), Some(ClientError::Settings(_)));
    if is_settings || error.is::<Usage>() { EXIT_USAGE } else { EXIT_FAILED }
}

pub(crate) fn text(error: &Error) -> String {
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Problem(problem)) => of_problem(problem),
        Some(other) => format!("error: {}\n", other.chain()),
        None => format!("error: {error:#}\n"),
    }
}

fn of_problem(problem: &Problem) -> String {
    // Writing to a String does not fail.
    let mut text = format!("error: {} ({})\n  {}\n", problem.title, problem.code, problem.detail);
    for error in &problem.errors {
        let resource = error.resource.as_ref().map(|r| format!(" ({r})")).unwrap_or_default();
        let (pointer, message, code) = (&error.pointer, &error.message, &error.code);
        let _ = writeln!(text, "  {pointer}{resource}: {message} [{code}]");
    }
    for referrer in &problem.referrers {
        let _ = writeln!(text, "  named by {referrer}");
    }
    if !problem.request_id.is_empty() {
        let _ = writeln!(text, "  request {}", problem.request_id);
    }
    text
}
