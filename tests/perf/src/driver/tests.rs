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
