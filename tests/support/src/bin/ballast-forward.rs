//! Forwards connections from the listening socket that is its standard input.

use std::net::SocketAddr;

use clap::Parser;

#[derive(Parser)]
struct Arguments {
    /// Where connections go.
    target: SocketAddr,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    ballast_test_support::forward::serve_standard_input(Arguments::parse().target).await
}
