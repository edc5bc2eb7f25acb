use proptest::prelude::*;

use super::*;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn seen(scanner: &mut FrameScanner, bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    scanner.advance(bytes, |frame| frames.push(frame));
    frames
}

#[test]
fn frames_are_seen_behind_the_preface() {
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(kind::SETTINGS, 0, 0, &[0; 12]));
    bytes.extend(frame(kind::HEADERS, flag::END_STREAM | flag::END_HEADERS, 1, b"abc"));
    bytes.extend(frame(kind::RST_STREAM, 0, 1, &8u32.to_be_bytes()));
    bytes.extend(frame(kind::GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 11, b'x']));
    bytes.extend(frame(kind::DATA, 0, 3, b""));
    let frames = seen(&mut FrameScanner::from_client(), &bytes);
    let told: Vec<_> = frames.iter().map(|f| (f.kind, f.length, f.stream, f.code)).collect();
    let wanted = [
        (kind::SETTINGS, 12, 0, 0),
        (kind::HEADERS, 3, 1, 0),
        (kind::RST_STREAM, 4, 1, 8),
        (kind::GOAWAY, 9, 0, 11),
        (kind::DATA, 0, 3, 0),
    ];
    assert_eq!(told, wanted);
    assert!(frames[1].has(flag::END_STREAM) && !frames[1].has(flag::PADDED));
}

#[test]
fn a_payload_too_short_for_a_code_has_none() {
    let bytes = [frame(kind::RST_STREAM, 0, 1, b"ab"), frame(kind::PING, 0, 0, &[7; 8])].concat();
    let frames = seen(&mut FrameScanner::from_server(), &bytes);
    assert_eq!(frames.len(), 2);
    assert_eq!((frames[0].code, frames[1].kind), (0, kind::PING));
}

proptest! {
    #[test]
    fn how_bytes_are_cut_does_not_matter(
        bytes in proptest::collection::vec(0u8..12, 0..400),
        cuts in proptest::collection::vec(0usize..400, 0..8),
    ) {
        let whole = seen(&mut FrameScanner::from_server(), &bytes);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.push(bytes.len());
        cuts.sort_unstable();
        let mut scanner = FrameScanner::from_server();
        let mut pieces = Vec::new();
        let mut start = 0;
        for cut in cuts {
            pieces.extend(seen(&mut scanner, &bytes[start..cut]));
            start = cut;
        }
        prop_assert_eq!(pieces, whole);
    }
}
