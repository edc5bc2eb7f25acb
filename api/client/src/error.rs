//! What can go wrong with a call, by whose fault it is.

use ballast_model::Problem;

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server refused, and says why.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// The server could not be reached, or the connection broke: whether the request was carried
    /// out is not known.
    #[error("{context}")]
    Transport {
        /// What was being done.
        context: String,
        /// What happened.
        #[source]
        source: reqwest::Error,
    },
    /// The server answered something that this client does not understand.
    #[error("{context}: {why}")]
    Decode {
        /// What was being read.
        context: String,
        /// What is wrong with it.
        why: String,
    },
    /// The caller's own settings can't work: an address, a fingerprint, a certificate.
    #[error("{0}")]
    Settings(String),
}

impl ClientError {
    /// The problem, where the server refused.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }

    /// The problem's stable code, where the server refused.
    pub fn code(&self) -> Option<&str> {
        self.problem().map(|problem| problem.code.as_str())
    }

    /// The HTTP status, where the server refused.
    pub fn status(&self) -> Option<u16> {
        self.problem().map(|problem| problem.status)
    }

    /// The error and everything that caused it, in one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let next = error.to_string();
            if !text.ends_with(&next) {
                text.push_str(": ");
                text.push_str(&next);
            }
            cause = error.source();
        }
        text
    }
}

impl From<Problem> for ClientError {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}
