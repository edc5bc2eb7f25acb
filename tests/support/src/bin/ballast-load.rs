//! Sends load and reports, as one line of JSON, what became of it.

use ballast_test_support::load::{LoadOptions, run};
use clap::Parser;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: LoadOptions,
    /// Print a report for every line on standard input; stop at its end.
    #[arg(long)]
    controlled: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(run(arguments.options, arguments.controlled))?;
    println!("{}", serde_json::to_string(&report)?);
    // The thread that reads standard input may be in the middle of it.
    runtime.shutdown_background();
    Ok(())
}
