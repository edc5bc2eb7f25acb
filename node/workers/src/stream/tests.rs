use std::future::poll_fn;
use std::task::Waker;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// A client, and its connection as it is accepted.
fn pair() -> (std::net::TcpStream, ClientStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = crate::listener::accept(&listener).unwrap();
    (client, ClientStream::new(stream))
}

/// Waits until something is there to be read, without the stream's own help.
async fn arrived(stream: &ClientStream) {
    let socket = stream.socket().unwrap();
    loop {
        let mut byte = [0];
        let peeked = rustix::net::recv(socket, &mut byte, rustix::net::RecvFlags::PEEK);
        if peeked.is_ok() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_client_that_has_asked_already_is_answered_without_the_reactor() {
    let (mut client, mut stream) = pair();
    client.write_all(b"ask").unwrap();
    arrived(&stream).await;
    let mut asked = [0; 3];
    stream.read_exact(&mut asked).await.unwrap();
    stream.write_all(b"answer").await.unwrap();
    stream.shutdown().await.unwrap();
    assert!(stream.as_registered().is_none());
    let mut answered = Vec::new();
    client.read_to_end(&mut answered).unwrap();
    assert_eq!(answered, b"answer");
}

#[tokio::test]
async fn a_client_that_is_silent_is_waited_for_by_the_reactor() {
    let (mut client, mut stream) = pair();
    let mut asked = [0; 3];
    let mut cx = Context::from_waker(Waker::noop());
    let mut space = ReadBuf::new(&mut asked);
    assert!(Pin::new(&mut stream).poll_read(&mut cx, &mut space).is_pending());
    assert!(stream.as_registered().is_some());
    client.write_all(b"ask").unwrap();
    stream.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"ask");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_waited_for_by_the_reactor() {
    let (mut client, mut stream) = pair();
    let much = vec![7; 64 * 1024 * 1024];
    let read = tokio::task::spawn_blocking(move || {
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        received
    });
    stream.write_all(&much).await.unwrap();
    assert!(stream.as_registered().is_some());
    drop(stream);
    assert!(read.await.unwrap() == much);
}

#[tokio::test]
async fn a_client_that_always_has_more_is_registered_after_a_while() {
    let (mut client, mut stream) = pair();
    client.write_all(&[7; 100]).unwrap();
    arrived(&stream).await;
    for count in 0..=UNREGISTERED_MAX_COUNT {
        assert_eq!(stream.as_registered().is_some(), count > UNREGISTERED_MAX_COUNT);
        stream.read_exact(&mut [0]).await.unwrap();
    }
    assert!(stream.as_registered().is_some());
}

#[tokio::test]
async fn a_reset_reaches_the_client() {
    let (mut client, stream) = pair();
    stream.reset_on_drop();
    drop(stream);
    let error = client.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn the_end_of_the_client_is_read_as_such() {
    let (client, mut stream) = pair();
    drop(client);
    let mut received = Vec::new();
    poll_fn(|cx| {
        let mut byte = [0];
        let mut space = ReadBuf::new(&mut byte);
        let read = Pin::new(&mut stream).poll_read(cx, &mut space);
        received.extend_from_slice(space.filled());
        read
    })
    .await
    .unwrap();
    assert!(received.is_empty());
}

#[tokio::test]
async fn what_the_end_follows_arrives_with_the_end_whether_or_not_the_reactor_knows_the_stream() {
    for is_registered in [false, true] {
        let (mut client, mut stream) = pair();
        if is_registered {
            stream.registered().unwrap();
        }
        stream.write_all(b"head and ").await.unwrap();
        stream.end_follows();
        stream.write_all(b"body").await.unwrap();
        // Held back: only the first part is there to be read.
        let mut first = [0; 64];
        assert_eq!(client.read(&mut first).unwrap(), 9);
        client.set_nonblocking(true).unwrap();
        assert_eq!(client.read(&mut first).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        client.set_nonblocking(false).unwrap();
        drop(stream);
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"body");
    }
}

#[tokio::test]
async fn much_that_the_end_follows_arrives_though_the_client_reads_slowly() {
    let (mut client, mut stream) = pair();
    stream.end_follows();
    let much = vec![7; 16 * 1024 * 1024];
    let expected_bytes = much.len();
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        all.len()
    });
    stream.write_all(&much).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(
        tokio::task::spawn_blocking(|| reader.join().unwrap()).await.unwrap(),
        expected_bytes
    );
}
