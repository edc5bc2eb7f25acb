//! `ballastd replay`: plays a recording of a traffic group again.

use std::path::PathBuf;

use anyhow::{Context, Result};
use ballast_ha::recordings;
use clap::Args;

/// What to play.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A file of `ha-recordings` in a node's state directory
    file: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let file = arguments.file.display();
    let replayed = recordings::replay(&arguments.file).with_context(|| file.to_string())?;
    let machine = &replayed.machine;
    println!(
        "traffic group {:?}: {} inputs, each of which does what it did then; {} at the end",
        machine.config().name,
        replayed.inputs_count,
        machine.state()
    );
    Ok(())
}
