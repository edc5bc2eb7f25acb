//! The driver counts what it should.

use super::*;

#[test]
fn an_answer_is_measured_once_its_head_is_complete() {
    assert_eq!(measured(b"HTTP/1.1 200 OK\r\nContent-Le").unwrap(), None);
    let answer = b"HTTP/1.1 204 No\r\ncontent-length: 3\r\n\r\nab";
    assert_eq!(measured(answer).unwrap(), Some((204, answer.len() + 1)));
    assert!(measured(b"HTTP/1.1 200 OK\r\n\r\n").is_err(), "how long it is must be said");
    assert!(measured(b"nonsense\r\n\r\n").is_err());
}

/// A server that gives each request of every connection this answer, and ends the connection when told so.
fn server(answer: &'static [u8], closes: bool) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || serve(stream?, answer, closes));
        }
        std::io::Result::Ok(())
    });
    address
}

fn serve(mut stream: std::net::TcpStream, answer: &[u8], closes: bool) -> std::io::Result<()> {
    let mut asked = Vec::new();
    let mut storage = [0; 1_024];
    loop {
        let count = stream.read(&mut storage)?;
        asked.extend_from_slice(&storage[..count]);
        if count == 0 {
            return Ok(());
        }
        if asked.ends_with(b"\r\n\r\n") {
            asked.clear();
            stream.write_all(answer)?;
            if closes {
                return Ok(());
            }
        }
    }
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc";

#[test]
fn an_open_loop_asks_as_often_as_was_said() {
    let outcome = open_loop::run(&open_loop::Options::once(server(ANSWER, false), 500.0)).unwrap();
    assert_eq!((outcome.requests, outcome.failures), (500, 0));
    assert!(outcome.p50_us > 0.0 && outcome.p99_us >= outcome.p50_us, "{outcome:?}");
}

#[test]
fn an_open_loop_counts_what_fails() {
    // Every request that is due is either answered or has failed; connections that end beside that fail too.
    let outcome = open_loop::run(&open_loop::Options::once(server(ANSWER, true), 100.0)).unwrap();
    assert!(outcome.failures > 0 && outcome.requests + outcome.failures >= 100, "{outcome:?}");
    let refused = b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n";
    let told = open_loop::run(&open_loop::Options::once(server(refused, false), 100.0));
    assert!(told.unwrap_err().to_string().contains("no request was answered"));
}
