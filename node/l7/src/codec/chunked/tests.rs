use proptest::prelude::*;

use super::*;

/// Decodes input that arrives in pieces; the content, and how many bytes were used.
fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, usize, bool), ChunkedError> {
    let mut decoder = ChunkedDecoder::default();
    let (mut content, mut used, mut input) = (Vec::new(), 0, Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            let part = decoder.next(&input)?;
            let end = part.skip_bytes + part.data_bytes;
            content.extend_from_slice(&input[part.skip_bytes..end]);
            input.drain(..end);
            used += end;
            if part.data_bytes == 0 {
                break;
            }
        }
    }
    Ok((content, used, decoder.is_done()))
}

fn refused(text: &str) -> ChunkedError {
    decode(&[text.as_bytes()]).expect_err(text)
}

#[test]
fn content_comes_out_and_what_follows_is_left() {
    let text = b"4\r\nWiki\r\n6;name=\"v\"\r\npedia \r\n0\r\nX-Sum: 1\r\n\r\nGET / HTTP/1.1";
    let (content, used, is_done) = decode(&[text]).unwrap();
    assert_eq!(content, b"Wikipedia ");
    assert!(is_done);
    assert_eq!(&text[used..], b"GET / HTTP/1.1");
}

#[test]
fn sizes_that_are_no_plain_hexadecimal_number_are_refused() {
    for text in [
        "\r\n",
        ";a\r\n",
        " 5\r\n",
        "5 \r\n",
        "+5\r\n",
        "-5\r\n",
        "0x5\r\n",
        "5_0\r\n",
        "g\r\n",
        "1000000000000000\r\n",
        "fffffffffffffffff\r\n",
        "5\u{ff15}\r\n",
    ] {
        assert_eq!(refused(text), ChunkedError::InvalidSize, "{text:?}");
    }
    assert!(decode(&[b"fffffffffffffff\r\n"]).is_ok(), "15 digits are the most");
}

#[test]
fn line_ends_other_than_crlf_are_refused() {
    assert_eq!(refused("5\n"), ChunkedError::InvalidSize);
    assert_eq!(refused("5\rhello"), ChunkedError::MissingCrLf);
    assert_eq!(refused("5\r\nhello\n"), ChunkedError::MissingCrLf);
    assert_eq!(refused("5\r\nhelloX"), ChunkedError::MissingCrLf);
    assert_eq!(refused("5\r\nhello\rX"), ChunkedError::MissingCrLf);
    assert_eq!(refused("5;a\nb"), ChunkedError::InvalidExtension);
    assert_eq!(refused("0\r\nA: b\n"), ChunkedError::InvalidTrailer);
    assert_eq!(refused("0\r\n\rX"), ChunkedError::MissingCrLf);
}

#[test]
fn malformed_trailers_are_refused() {
    for text in [
        "0\r\n: a\r\n\r\n",
        "0\r\nA b\r\n\r\n",
        "0\r\nA : b\r\n\r\n",
        "0\r\n a: b\r\n\r\n",
        "0\r\nA: b\0\r\n\r\n",
        "0\r\nA\r\n\r\n",
    ] {
        assert_eq!(refused(text), ChunkedError::InvalidTrailer, "{text:?}");
    }
}

#[test]
fn extensions_are_allowed_up_to_the_limit() {
    let with = |bytes: usize| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(bytes - 1));
    assert!(decode(&[with(EXTENSION_MAX_BYTES).as_bytes()]).is_ok());
    assert_eq!(refused(&with(EXTENSION_MAX_BYTES + 1)), ChunkedError::ExtensionTooLong);
}

#[test]
fn extensions_of_many_chunks_are_limited_together() {
    let chunk = format!("1;{}\r\na\r\n", "x".repeat(128));
    let fits = EXTENSION_TOTAL_MAX_BYTES / 128;
    assert!(decode(&[chunk.repeat(fits).as_bytes()]).is_ok());
    assert_eq!(refused(&chunk.repeat(fits + 1)), ChunkedError::ExtensionTooLong);
}

#[test]
fn trailers_are_allowed_up_to_the_limit() {
    // Counted are the name, the colon, the value and the line's end.
    let with = |bytes: usize| format!("0\r\nA:{}\r\n\r\n", "x".repeat(bytes - 4));
    assert!(decode(&[with(TRAILER_MAX_BYTES).as_bytes()]).is_ok());
    assert_eq!(refused(&with(TRAILER_MAX_BYTES + 1)), ChunkedError::TrailerTooLong);
}

/// The chunked form of `chunks`.
fn encode(chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut text = Vec::new();
    for chunk in chunks {
        text.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
        text.extend_from_slice(chunk);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"0\r\n\r\n");
    text
}

fn pieces<'a>(text: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
    ends.extend([0, text.len()]);
    ends.sort_unstable();
    ends.windows(2).map(|two| &text[two[0]..two[1]]).collect()
}

proptest! {
    #[test]
    fn any_body_comes_out_however_it_is_cut(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let text = encode(&chunks);
        let (content, used, is_done) = decode(&pieces(&text, &cuts)).unwrap();
        prop_assert_eq!(content, chunks.concat());
        prop_assert_eq!(used, text.len());
        prop_assert!(is_done);
    }

    #[test]
    fn cutting_random_bytes_changes_nothing_and_never_panics(
        text in "[0-9a-f;\r\n:A ]{0,60}",
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        prop_assert_eq!(decode(&pieces(text.as_bytes(), &cuts)), decode(&[text.as_bytes()]));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&[&bytes]);
    }
}
