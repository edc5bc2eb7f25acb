use proptest::prelude::*;

use super::*;

fn vector16(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u16).to_be_bytes(), content].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector16(content)].concat()
}

fn sni(name: &[u8]) -> Vec<u8> {
    extension(0, &vector16(&[&[0][..], &vector16(name)].concat()))
}

fn alpn_of(protocols: &[&str]) -> Vec<u8> {
    let list: Vec<u8> = protocols
        .iter()
        .flat_map(|protocol| [&[protocol.len() as u8], protocol.as_bytes()].concat())
        .collect();
    extension(16, &vector16(&list))
}

/// A handshake message; `extensions` none leaves them out altogether.
fn message(extensions: Option<&[Vec<u8>]>) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(32);
    body.extend([9; 32]);
    // The first suite is one of GREASE.
    body.extend(vector16(&[0x0a, 0x0a, 0x13, 0x01]));
    body.extend([1, 0]);
    if let Some(extensions) = extensions {
        body.extend(vector16(&extensions.concat()));
    }
    let mut message = vec![1];
    message.extend(&(body.len() as u32).to_be_bytes()[1..]);
    message.extend(body);
    message
}

/// In records of at most `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    let records = message.chunks(size).map(|part| [&[22, 3, 1][..], &vector16(part)].concat());
    records.collect::<Vec<_>>().concat()
}

fn hello_with(extensions: &[Vec<u8>]) -> Vec<u8> {
    records(&message(Some(extensions)), FRAGMENT_MAX_BYTES)
}

fn name_of(bytes: &[u8]) -> Result<Option<String>, HelloError> {
    match parse(bytes)? {
        Parsed::Complete(hello) => Ok(hello.server_name),
        Parsed::Partial => panic!("it is complete"),
    }
}

#[test]
fn name_and_protocols_are_read_in_lower_case_and_in_order() {
    let bytes = hello_with(&[
        extension(0x1a1a, b""),
        sni(b"WWW.Example.COM"),
        extension(43, &[2, 3, 4]),
        alpn_of(&["h2", "http/1.1"]),
        extension(0xfe0d, &[0; 40]),
        extension(0xdada, b"\0"),
    ]);
    let expected = ClientHello {
        server_name: Some("www.example.com".to_owned()),
        alpn_protocols: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        has_encrypted_hello: true,
    };
    assert_eq!(parse(&bytes), Ok(Parsed::Complete(expected)));
}

#[test]
fn client_may_name_no_server() {
    assert_eq!(name_of(&hello_with(&[])), Ok(None));
    assert_eq!(name_of(&hello_with(&[extension(43, &[2, 3, 4])])), Ok(None));
    assert_eq!(name_of(&records(&message(None), 100)), Ok(None));
}

#[test]
fn what_follows_is_left_alone() {
    let mut bytes = hello_with(&[sni(b"a.example")]);
    bytes.extend([20, 3, 3, 0, 1, 1, 23, 3, 3]);
    assert_eq!(name_of(&bytes), Ok(Some("a.example".to_owned())));
}

#[test]
fn what_a_member_might_read_otherwise_is_refused() {
    let twice = vector16(&[&[0][..], &vector16(b"a"), &[0], &vector16(b"b")].concat());
    for (extensions, error) in [
        (vec![sni(b"a"), sni(b"b")], HelloError::Malformed),
        (vec![extension(0, &twice)], HelloError::Malformed),
        (vec![extension(0, b"")], HelloError::Malformed),
        (vec![extension(0, &[0, 0])], HelloError::Malformed),
        (vec![extension(0, &[0, 9, 0, 0, 1, b'a'])], HelloError::Malformed),
        (vec![sni(b"")], HelloError::ServerName),
        (vec![sni(b".a")], HelloError::ServerName),
        (vec![sni(b"a\0b")], HelloError::ServerName),
        (vec![sni(b"a b")], HelloError::ServerName),
        (vec![sni(&[b'a'; 256])], HelloError::ServerName),
        (vec![alpn_of(&[""])], HelloError::Malformed),
        (vec![alpn_of(&["h2"]), alpn_of(&["h2"])], HelloError::Malformed),
    ] {
        assert_eq!(parse(&hello_with(&extensions)), Err(error), "{extensions:x?}");
    }
    assert_eq!(name_of(&hello_with(&[sni(&[b'a'; 255])])), Ok(Some("a".repeat(255))));
}

#[test]
fn what_is_no_tls_is_known_by_its_first_bytes() {
    let others: [&[u8]; 5] =
        [b"GET / HTTP/1.1\r\n", b"SSH-2.0", &[22, 2], &[21, 3, 1, 0, 2, 2, 0], &[0x80, 0x2e, 1]];
    for bytes in others {
        assert_eq!(parse(bytes), Err(HelloError::NotTls), "{bytes:x?}");
    }
    // Another handshake message.
    assert_eq!(parse(&[22, 3, 1, 0, 4, 2]), Err(HelloError::NotTls));
    assert_eq!(parse(&[22, 3, 1, 0, 0]), Err(HelloError::Malformed));
    assert_eq!(parse(&[22, 3, 1, 0x40, 0x01]), Err(HelloError::Malformed));
}

#[test]
fn length_is_bounded_at_the_limit_and_not_below() {
    let fitting = |length: usize| {
        let empty = hello_with(&[extension(21, b"")]).len();
        let message = message(Some(&[extension(21, &vec![0; length - empty])]));
        records(&message, HELLO_MAX_BYTES)
    };
    assert_eq!(fitting(HELLO_MAX_BYTES).len(), HELLO_MAX_BYTES);
    assert_eq!(name_of(&fitting(HELLO_MAX_BYTES)), Ok(None));
    assert_eq!(parse(&fitting(HELLO_MAX_BYTES + 1)), Err(HelloError::TooLong));
    assert_eq!(parse(&fitting(HELLO_MAX_BYTES + 1)[..9]), Err(HelloError::TooLong), "at once");
    // Many small records have headers that count too.
    let small = records(&message(Some(&[extension(21, &[0; 6_000])])), 2);
    assert_eq!(parse(&small[..HELLO_MAX_BYTES]), Err(HelloError::TooLong));
}

proptest! {
    #[test]
    fn however_it_is_cut_into_records_and_pieces_it_is_the_same(
        name in "[a-z]{1,20}(\\.[a-z]{1,10}){0,3}",
        size in 1_usize..400,
        grease in any::<bool>(),
    ) {
        let mut extensions = vec![sni(name.as_bytes()), alpn_of(&["h2"])];
        if grease {
            extensions.insert(0, extension(0x2a2a, b"x"));
        }
        let bytes = records(&message(Some(&extensions)), size);
        for end in 0..bytes.len() {
            prop_assert_eq!(parse(&bytes[..end]), Ok(Parsed::Partial), "{} bytes", end);
        }
        prop_assert_eq!(name_of(&bytes), Ok(Some(name)));
    }

    #[test]
    fn no_input_panics_and_more_input_changes_no_verdict(
        at in prop::collection::vec((0_usize..200, any::<u8>()), 0..6),
        size in 1_usize..300,
        noise in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let mut bytes = records(&message(Some(&[sni(b"a.example"), alpn_of(&["h2"])])), size);
        for (index, byte) in at {
            let index = index % bytes.len();
            bytes[index] = byte;
        }
        bytes.extend(noise);
        let mut verdict = Ok(Parsed::Partial);
        for end in 0..=bytes.len() {
            let parsed = parse(&bytes[..end]);
            if verdict != Ok(Parsed::Partial) {
                prop_assert_eq!(&parsed, &verdict);
            }
            verdict = parsed;
        }
    }
}
