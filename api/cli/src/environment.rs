//! What the process is told by its environment.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// The environment, read once.
#[derive(Clone, Default)]
pub(crate) struct Environment {
    /// `BALLAST_URL`: the node to speak with.
    pub(crate) url: Option<String>,
    /// `BALLAST_TOKEN`: an API token.
    pub(crate) token: Option<String>,
    /// `BALLAST_CA_FINGERPRINT`: the fingerprint of the cluster's authority.
    pub(crate) ca_fingerprint: Option<String>,
    /// Where the settings are kept; none without a home.
    pub(crate) settings_path: Option<PathBuf>,
}

impl Environment {
    /// The environment of this process. What is set to nothing counts as not set.
    pub(crate) fn of_process() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            url: text("BALLAST_URL").map(|url| url.trim_end_matches('/').to_owned()),
            token: text("BALLAST_TOKEN"),
            ca_fingerprint: text("BALLAST_CA_FINGERPRINT"),
            settings_path: settings_path(text("XDG_CONFIG_HOME"), text("HOME")),
        }
    }
}

/// XDG Base Directory Specification: relative paths in the variable are to be ignored.
fn settings_path(config_home: Option<String>, home: Option<String>) -> Option<PathBuf> {
    let config_home = config_home.map(PathBuf::from).filter(|path| path.is_absolute());
    let directory = config_home.or_else(|| home.map(|home| PathBuf::from(home).join(".config")))?;
    Some(directory.join("ballast").join("config.toml"))
}

/// Now, in ms since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
