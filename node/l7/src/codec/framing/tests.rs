use super::*;

fn framing(fields: &[(&str, &str)], is_http_10: bool) -> Result<Option<BodyLength>, FramingError> {
    let mut framing = FramingFields::default();
    for (name, value) in fields {
        match *name {
            "cl" => framing.content_length(value.as_bytes())?,
            _ => framing.transfer_encoding(value.as_bytes())?,
        }
    }
    framing.length(is_http_10)
}

#[test]
fn one_content_length_or_chunked_is_understood() {
    assert_eq!(framing(&[], false), Ok(None));
    assert_eq!(framing(&[("cl", "0")], false), Ok(Some(BodyLength::Exact(0))));
    assert_eq!(framing(&[("cl", "42")], true), Ok(Some(BodyLength::Exact(42))));
    assert_eq!(framing(&[("te", "chunked")], false), Ok(Some(BodyLength::Chunked)));
    assert_eq!(framing(&[("te", "ChUnKeD")], false), Ok(Some(BodyLength::Chunked)));
    let max = i64::MAX.to_string();
    assert_eq!(framing(&[("cl", &max)], false), Ok(Some(BodyLength::Exact(i64::MAX as u64))));
}

#[test]
fn a_content_length_that_is_no_plain_number_is_refused() {
    let invalid = [
        "",
        " ",
        "+1",
        "-1",
        "1 ",
        " 1",
        "1 2",
        "0x10",
        "1e3",
        "1_000",
        "1.0",
        "１",
        "1\t",
        "9223372036854775808",
        "18446744073709551616",
        "99999999999999999999",
    ];
    for value in invalid {
        assert_eq!(
            framing(&[("cl", value)], false),
            Err(FramingError::InvalidContentLength),
            "{value:?}"
        );
    }
}

#[test]
fn a_repeated_content_length_is_refused_even_if_equal() {
    assert_eq!(
        framing(&[("cl", "5"), ("cl", "5")], false),
        Err(FramingError::RepeatedContentLength)
    );
    assert_eq!(framing(&[("cl", "5, 5")], false), Err(FramingError::RepeatedContentLength));
    assert_eq!(
        framing(&[("cl", "5"), ("cl", "6")], false),
        Err(FramingError::RepeatedContentLength)
    );
}

#[test]
fn both_lengths_are_refused_in_either_order() {
    assert_eq!(framing(&[("cl", "5"), ("te", "chunked")], false), Err(FramingError::BothLengths));
    assert_eq!(framing(&[("te", "chunked"), ("cl", "5")], false), Err(FramingError::BothLengths));
}

#[test]
fn a_transfer_encoding_other_than_chunked_is_refused() {
    use FramingError::{InvalidTransferEncoding, UnknownTransferCoding};
    for value in [
        "",
        "identity",
        "chunked, identity",
        "chunked, chunked",
        "xchunked",
        "chunked;a=b",
        "\"chunked\"",
        "chunked,",
        ",chunked",
    ] {
        assert_eq!(framing(&[("te", value)], false), Err(InvalidTransferEncoding), "{value:?}");
    }
    assert_eq!(framing(&[("te", "gzip, chunked")], false), Err(UnknownTransferCoding));
    let twice = [("te", "chunked"), ("te", "chunked")];
    assert_eq!(framing(&twice, false), Err(InvalidTransferEncoding));
}

#[test]
fn http_10_knows_no_transfer_encoding() {
    assert_eq!(framing(&[("te", "chunked")], true), Err(FramingError::TransferEncodingInHttp10));
}

#[test]
fn an_exact_body_ends_where_it_should() {
    let mut decoder = BodyDecoder::new(BodyLength::Exact(5));
    assert_eq!(decoder.next(b"abc"), Ok(BodyPart { skip_bytes: 0, data_bytes: 3 }));
    assert!(!decoder.is_done());
    assert_eq!(decoder.next(b"deGET /"), Ok(BodyPart { skip_bytes: 0, data_bytes: 2 }));
    assert!(decoder.is_done());
    assert_eq!(decoder.next(b"GET /"), Ok(BodyPart { skip_bytes: 0, data_bytes: 0 }));
}
