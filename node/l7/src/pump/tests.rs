use std::future::poll_fn;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

/// Pumps `input`, written in pieces, into a pipe of `pipe_bytes`; what came out at its end.
fn pumped(
    pieces: &[Vec<u8>],
    mut pump: Pump,
    pipe_bytes: usize,
) -> (Result<u64, PumpError>, Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (mut source, from) = duplex(pipe_bytes);
        let (to, mut sink) = duplex(pipe_bytes);
        let write = async {
            for piece in pieces {
                if source.write_all(piece).await.is_err() {
                    break;
                }
            }
            drop(source);
        };
        let pump = async {
            let (mut from, mut to) = (Peer::new(from), Peer::<DuplexStream>::new(to));
            let buffers = BufferPool::default();
            let result = poll_fn(|cx| pump.poll(cx, &mut from, &mut to, &buffers)).await;
            drop(to);
            drop(from);
            result.map(|()| pump.content_bytes)
        };
        let read = async {
            let mut received = Vec::new();
            sink.read_to_end(&mut received).await.unwrap();
            received
        };
        let ((), result, received) = tokio::join!(write, pump, read);
        (result, received)
    })
}

fn plain(length: BodyLength) -> Pump {
    Pump::new(length, Frames::Plain, u64::MAX)
}

#[test]
fn an_exact_body_goes_through_as_it_is() {
    let body = vec![7; 100_000];
    let (result, received) =
        pumped(std::slice::from_ref(&body), plain(BodyLength::Exact(100_000)), 1_000);
    assert_eq!(result.unwrap(), 100_000);
    assert_eq!(received, body);
}

#[test]
fn a_body_that_ends_too_early_is_truncated() {
    let (result, _) = pumped(&[vec![7; 99]], plain(BodyLength::Exact(100)), 1_000);
    assert!(matches!(result, Err(PumpError::Truncated)));
    let (result, _) = pumped(&[b"5\r\nab".to_vec()], plain(BodyLength::Chunked), 1_000);
    assert!(matches!(result, Err(PumpError::Truncated)));
}

#[test]
fn a_body_until_close_becomes_chunks() {
    let pump = Pump::new(BodyLength::UntilClose, Frames::Chunked, u64::MAX);
    let (result, received) = pumped(&[b"hello".to_vec()], pump, 1_000);
    assert_eq!(result.unwrap(), 5);
    assert_eq!(received, b"5\r\nhello\r\n0\r\n\r\n");
}

#[test]
fn chunks_become_plain_content_for_an_old_client() {
    let text = b"3\r\nabc\r\n2;x\r\nde\r\n0\r\nT: v\r\n\r\n".to_vec();
    let (result, received) = pumped(&[text], plain(BodyLength::Chunked), 1_000);
    assert_eq!(result.unwrap(), 5);
    assert_eq!(received, b"abcde");
}

#[test]
fn a_body_is_limited_at_the_limit_and_not_below() {
    let text = b"5\r\nhello\r\n0\r\n\r\n".to_vec();
    let limited = |max| Pump::new(BodyLength::Chunked, Frames::Chunked, max);
    assert!(pumped(std::slice::from_ref(&text), limited(5), 1_000).0.is_ok());
    assert!(matches!(pumped(&[text], limited(4), 1_000).0, Err(PumpError::TooLarge)));
}

/// The content of a chunked body.
fn unchunk(text: &[u8]) -> Vec<u8> {
    let mut decoder = BodyDecoder::new(BodyLength::Chunked);
    let (mut content, mut rest) = (Vec::new(), text);
    loop {
        let part = decoder.next(rest).unwrap();
        let end = part.skip_bytes + part.data_bytes;
        content.extend_from_slice(&rest[part.skip_bytes..end]);
        rest = &rest[end..];
        if part.data_bytes == 0 {
            assert!(decoder.is_done() && rest.is_empty());
            return content;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn chunked_content_survives_any_cut_and_any_pipe(
        content in proptest::collection::vec(any::<u8>(), 0..60_000),
        chunk_bytes in 1usize..20_000,
        piece_bytes in 1usize..20_000,
        pipe_bytes in 1usize..40_000,
    ) {
        let mut text = Vec::new();
        for chunk in content.chunks(chunk_bytes) {
            text.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            text.extend_from_slice(chunk);
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"0\r\n\r\n");
        let pieces: Vec<_> = text.chunks(piece_bytes).map(<[u8]>::to_vec).collect();
        let pump = Pump::new(BodyLength::Chunked, Frames::Chunked, u64::MAX);
        let (result, received) = pumped(&pieces, pump, pipe_bytes.max(64));
        prop_assert_eq!(result.unwrap(), content.len() as u64);
        prop_assert_eq!(unchunk(&received), content);
    }
}
