use proptest::prelude::*;

use super::*;

const VERSIONS: [ProxyProtocolVersion; 2] = [ProxyProtocolVersion::V1, ProxyProtocolVersion::V2];

fn client(source: &str, destination: &str) -> Announced {
    Announced::Client { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = V2_SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend((rest.len() as u16).to_be_bytes());
    header.extend(rest);
    header
}

const V4: [u8; 12] = [192, 0, 2, 7, 192, 0, 2, 1, 0xdc, 0x04, 0x01, 0xbb];

#[test]
fn a_line_of_version_1_is_read_and_what_follows_is_left() {
    let line = b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\nGET / HTTP/1.1\r\n";
    let announced = client("192.0.2.7:56324", "192.0.2.1:443");
    assert_eq!(parse(line), Ok(Parsed::Complete { announced, length: 42 }));
    let line = b"PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n";
    let announced = client("[2001:db8::7]:1", "[2001:db8::1]:65535");
    assert_eq!(parse(line), Ok(Parsed::Complete { announced, length: line.len() }));
    for line in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff:f::1 what ever 1 2 3\r\n"] {
        let length = line.len();
        let parsed = parse(line.as_bytes());
        assert_eq!(parsed, Ok(Parsed::Complete { announced: Announced::Local, length }));
    }
}

#[test]
fn a_line_that_is_not_exactly_right_is_refused() {
    for line in [
        "PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\n",
        "PROXY  TCP4 192.0.2.7 192.0.2.1 56324 443\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 56324\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 56324 443 \r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 56324 443 x\r\n",
        "PROXY TCP4 192.0.2.07 192.0.2.1 56324 443\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 056324 443\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 +1 443\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 65536 443\r\n",
        "PROXY TCP4 2001:db8::7 192.0.2.1 1 443\r\n",
        "PROXY TCP6 192.0.2.7 192.0.2.1 1 443\r\n",
        "PROXY UDP4 192.0.2.7 192.0.2.1 1 443\r\n",
        "PROXY unknown\r\n",
        "PROXY UNKNOWN x\ny\r\n",
        "PROXY TCP4 192.0.2.7\u{e9} 192.0.2.1 1 443\r\n",
    ] {
        assert_eq!(parse(line.as_bytes()), Err(HeaderError::Line), "{line:?}");
    }
    for other in ["GET / HTTP/1.1\r\n", "proxy TCP4", "\r\n\r\nX", "\x16\x03\x01"] {
        assert_eq!(parse(other.as_bytes()), Err(HeaderError::Signature), "{other:?}");
    }
}

#[test]
fn a_line_is_bounded_at_the_limit_and_not_below() {
    let line = |length: usize| {
        let mut line = b"PROXY UNKNOWN ".to_vec();
        line.resize(length - 2, b'x');
        line.extend(b"\r\n");
        line
    };
    assert!(matches!(parse(&line(107)), Ok(Parsed::Complete { length: 107, .. })));
    assert_eq!(parse(&line(108)), Err(HeaderError::Line));
    assert_eq!(parse(&line(108)[..106]), Ok(Parsed::Partial));
}

#[test]
fn version_2_is_read_with_and_without_tlvs() {
    let announced = client("192.0.2.7:56324", "192.0.2.1:443");
    let plain = v2(0x21, 0x11, &V4);
    assert_eq!(parse(&plain), Ok(Parsed::Complete { announced, length: 28 }));
    let with_tlvs = [&V4[..], &[0x01, 0, 2, b'h', b'2', 0x04, 0, 0]].concat();
    let with_tlvs = v2(0x21, 0x11, &with_tlvs);
    assert_eq!(parse(&with_tlvs), Ok(Parsed::Complete { announced, length: 36 }));
    for (command, family, rest) in [
        (0x20, 0x00, &[][..]),
        (0x20, 0x11, &V4),
        (0x21, 0x00, b"anything"),
        (0x21, 0x31, &[0; 216]),
    ] {
        let header = v2(command, family, rest);
        let length = header.len();
        assert_eq!(parse(&header), Ok(Parsed::Complete { announced: Announced::Local, length }));
    }
}

