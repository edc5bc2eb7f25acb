//! Origins in this process that say who they are and give clients a session.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// An HTTP server that answers each request with its name; one for `/login/<user>` with a cookie `SID`
/// too, which nobody else gives. Ends when it is dropped.
#[derive(Debug)]
pub struct SessionOrigin {
    /// Where it listens, on loopback.
    pub address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl SessionOrigin {
    /// Starts it.
    ///
    /// # Errors
    /// Where no port can be had.
    pub async fn start(name: String) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let name: Arc<str> = name.into();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&name)));
            }
        });
        Ok(Self { address, task })
    }
}

impl Drop for SessionOrigin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, name: Arc<str>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let path = line.split(' ').nth(1)?.to_owned();
        while line != "\r\n" {
            line.clear();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
        }
        let cookie = path
            .strip_prefix("/login/")
            .map(|user| format!("Set-Cookie: SID={user}.{name}; Path=/; HttpOnly\r\n"));
        let cookie = cookie.unwrap_or_default();
        let length = name.len();
        let answer = format!("HTTP/1.1 200 OK\r\n{cookie}Content-Length: {length}\r\n\r\n{name}");
        stream.get_mut().write_all(answer.as_bytes()).await.ok()?;
    }
}
