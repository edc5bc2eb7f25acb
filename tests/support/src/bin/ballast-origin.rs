//! An origin for tests: HTTP, WebSocket and TCP echo that say who answered.

use std::net::SocketAddr;

use clap::Parser;

#[derive(Parser)]
struct Arguments {
    /// What it calls itself.
    #[arg(long)]
    name: String,
    /// Where to speak HTTP.
    #[arg(long)]
    http: Option<SocketAddr>,
    /// Where to echo TCP.
    #[arg(long)]
    tcp: Option<SocketAddr>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    ballast_test_support::origin::serve(&arguments.name, arguments.http, arguments.tcp).await
}
