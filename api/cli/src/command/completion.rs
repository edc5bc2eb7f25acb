//! `completion`: scripts that complete the command line.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Context};
use crate::failure::Failure;

/// Print a script that completes ballastctl's command line
#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// The shell
    shell: Shell,
}

impl Completion {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "ballastctl", &mut script);
        context.output.print(&String::from_utf8_lossy(&script))
    }
}
