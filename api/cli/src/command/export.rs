//! `export`: the present configuration as a declaration.

use clap::Args;

use super::Context;
use crate::failure::Failure;

/// Print the configuration as it can be applied again: JSON, without secrets
#[derive(Debug, Args)]
pub(crate) struct Export {}

impl Export {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        context.output.json(&context.client()?.export().await?)
    }
}
