//! Asks all the time who has an address and prints everybody who answers or announces it.

use ballast_test_support::arp_watch::{WatchOptions, run};
use clap::Parser;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: WatchOptions,
}

fn main() -> anyhow::Result<()> {
    run(&Arguments::parse().options)
}
