use ::http::HeaderValue;

use super::*;

fn framed(message: &[u8]) -> Vec<u8> {
    let mut framed = vec![0];
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
    framed.extend_from_slice(message);
    framed
}

#[test]
fn request_names_the_service_as_protobuf_does() {
    assert_eq!(&message("")[..], [0, 0, 0, 0, 0]);
    assert_eq!(&message("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
    let long = message(&"x".repeat(200));
    assert_eq!(&long[..8], [0, 0, 0, 0, 203, 0x0a, 200, 1]);
    assert_eq!(long.len(), 208);
}

#[test]
fn status_is_read_and_fields_of_tomorrow_are_passed_over() {
    assert_eq!(serving_status(&framed(&[8, 1])), Some(1));
    assert_eq!(serving_status(&framed(&[8, 2])), Some(2));
    assert_eq!(serving_status(&framed(&[])), Some(0), "absent is 0");
    let with_others =
        [0x12, 2, 7, 7, 0x1d, 1, 2, 3, 4, 0x21, 0, 0, 0, 0, 0, 0, 0, 0, 0x28, 5, 8, 1];
    assert_eq!(serving_status(&framed(&with_others)), Some(1));
}

#[test]
fn hostile_messages_are_none() {
    for bad in [&[8][..], &[8, 0xff], &[0x12, 9, 1], &[0x0b], &[8; 0], &[0xff; 11]] {
        let framed = framed(bad);
        // The empty one is no fault.
        assert_eq!(serving_status(&framed), bad.is_empty().then_some(0), "{bad:?}");
        assert_eq!(serving_status(&framed[..4]), None);
    }
    let mut compressed = framed(&[8, 1]);
    compressed[0] = 1;
    assert_eq!(serving_status(&compressed), None);
    let mut longer = framed(&[8, 1]);
    longer.push(0);
    assert_eq!(serving_status(&longer), None, "two messages are no unary answer");
    let huge = [0, 0xff, 0xff, 0xff, 0xff, 0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(serving_status(&huge), None);
}

fn told(code: &str, text: &str, message: &[u8]) -> String {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_str(code).unwrap());
    trailers.insert("grpc-message", HeaderValue::from_str(text).unwrap());
    match judge(message, Some(&trailers), "shop", "1 ms") {
        Ok(text) => text,
        Err(Fault::Answer(text)) => text,
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn verdicts_are_told_apart() {
    assert_eq!(told("0", "", &framed(&[8, 1])), "gRPC health of \"shop\" SERVING after 1 ms");
    assert!(told("0", "", &framed(&[8, 2])).contains("NOT_SERVING after 1 ms; expected SERVING"));
    assert!(told("0", "", &framed(&[8, 9])).contains(" 9 after"));
    assert!(told("5", "", &[]).contains("knows no \"shop\" (NOT_FOUND)"));
    assert!(told("12", "", &[]).contains("no gRPC health service (UNIMPLEMENTED)"));
    assert!(told("14", "gone", &[]).contains("gRPC status 14 (UNAVAILABLE) after 1 ms: \"gone\""));
    assert!(told("77", "", &[]).contains("77 (unknown)"));
    assert!(told("x", "", &framed(&[8, 1])).contains("no grpc-status"));
    assert!(told("2", &"y".repeat(5_000), &[]).len() < 300);
    assert!(matches!(judge(&framed(&[8, 1]), None, "", "1 ms"), Err(Fault::Answer(_))));
}
