//! `token`: credentials of programs.

use ballast_client::WriteOptions;
use ballast_model::{Draft, TokenSpec};
use clap::{Args, Subcommand};

use super::{Context, RoleName};
use crate::environment::now_ms;
use crate::failure::Failure;
use crate::output;
use crate::text::{safe, utc};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Credentials of programs (see also: get tokens, delete token)
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make one; its secret is printed this once
    Create(Create),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// What it is called
    name: String,
    /// What its bearer may do
    #[arg(long, value_enum)]
    role: RoleName,
    /// When it stops working; never where it is left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=36_500))]
    expires_in_days: Option<u64>,
}

impl Token {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let Self::Create(command) = self;
        let spec = TokenSpec {
            role: command.role.into(),
            expires_at_ms: command.expires_in_days.map(|days| now_ms() + days * DAY_MS),
            prefix: None,
            secret_hash: None,
        };
        let options = WriteOptions::new().if_absent();
        let draft = Draft::new(&command.name, spec);
        let written = context.client()?.create_token(&draft, &options).await?.value;
        if context.output.is_json() {
            return context.output.json(&written);
        }
        let spec = &written.token.spec;
        let until = spec.expires_at_ms.map_or_else(|| "deleted".to_owned(), utc);
        output::note(&format!(
            "Token {} ({}), until {until}. Its secret is not shown again:",
            safe(&command.name),
            spec.role.as_str(),
        ));
        // Alone on standard output, so that it can be put where it belongs.
        context.output.print(&safe(&written.secret))
    }
}
