//! `user`: people who sign in.

use std::path::PathBuf;

use ballast_client::WriteOptions;
use ballast_model::{Draft, UserSpec};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Context, RoleName, print_written};
use crate::failure::Failure;
use crate::prompt;
use crate::text::safe;

/// People who sign in (see also: get users, delete user)
#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Let one more person sign in
    Add(Add),
    /// Give a user another password
    SetPassword(SetPassword),
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The name to sign in with
    name: String,
    /// What the user may do
    #[arg(long, value_enum)]
    role: RoleName,
    /// File with the password (- is standard input), instead of being asked for it
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SetPassword {
    /// The user
    name: String,
    /// File with the password (- is standard input), instead of being asked for it
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl User {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Add(command) => command.run(context).await,
            Self::SetPassword(command) => command.run(context).await,
        }
    }
}

impl Add {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.client()?;
        let password = prompt::new_password(self.password_file.as_deref(), &safe(&self.name))?;
        let spec = UserSpec {
            role: self.role.into(),
            password: Some(password),
            password_hash: None,
            disabled: false,
        };
        let options = WriteOptions::new().if_absent();
        let written = client.put(&Draft::new(&self.name, spec), &options).await?;
        print_written(context.output, &written, &format!("created users/{}", self.name))
    }
}

impl SetPassword {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.client()?;
        let password = prompt::new_password(self.password_file.as_deref(), &safe(&self.name))?;
        let patch = json!({ "spec": { "password": password } });
        let written = client.patch::<UserSpec>(&self.name, &patch, &WriteOptions::new()).await?;
        print_written(context.output, &written, &format!("changed the password of {}", self.name))
    }
}
