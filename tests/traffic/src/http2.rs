//! A client of HTTP/2 that sends what no library would: fields as they are, in a block without tables.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::wire::PATIENCE;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// Types of frames and their flags (RFC 9113 §6).
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const GOAWAY: u8 = 0x7;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// The block of an answer begins with this where its status is 200 (RFC 7541 Appendix A, entry 8).
const STATUS_200: u8 = 0x88;
/// And with this where it is 404 (entry 13).
const STATUS_404: u8 = 0x8d;

/// A field.
pub type Field = (&'static str, String);

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// An origin has answered it (200 or 404).
    Served,
    /// It was refused: with another status, by a reset, or with the connection.
    Refused,
}

/// Sends one request over a connection of its own: its fields, then its pieces of content, then its
/// trailer section if there is one.
///
/// # Errors
/// When nothing comes of it in time.
pub async fn ask(
    address: SocketAddr,
    fields: &[Field],
    content: &[&str],
    trailers: &[Field],
) -> Result<Told> {
    let mut stream = timeout(PATIENCE, TcpStream::connect(address)).await??;
    let mut bytes = PREFACE.to_vec();
    frame(&mut bytes, SETTINGS, 0, 0, &[]);
    let ends_with_head = content.is_empty() && trailers.is_empty();
    let end = if ends_with_head { END_STREAM } else { 0 };
    frame(&mut bytes, HEADERS, END_HEADERS | end, 1, &block(fields));
    for (index, piece) in content.iter().enumerate() {
        let is_last = index + 1 == content.len() && trailers.is_empty();
        frame(&mut bytes, DATA, u8::from(is_last), 1, piece.as_bytes());
    }
    if !trailers.is_empty() {
        frame(&mut bytes, HEADERS, END_HEADERS | END_STREAM, 1, &block(trailers));
    }
    // That the other side has closed is told by what it has sent.
    let _closed = stream.write_all(&bytes).await;
    timeout(PATIENCE, told(&mut stream)).await.context("neither an answer nor an end")?
}

async fn told(stream: &mut TcpStream) -> Result<Told> {
    loop {
        let mut head = [0; 9];
        // An end, or a reset.
        if stream.read_exact(&mut head).await.is_err() {
            return Ok(Told::Refused);
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        ensure!(length <= 1 << 14, "a frame of {length} bytes");
        let mut payload = vec![0; length];
        if stream.read_exact(&mut payload).await.is_err() {
            return Ok(Told::Refused);
        }
        let is_end = head[4] & END_STREAM != 0;
        match head[3] {
            HEADERS if matches!(payload.first(), Some(&(STATUS_200 | STATUS_404))) => {
                return Ok(Told::Served);
            }
            // Unless it ends here, it may be an interim response.
            HEADERS | DATA if is_end => return Ok(Told::Refused),
            RST_STREAM | GOAWAY => return Ok(Told::Refused),
            _ => {}
        }
    }
}

fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    bytes.extend_from_slice(&length[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

/// Literal fields that are not indexed, without Huffman's code (RFC 7541 §6.2.2).
fn block(fields: &[Field]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [*name, value] {
            length(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// An integer with a prefix of 7 bits (RFC 7541 §5.1).
fn length(block: &mut Vec<u8>, mut value: usize) {
    const PREFIX_MAX: usize = 0x7f;
    if value < PREFIX_MAX {
        block.push(value as u8);
        return;
    }
    block.push(PREFIX_MAX as u8);
    value -= PREFIX_MAX;
    while value >= 0x80 {
        block.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    block.push(value as u8);
}
