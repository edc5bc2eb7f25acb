use std::future::poll_fn;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// The two ends of a connection.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

/// Bytes of which none is like its neighbour.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// Moves all of `left_bytes`; how it ended, and what moved.
async fn move_all(
    pipe: &mut Pipe,
    from: &TcpStream,
    to: &TcpStream,
    left_bytes: u64,
) -> (Result<Spliced, SpliceError>, SplicedBytes) {
    let mut total = SplicedBytes::default();
    let end = poll_fn(|cx| {
        let mut moved = SplicedBytes::default();
        let end = pipe.poll_move(cx, from, to, left_bytes - total.read, &mut moved);
        total.read += moved.read;
        total.written += moved.written;
        end
    })
    .await;
    (end, total)
}

#[tokio::test]
async fn much_content_arrives_as_it_was_sent_and_not_a_byte_more() {
    let (mut source, from) = pair().await;
    let (to, mut sink) = pair().await;
    let sent = content(5_000_000);
    let behind = b"what comes next";
    let pool = PipePool::default();
    let mut pipe = pool.take().unwrap();
    let write = async {
        source.write_all(&sent).await.unwrap();
        source.write_all(behind).await.unwrap();
    };
    let carry = move_all(&mut pipe, &from, &to, sent.len() as u64);
    let mut received = vec![0; sent.len()];
    let read = async { sink.read_exact(&mut received).await.unwrap() };
    let ((), (end, moved), _) = tokio::join!(write, carry, read);
    assert_eq!(end.unwrap(), Spliced::All);
    assert_eq!(moved, SplicedBytes { read: 5_000_000, written: 5_000_000 });
    assert!(received == sent);
    assert!(pipe.is_empty());
    let mut left = [0; 15];
    let mut from = from;
    from.read_exact(&mut left).await.unwrap();
    assert_eq!(&left, behind);
}

#[tokio::test]
async fn a_source_that_ends_early_is_told_from_one_that_sent_all() {
    let (mut source, from) = pair().await;
    let (to, mut sink) = pair().await;
    source.write_all(&content(1_000)).await.unwrap();
    drop(source);
    let pool = PipePool::default();
    let mut pipe = pool.take().unwrap();
    let (end, moved) = move_all(&mut pipe, &from, &to, 1_001).await;
    assert_eq!(end.unwrap(), Spliced::SourceEnded);
    assert_eq!(moved, SplicedBytes { read: 1_000, written: 1_000 });
    drop(to);
    let mut received = Vec::new();
    sink.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, content(1_000));
}

#[tokio::test]
async fn a_receiver_that_does_not_read_holds_the_source_up() {
    let (mut source, from) = pair().await;
    let (to, sink) = pair().await;
    let pool = PipePool::default();
    let mut pipe = pool.take().unwrap();
    let sent = vec![7; 64 * 1024 * 1024];
    // The sockets and the pipe hold some of it, and then nothing moves any more.
    tokio::select! {
        () = async { source.write_all(&sent).await.unwrap() } => panic!("nobody has read that"),
        _ = move_all(&mut pipe, &from, &to, u64::MAX) => panic!("it has no end"),
        () = async {
            while !is_full(&to).await {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    drop(sink);
    let (end, _) = move_all(&mut pipe, &from, &to, u64::MAX).await;
    assert!(matches!(end, Err(SpliceError::Write(_))), "{end:?}");
}

/// Whether nothing can be written for now.
async fn is_full(stream: &TcpStream) -> bool {
    poll_fn(|cx| Poll::Ready(stream.poll_write_ready(cx).is_pending())).await
}

#[tokio::test]
async fn a_pipe_that_holds_something_does_not_go_back_to_the_pool() {
    let (mut source, from) = pair().await;
    source.write_all(b"left behind").await.unwrap();
    let pool = PipePool::default();
    let mut pipe = pool.take().unwrap();
    pipe.held_bytes = poll_fn(|cx| pipe.poll_fill(cx, &from, 100)).await.unwrap();
    assert_eq!(pipe.held_bytes, 11);
    pool.give(pipe);
    assert!(pool.idle.borrow().is_empty());
    assert_eq!(pool.open_count.get(), 0);
    pool.give(pool.take().unwrap());
    assert_eq!(pool.idle.borrow().len(), 1);
    assert_eq!(pool.open_count.get(), 1);
}

#[test]
fn a_worker_has_only_so_many_pipes() {
    let pool = PipePool::default();
    pool.open_count.set(PIPE_MAX_COUNT - 1);
    let last = pool.take().unwrap();
    assert!(pool.take().is_none());
    drop(last);
    assert!(pool.take().is_some());
}
