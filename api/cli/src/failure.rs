//! Why a command failed, in words that say what to do next.

use std::fmt::Write;
use std::io;
use std::path::Path;

use ballast_client::ClientError;
use ballast_model::Problem;

use crate::text::safe;

/// Exit code: it was refused, or could not be done.
pub(crate) const FAILED: u8 = 1;
/// Exit code: the command line, the environment or a file can't be used; nothing was sent.
pub(crate) const USAGE: u8 = 2;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The call failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A file or the terminal could not be read or written.
    #[error("{context}")]
    Io {
        /// What was being done.
        context: String,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// Standard output could not be written.
    #[error("writing to standard output")]
    Output(#[source] io::Error),
    /// It was done, but not in time or not everywhere.
    #[error("{0}")]
    Unfinished(String),
    /// The caller's own settings can't work.
    #[error("{0}")]
    Usage(String),
}

impl Failure {
    /// A file or the terminal could not be read or written.
    pub(crate) fn io(context: impl Into<String>, source: io::Error) -> Self {
        Self::Io { context: context.into(), source }
    }

    /// A file that the caller named, or keeps the settings in, can't be read.
    pub(crate) fn unreadable(path: &Path, source: &io::Error) -> Self {
        Self::Usage(format!("reading {}: {source}", path.display()))
    }

    /// Whether the reader of standard output went away: that ends the work, but is no fault.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// What the process exits with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Client(ClientError::Settings(_)) => USAGE,
            _ => FAILED,
        }
    }

    /// What is printed, in as many lines as it takes.
    pub(crate) fn render(&self) -> String {
        let text = match self {
            Self::Client(ClientError::Problem(problem)) => render_problem(problem),
            Self::Client(error) => {
                let chain = error.chain();
                let next = next_after_no_answer(error, &chain);
                let next = next.map(|next| format!("\n  next: {next}")).unwrap_or_default();
                format!("{}{next}", safe(&chain))
            }
            Self::Io { source, .. } | Self::Output(source) => {
                safe(&format!("{self}: {source}")).into_owned()
            }
            Self::Unfinished(_) | Self::Usage(_) => safe(&self.to_string()).into_owned(),
        };
        format!("ballastctl: {text}")
    }
}

fn render_problem(problem: &Problem) -> String {
    let mut text = format!("{}: {}", safe(&problem.title), safe(&problem.detail));
    for error in &problem.errors {
        let of = match &error.resource {
            Some(resource) => format!("{} ", safe(&resource.to_string())),
            None => String::new(),
        };
        let (pointer, code) = (safe(&error.pointer), safe(&error.code));
        let _infallible = write!(text, "\n  {of}{pointer}: {} ({code})", safe(&error.message));
    }
    for referrer in &problem.referrers {
        let _infallible = write!(text, "\n  used by {}", safe(&referrer.to_string()));
    }
    let _infallible = write!(text, "\n  code: {} ({})", safe(&problem.code), problem.status);
    if !problem.request_id.is_empty() {
        let _infallible = write!(text, ", request {}", safe(&problem.request_id));
    }
    if let Some(next) = next_after_problem(problem) {
        let _infallible = write!(text, "\n  next: {next}");
    }
    text
}

fn next_after_problem(problem: &Problem) -> Option<&'static str> {
    Some(match (problem.code.as_str(), problem.status) {
        ("credentials_invalid", _) => "check name and password, and sign in again",
        ("too_many_attempts", _) => "wait a minute, then try again",
        (_, 401) => "sign in: ballastctl login URL (or renew BALLAST_TOKEN where that is set)",
        ("forbidden", _) => "sign in as somebody whose role allows it, or ask an administrator",
        ("not_found", _) => "ballastctl get KIND lists what there is",
        ("revision_mismatch", _) => {
            "read it again (ballastctl get KIND NAME -o json), then repeat with its new revision"
        }
        ("already_exists", _) => "read what is there first: ballastctl get KIND NAME -o json",
        ("referenced", _) => "change or delete what uses it first",
        ("no_quorum", _) => {
            "nothing was changed, traffic flows on; ballastctl status says who is missing"
        }
        ("outcome_unknown", _) => "read before you repeat it: it may still take effect",
        ("too_large", _) => "apply it in parts",
        ("internal", _) => "look for the request in the node's log",
        ("busy" | "not_ready" | "stopped", _) => {
            "try again in a moment, or ask another node (BALLAST_URL)"
        }
        _ => return None,
    })
}

fn next_after_no_answer(error: &ClientError, chain: &str) -> Option<&'static str> {
    if !matches!(error, ClientError::Transport { .. }) {
        return None;
    }
    Some(if chain.contains("certificate") || chain.contains("UnknownIssuer") {
        "the server is not the one that you signed in at, or the cluster was made anew: compare \
         the authority's fingerprint, then ballastctl login URL"
    } else {
        "is the node up, and the address right? Any other node does as well: BALLAST_URL=https://…"
    })
}

#[cfg(test)]
mod tests;
