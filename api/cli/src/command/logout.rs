//! `logout`: ends the session and forgets it.

use clap::Args;

use super::Context;
use crate::connection;
use crate::failure::Failure;
use crate::output;
use crate::settings::{Credential, Settings};

/// End the session and forget it
#[derive(Debug, Args)]
pub(crate) struct Logout {}

impl Logout {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let Some(path) = &context.environment.settings_path else {
            return Err(Failure::Usage("HOME is not set, so nobody is signed in".to_owned()));
        };
        let stored = Settings::load(path);
        // Forgotten first: whatever the server says, this machine keeps nothing.
        Settings::remove(path)?;
        let Some(settings) = stored? else {
            output::note("nobody was signed in");
            return Ok(());
        };
        if let Credential::Session(session) = &settings.credential {
            let client = connection::open(&settings.url, settings.trust.to_trust(), Some(session))?;
            match client.log_out().await {
                Err(error) if error.status() != Some(401) => output::note(&format!(
                    "the session is forgotten here, but the server did not end it:\n{}",
                    Failure::from(error).render()
                )),
                _ => {}
            }
        } else {
            output::note("the token is forgotten here; it works until it is deleted");
        }
        Ok(())
    }
}
