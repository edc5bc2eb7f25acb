use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> Option<(u16, Length)> {
    let (head, head_bytes) = parse_head(text.as_bytes()).unwrap()?;
    assert_eq!(head_bytes, text.len());
    Some((head.status, head.length))
}

#[test]
fn body_ends_as_the_head_says() {
    let until_close = Some((200, Length::UntilClose));
    assert_eq!(parsed("HTTP/1.1 200 OK\r\n\r\n"), until_close);
    assert_eq!(parsed("HTTP/1.0 200\r\nContent-Length: 5\r\n\r\n"), Some((200, Length::Bytes(5))));
    let chunked =
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n";
    assert_eq!(parsed(chunked), Some((200, Length::Chunked)));
    assert_eq!(parsed("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"), until_close);
    assert_eq!(parsed("HTTP/1.1 204 No Content\r\n\r\n"), Some((204, Length::Bytes(0))));
    assert_eq!(parsed("HTTP/1.1 200 OK\r\nX: y\r\n"), None);
    assert!(parse_head(b"SSH-2.0-OpenSSH_9.2\r\n").is_err());
    assert!(parse_head(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n").is_err());
}

#[test]
fn request_is_as_declared() {
    let wanted = HttpProbe { path: "/ready?x=1".to_owned(), ..HttpProbe::default() };
    let text = request("[::1]:80".parse().unwrap(), &wanted);
    assert_eq!(
        text,
        "GET /ready?x=1 HTTP/1.1\r\nHost: [::1]:80\r\nUser-Agent: ballast-health\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    );
    let wanted = HttpProbe { host: Some("app.example".to_owned()), ..wanted };
    assert!(request("[::1]:80".parse().unwrap(), &wanted).contains("\r\nHost: app.example\r\n"));
}

fn chunked(content: &[u8], chunk_bytes: usize) -> Vec<u8> {
    let mut raw = Vec::new();
    for chunk in content.chunks(chunk_bytes) {
        raw.extend_from_slice(format!("{:x};ext=1\r\n", chunk.len()).as_bytes());
        raw.extend_from_slice(chunk);
        raw.extend_from_slice(b"\r\n");
    }
    raw.extend_from_slice(b"0\r\n\r\n");
    raw
}

proptest! {
    #[test]
    fn chunks_give_their_content_back(content: Vec<u8>, chunk_bytes in 1_usize..40) {
        let raw = chunked(&content, chunk_bytes);
        prop_assert_eq!(dechunk(&raw).unwrap(), (content.clone(), true));
        for end in 0..raw.len() {
            let (so_far, _) = dechunk(&raw[..end]).unwrap();
            prop_assert!(content.starts_with(&so_far));
        }
    }

    #[test]
    fn any_bytes_are_survived(raw: Vec<u8>) {
        let _any = parse_head(&raw);
        let _any = dechunk(&raw);
    }
}

#[test]
fn no_more_than_the_bound_is_looked_at() {
    let raw = chunked(&vec![b'x'; BODY_MAX_BYTES + 10], 10_000);
    assert_eq!(dechunk(&raw).unwrap().0.len(), BODY_MAX_BYTES);
    let huge = b"ffffffffffffffff\r\nabc";
    assert_eq!(dechunk(huge).unwrap(), (b"abc".to_vec(), false));
}
