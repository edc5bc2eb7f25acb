//! A way from this machine's loopback into a lab's host.
//!
//! The listening socket is made here and handed to a process in the host's namespace: a socket stays in
//! the namespace it was made in, while the connections that the process opens start in its own.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;

use anyhow::{Context, Result};
use tokio::net::TcpStream;

use crate::lab::Host;
use crate::process::Process;
use crate::programs;

/// Most connections at once; more wait in the listener's queue.
const CONNECTION_MAX_COUNT: usize = 1_024;

/// A forwarder; it ends when dropped.
#[derive(Debug)]
pub struct Forward {
    address: SocketAddr,
    _process: Process,
}

impl Forward {
    /// Forwards connections to a free loopback port to `target` as seen from `host`.
    ///
    /// # Errors
    /// When the forwarder cannot be started.
    pub fn start(host: &Host, target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let mut command = host.command(programs::find("ballast-forward")?);
        command.arg(target.to_string()).stdin(Stdio::from(OwnedFd::from(listener)));
        command.stdout(Stdio::null());
        let log = host.dir()?.join("forward.log");
        let process = Process::start_with_pipes("ballast-forward", command, &log)?;
        Ok(Self { address, _process: process })
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// What `ballast-forward TARGET` does: accepts on the socket that is its standard input.
///
/// # Errors
/// When standard input is no listening socket.
pub async fn serve_standard_input(target: SocketAddr) -> Result<()> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let limit = std::sync::Arc::new(tokio::sync::Semaphore::new(CONNECTION_MAX_COUNT));
    loop {
        let permit = std::sync::Arc::clone(&limit).acquire_owned().await?;
        let (mut client, _) = listener.accept().await.context("accepting")?;
        tokio::spawn(async move {
            if let Ok(mut server) = TcpStream::connect(target).await {
                // Either side hanging up ends the connection; there is nobody to tell.
                drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
            }
            drop(permit);
        });
    }
}
