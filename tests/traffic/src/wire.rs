//! A client that sends bytes as they are and takes answers apart as RFC 9112 says.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest wait for an answer.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// What the origin says that it was asked for.
    pub path: Option<String>,
    /// Its content, without chunks.
    pub body: Vec<u8>,
}

/// A connection that is read answer by answer.
pub struct Wire {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// When nobody accepts.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: Vec::new() })
    }

    /// Sends these bytes. That the other side has closed is no error: its answer tells why.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _closed = self.stream.write_all(bytes).await;
    }

    /// The next final answer; none where the connection ends instead.
    ///
    /// # Errors
    /// When nothing comes in time, or what comes is no answer.
    pub async fn answer(&mut self) -> Result<Option<Answer>> {
        timeout(PATIENCE, self.next()).await.context("neither an answer nor an end")?
    }

    async fn next(&mut self) -> Result<Option<Answer>> {
        loop {
            let Some(end) = self.head_end().await? else { return Ok(None) };
            let head = String::from_utf8_lossy(&self.input[..end]).into_owned();
            self.input.drain(..end + 4);
            let status: u16 = head
                .strip_prefix("HTTP/1.1 ")
                .and_then(|rest| rest.get(..3)?.parse().ok())
                .with_context(|| format!("no status line: {head}"))?;
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let field = |wanted: &str| {
                head.lines().skip(1).find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    name.eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned())
                })
            };
            let path = field("x-path");
            let body = if matches!(status, 101 | 204 | 304) {
                Vec::new()
            } else if field("transfer-encoding").is_some() {
                self.chunks().await?
            } else {
                match field("content-length") {
                    Some(length) => self.exactly(length.parse()?).await?,
                    None => self.rest().await?,
                }
            };
            return Ok(Some(Answer { status, path, body }));
        }
    }

    async fn head_end(&mut self) -> Result<Option<usize>> {
        loop {
            if let Some(end) = self.input.windows(4).position(|four| four == b"\r\n\r\n") {
                return Ok(Some(end));
            }
            if !self.read().await? {
                ensure!(self.input.is_empty(), "the connection ended within a head");
                return Ok(None);
            }
        }
    }

    async fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let size = usize::from_str_radix(line.split(';').next().unwrap_or("").trim(), 16)?;
            if size == 0 {
                while !self.line().await?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.exactly(size).await?);
            ensure!(self.line().await?.is_empty(), "no line end after a chunk");
        }
    }

    async fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.input.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&self.input[..end]).into_owned();
                self.input.drain(..end + 2);
                return Ok(line);
            }
            if !self.read().await? {
                bail!("the connection ended within a line");
            }
        }
    }

    async fn exactly(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.input.len() < length {
            if !self.read().await? {
                bail!("the connection ended within a body");
            }
        }
        Ok(self.input.drain(..length).collect())
    }

    async fn rest(&mut self) -> Result<Vec<u8>> {
        while self.read().await? {}
        Ok(std::mem::take(&mut self.input))
    }

    /// Reads once; false at the end. A reset is an end.
    async fn read(&mut self) -> Result<bool> {
        match self.stream.read_buf(&mut self.input).await {
            Ok(count) => Ok(count > 0),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