#[test]
fn version_2_that_does_not_add_up_is_refused() {
    let tlvs = |tlvs: &[u8]| v2(0x21, 0x11, &[&V4[..], tlvs].concat());
    for (header, error) in [
        (v2(0x31, 0x11, &V4), HeaderError::Command),
        (v2(0x22, 0x11, &V4), HeaderError::Command),
        (v2(0x21, 0x12, &V4), HeaderError::Family),
        (v2(0x21, 0x41, &V4), HeaderError::Family),
        (v2(0x21, 0x11, &V4[..11]), HeaderError::Length),
        (v2(0x21, 0x21, &[0; 35]), HeaderError::Length),
        (v2(0x21, 0x31, &[0; 215]), HeaderError::Length),
        (tlvs(&[1, 0]), HeaderError::Length),
        (tlvs(&[1, 0, 3, 0, 0]), HeaderError::Length),
        (tlvs(&[1, 0, 0, 2]), HeaderError::Length),
    ] {
        assert_eq!(parse(&header), Err(error), "{header:x?}");
    }
}

#[test]
fn version_2_is_bounded_at_the_limit_and_not_below() {
    let local = |length: usize| v2(0x20, 0, &vec![0; length - V2_FIXED_BYTES]);
    assert!(matches!(parse(&local(HEADER_MAX_BYTES)), Ok(Parsed::Complete { .. })));
    assert_eq!(parse(&local(HEADER_MAX_BYTES + 1)), Err(HeaderError::TooLong));
    // Known before it is read.
    assert_eq!(parse(&local(HEADER_MAX_BYTES + 1)[..16]), Err(HeaderError::TooLong));
}

#[test]
fn two_families_become_one() {
    let (v4, v6) = ("192.0.2.7:1".parse().unwrap(), "[2001:db8::1]:2".parse().unwrap());
    for version in VERSIONS {
        let header = header(version, v4, v6);
        let announced = client("[::ffff:192.0.2.7]:1", "[2001:db8::1]:2");
        assert_eq!(parse(&header), Ok(Parsed::Complete { announced, length: header.len() }));
    }
}

fn any_pair() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let v4 = any::<([u8; 4], u16, [u8; 4], u16)>()
        .prop_map(|(s, sp, d, dp)| (SocketAddr::from((s, sp)), SocketAddr::from((d, dp))));
    let v6 = any::<([u8; 16], u16, [u8; 16], u16)>()
        .prop_map(|(s, sp, d, dp)| (SocketAddr::from((s, sp)), SocketAddr::from((d, dp))));
    prop_oneof![v4, v6]
}

proptest! {
    #[test]
    fn what_is_written_is_read_and_every_part_of_it_is_partial(
        (source, destination) in any_pair(),
        is_v1 in any::<bool>(),
        rest in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let header = header(VERSIONS[usize::from(!is_v1)], source, destination);
        let length = header.len();
        let (source, destination) = of_one_family(source, destination);
        let expected = Parsed::Complete {
            announced: Announced::Client { source, destination },
            length,
        };
        prop_assert_eq!(parse(&[&header[..], &rest].concat()), Ok(expected));
        for end in 0..length {
            prop_assert_eq!(parse(&header[..end]), Ok(Parsed::Partial), "{} bytes", end);
        }
    }

    #[test]
    fn no_input_panics_and_more_input_changes_no_verdict(
        mut bytes in prop::collection::vec(any::<u8>(), 0..300),
        start in 0_usize..4,
    ) {
        let starts: [&[u8]; 4] = [b"", b"PROXY ", b"PROXY TCP4 1.2.3.4 ", V2_SIGNATURE];
        bytes.splice(0..0, starts[start].iter().copied());
        let mut verdict = Ok(Parsed::Partial);
        for end in 0..=bytes.len() {
            let parsed = parse(&bytes[..end]);
            if verdict != Ok(Parsed::Partial) {
                prop_assert_eq!(parsed, verdict);
            }
            if let Ok(Parsed::Complete { length, .. }) = parsed {
                prop_assert!(length <= end && length <= HEADER_MAX_BYTES);
            }
            verdict = parsed;
        }
    }
}
