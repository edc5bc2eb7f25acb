//! ballastctl: Ballast on the command line.
//!
//! Answers go to standard output, everything else to standard error. Text that came from a server
//! is printed through [`text`], so that it can't drive the terminal.

#![forbid(unsafe_code)]

mod command;
mod connection;
mod environment;
mod failure;
mod output;
mod plan;
mod prompt;
mod settings;
mod text;

use std::process::ExitCode;

use clap::Parser;

use crate::command::Cli;
use crate::failure::Failure;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Where not even this can be printed, the exit code is all that is left to say.
            let _printed = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(failure::USAGE));
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            output::note(&failure.render());
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::io("starting", source))?;
    runtime.block_on(cli.run())
}
