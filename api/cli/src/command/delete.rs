//! `delete`: deletes one resource.

use ballast_model::Kind;
use clap::Args;

use super::{Context, kind, print_written, write_options};
use crate::failure::Failure;

/// Delete a resource; refused while others use it
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Such as pool, virtual-server (vs), monitor, certificate, token, user
    #[arg(value_parser = kind)]
    kind: Kind,
    /// Its name
    name: String,
    /// Only if it was not changed since this revision
    #[arg(long, value_name = "N")]
    if_revision: Option<u64>,
    /// Wait until every live node carries it out
    #[arg(long)]
    wait: bool,
}

impl Delete {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        if self.kind == Kind::Node {
            return Err(Failure::Usage(format!(
                "a node is taken out for good with: ballastctl cluster remove-node {}",
                self.name
            )));
        }
        let mut options = write_options(self.wait);
        if let Some(revision) = self.if_revision {
            options = options.if_revision(revision);
        }
        let written = context.client()?.delete(self.kind, &self.name, &options).await?;
        let sentence = format!("deleted {}/{}", self.kind.plural(), self.name);
        print_written(context.output, &written, &sentence)
    }
}
