use super::*;

fn parse(chunks: &[&[u8]]) -> Vec<Message> {
    let mut parser = Parser::default();
    chunks.iter().flat_map(|chunk| parser.push(chunk).unwrap()).collect()
}

fn message(id: Option<&str>, event: Option<&str>, data: &str) -> Message {
    Message { id: id.map(str::to_owned), event: event.map(str::to_owned), data: data.to_owned() }
}

#[test]
fn messages_come_out_however_the_bytes_are_cut() {
    let stream: &[u8] =
        b": keep-alive\n\nid: 7\nevent: config\ndata: {\"a\":1}\n\ndata:x\r\ndata: y\r\n\r\n";
    let expected = [message(Some("7"), Some("config"), "{\"a\":1}"), message(None, None, "x\ny")];
    for cut in 0..stream.len() {
        assert_eq!(parse(&[&stream[..cut], &stream[cut..]]), expected, "cut at {cut}");
    }
}

#[test]
fn incomplete_message_waits() {
    assert_eq!(parse(&[b"data: half\n"]), []);
}

#[test]
fn endless_line_is_refused() {
    let mut parser = Parser::default();
    assert!(parser.push(&vec![b'x'; LINE_MAX_BYTES]).is_ok());
    assert!(parser.push(b"x").is_err());
}
