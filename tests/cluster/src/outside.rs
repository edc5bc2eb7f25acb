//! What stands outside a cluster and is asked by a node, or told: small, and as strict as the tests need.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

/// Longest request that the HTTP server takes, in bytes.
const REQUEST_MAX_BYTES: usize = 1 << 20;

/// Serves until it is dropped.
pub struct Outside {
    /// Where.
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Outside {
    /// What has come so far: of HTTP the request line and the content's type and length, of datagrams
    /// the text.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An HTTP server that gives every request the same answer.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn http(content: String) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that goes away in the middle asks again.
                if let Ok(line) = answer(stream, &content).await {
                    noted.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                }
            }
        });
        Ok(Self { address, seen, task })
    }

    /// An agent at that address: says `words` to whoever connects.
    ///
    /// # Errors
    /// When the address is taken.
    pub async fn agent(address: SocketAddr, words: &'static str) -> Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _gone = stream.write_all(words.as_bytes()).await;
            }
        });
        Ok(Self { address, seen: Arc::default(), task })
    }

    /// A name server that knows one IPv4 address, of every name.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn name_server(ipv4: [u8; 4]) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let address = socket.local_addr()?;
        let task = tokio::spawn(async move {
            let mut query = [0; 1_500];
            while let Ok((count, from)) = socket.recv_from(&mut query).await {
                if let Some(response) = respond(&query[..count], ipv4) {
                    let _gone = socket.send_to(&response, from).await;
                }
            }
        });
        Ok(Self { address, seen: Arc::default(), task })
    }

    /// Notes every datagram.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn datagrams() -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let address = socket.local_addr()?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut datagram = vec![0; 1 << 16];
            while let Ok(count) = socket.recv(&mut datagram).await {
                let text = String::from_utf8_lossy(&datagram[..count]).into_owned();
                noted.lock().unwrap_or_else(PoisonError::into_inner).push(text);
            }
        });
        Ok(Self { address, seen, task })
    }
}

async fn answer(mut stream: TcpStream, content: &str) -> Result<String> {
    let mut request = Vec::new();
    let (head, length) = loop {
        ensure!(stream.read_buf(&mut request).await? > 0, "it ended within its head");
        ensure!(request.len() <= REQUEST_MAX_BYTES, "too long");
        if let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&request[..end]).into_owned();
            let length: usize = field(&head, "content-length").unwrap_or("0").parse()?;
            if request.len() >= end + 4 + length {
                break (head, length);
            }
        }
    };
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{content}",
        content.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    let line = head.lines().next().context("a request line")?;
    Ok(format!("{line} {} {length}", field(&head, "content-type").unwrap_or("-")))
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The response to a query for one name (RFC 1035 §4.1): the address where it is asked for, else none.
fn respond(query: &[u8], ipv4: [u8; 4]) -> Option<Vec<u8>> {
    const HEADER_BYTES: usize = 12;
    let name_bytes = query.get(HEADER_BYTES..)?.iter().position(|byte| *byte == 0)? + 1;
    let question = query.get(HEADER_BYTES..HEADER_BYTES + name_bytes + 4)?;
    let is_address = question[name_bytes..name_bytes + 2] == [0, 1];
    let mut response = query[..2].to_vec();
    // A response, recursion available, no error; one question, perhaps one answer.
    response.extend([0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0]);
    response.extend(question);
    if is_address {
        // The name of the question, A, IN, for 60 s, 4 bytes.
        response.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        response.extend(ipv4);
    }
    Some(response)
}
