//! Opens a new connection with a request on a schedule and prints, line by line, what became of each.

use ballast_test_support::probe::{ProbeOptions, run};
use clap::Parser;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: ProbeOptions,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    run(Arguments::parse().options).await
}
