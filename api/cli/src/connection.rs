//! Which node to speak with, how it is recognised, and as whom.
//!
//! A stored credential goes only to the server that it was stored for, or to one that proves the
//! authority that was pinned with it: to name another address is not enough to be sent it.

use ballast_client::{Client, Trust};

use crate::environment::Environment;
use crate::failure::Failure;
use crate::settings::{Settings, StoredTrust};

/// Everything that a client needs.
#[derive(Debug)]
pub(crate) struct Access {
    /// The node.
    pub(crate) url: String,
    /// How it is recognised.
    pub(crate) trust: StoredTrust,
    /// An API token or a session.
    pub(crate) bearer: String,
}

/// The client that the environment and the stored settings make.
pub(crate) fn client(environment: &Environment) -> Result<Client, Failure> {
    let stored = match &environment.settings_path {
        Some(path) => Settings::load(path)?,
        None => None,
    };
    let access = access(environment, stored.as_ref())?;
    open(&access.url, access.trust.to_trust(), Some(&access.bearer))
}

/// A client of the server at `url`.
pub(crate) fn open(url: &str, trust: Trust, bearer: Option<&str>) -> Result<Client, Failure> {
    let builder = Client::builder(url).trust(trust);
    Ok(match bearer {
        Some(bearer) => builder.bearer(bearer).build()?,
        None => builder.build()?,
    })
}

/// The environment's word over that of the settings.
pub(crate) fn access(
    environment: &Environment,
    stored: Option<&Settings>,
) -> Result<Access, Failure> {
    let Some(url) = environment.url.clone().or_else(|| stored.map(|stored| stored.url.clone()))
    else {
        return Err(Failure::Usage(
            "you are not signed in: ballastctl login URL, or set BALLAST_URL and BALLAST_TOKEN"
                .to_owned(),
        ));
    };
    // A pinned authority recognises the whole cluster, anything else one address.
    let stored = stored.filter(|stored| {
        stored.url == url || matches!(stored.trust, StoredTrust::CaFingerprint { .. })
    });
    let trust = match (&environment.ca_fingerprint, stored) {
        (Some(sha256), _) => StoredTrust::CaFingerprint { sha256: sha256.clone() },
        (None, Some(stored)) => stored.trust.clone(),
        (None, None) => StoredTrust::System,
    };
    let credential = stored.filter(|stored| stored.trust == trust).map(|stored| &stored.credential);
    let bearer = match (&environment.token, credential) {
        (Some(token), _) => token.clone(),
        (None, Some(credential)) => credential.bearer().to_owned(),
        (None, None) => {
            return Err(Failure::Usage(format!(
                "you are not signed in at {url}: ballastctl login {url}, or set BALLAST_TOKEN"
            )));
        }
    };
    if url.starts_with("http:") && trust != StoredTrust::Insecure {
        return Err(plain_http(&url));
    }
    Ok(Access { url, trust, bearer })
}

/// Refuses to send credentials in the clear.
pub(crate) fn plain_http(url: &str) -> Failure {
    Failure::Usage(format!("{url} is not https: credentials would cross the network in the clear"))
}

#[cfg(test)]
mod tests;
