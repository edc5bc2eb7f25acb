use super::*;

fn watch(adjust: impl FnOnce(&mut HttpSettings)) -> FrameWatch {
    let mut http = HttpSettings::default();
    adjust(&mut http);
    let mut watch = FrameWatch::new(FrameLimits::new(&http));
    watch.came(crate::http2::frames::PREFACE, 0);
    watch
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Sees so many of these at the limit without a violation, and one with the next.
fn trips_after(watch: &mut FrameWatch, count: u32, bytes: &[u8], reason: FailureReason) {
    for _ in 0..count {
        watch.came(bytes, 5);
        assert_eq!(watch.violation(), None);
    }
    watch.came(bytes, 5);
    assert_eq!(watch.violation(), Some(reason));
}

#[test]
fn resets_trip_beyond_their_limit() {
    let mut watch = watch(|http| http.http2_limits.reset_max_count = 20);
    let reset = frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8]);
    trips_after(&mut watch, 20, &reset, FailureReason::Http2ResetFlood);
}

#[test]
fn resets_that_a_client_has_us_send_count_too() {
    let mut watch = watch(|http| http.http2_limits.reset_max_count = 20);
    for _ in 0..10 {
        watch.came(&frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8]), 0);
        watch.goes(&frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 3]), 0);
    }
    assert_eq!(watch.violation(), None);
    watch.goes(&frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 1]), 0);
    assert_eq!(watch.violation(), Some(FailureReason::Http2ResetFlood));
}

#[test]
fn resets_of_long_ago_are_forgotten() {
    let mut watch = watch(|http| http.http2_limits.reset_max_count = 20);
    let reset = frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8]);
    for round in 1..=5 {
        for _ in 0..20 {
            watch.came(&reset, round * RATE_WINDOW_MS);
        }
    }
    assert_eq!(watch.violation(), None);
}

#[test]
fn control_frames_trip_beyond_their_limit_but_acknowledgements_do_not() {
    let mut watch = watch(|http| http.http2_limits.control_frame_max_count = 30);
    for _ in 0..100 {
        watch.came(&frame(kind::SETTINGS, flag::ACK, 0, b""), 0);
        watch.came(&frame(kind::PING, flag::ACK, 0, &[0; 8]), 0);
    }
    for _ in 0..10 {
        watch.came(&frame(kind::SETTINGS, 0, 0, b""), 0);
        watch.came(&frame(0x2, 0, 1, &[0; 5]), 0);
    }
    let ping = frame(kind::PING, 0, 0, &[0; 8]);
    trips_after(&mut watch, 10, &ping, FailureReason::Http2ControlFlood);
}

#[test]
fn continuations_of_one_block_trip_beyond_their_limit() {
    let mut watch = watch(|_| {});
    for stream in [1, 3] {
        watch.came(&frame(kind::HEADERS, 0, stream, b"a"), 7);
        assert_eq!(watch.header_since_ms(), Some(7));
        for _ in 1..CONTINUATION_MIN_COUNT {
            watch.came(&frame(kind::CONTINUATION, 0, stream, b"a"), 8);
        }
        watch.came(&frame(kind::CONTINUATION, flag::END_HEADERS, stream, b"a"), 9);
        assert_eq!((watch.header_since_ms(), watch.violation()), (None, None));
    }
    assert_eq!(watch.opened_count(), 2);
    let (whole, rest) = (frame(kind::HEADERS, flag::END_HEADERS, 5, b"ab"), b"b");
    watch.came(&whole[..whole.len() - 1], 7);
    assert_eq!(watch.opened_count(), 2, "its last byte is not there");
    watch.came(rest, 7);
    assert_eq!(watch.opened_count(), 3);
    watch.came(&frame(kind::HEADERS, 0, 5, b"a"), 7);
    let more = frame(kind::CONTINUATION, 0, 5, b"a");
    trips_after(&mut watch, CONTINUATION_MIN_COUNT, &more, FailureReason::Http2ContinuationFlood);
}

#[test]
fn empty_data_trips_beyond_its_limit() {
    let mut watch = watch(|_| {});
    for _ in 0..200 {
        watch.came(&frame(kind::DATA, flag::END_STREAM, 1, b""), 0);
        watch.came(&frame(kind::DATA, 0, 1, b"a"), 0);
    }
    let empty = frame(kind::DATA, 0, 1, b"");
    trips_after(&mut watch, EMPTY_DATA_MAX_COUNT, &empty, FailureReason::Http2EmptyData);
}

#[test]
fn window_updates_are_measured_by_what_was_sent() {
    let update = frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);
    let min_count = WINDOW_UPDATE_MIN_COUNT as u32;
    trips_after(&mut watch(|_| {}), min_count, &update, FailureReason::Http2ControlFlood);
    let mut watch = watch(|_| {});
    watch.goes(&frame(kind::DATA, 0, 1, b"x"), 0);
    let count = min_count + WINDOW_UPDATES_PER_DATA as u32;
    trips_after(&mut watch, count, &update, FailureReason::Http2ControlFlood);
}

#[test]
fn refused_streams_and_last_headers_are_counted() {
    let mut watch = watch(|_| {});
    watch.goes(&frame(kind::RST_STREAM, 0, 9, &[0, 0, 0, 7]), 0);
    watch.goes(&frame(kind::HEADERS, flag::END_STREAM | flag::END_HEADERS, 11, b"x"), 0);
    watch.goes(&frame(kind::HEADERS, flag::END_HEADERS, 13, b"x"), 0);
    watch.goes(&frame(kind::RST_STREAM, 0, 13, &[0, 0, 0, 1]), 0);
    assert_eq!((watch.refused_count(), watch.last_header_count()), (1, 1));
}

#[test]
fn a_header_that_opens_no_stream_is_none_that_is_not_complete() {
    // On stream 0, which is an error of the connection (RFC 9113 §6.2), and without its end.
    let mut watch = watch(|_| {});
    watch.came(&frame(kind::HEADERS, 0, 0, b"a"), 0);
    assert_eq!(watch.opened_count(), 0);
    let partial = frame(kind::HEADERS, flag::END_HEADERS, 0, b"abc");
    watch.came(&partial[..10], 0);
    assert_eq!(watch.opened_count(), 0);
    watch.came(&partial[10..], 0);

    // Trailers that come in pieces do not close the stream that they are on.
    watch.came(&frame(kind::HEADERS, flag::END_HEADERS, 1, b"a"), 0);
    assert_eq!(watch.opened_count(), 1);
    watch.came(&frame(kind::HEADERS, 0, 1, b"a"), 0);
    assert_eq!(watch.opened_count(), 1);
    watch.came(&frame(kind::CONTINUATION, flag::END_HEADERS, 1, b"a"), 0);
    assert_eq!(watch.opened_count(), 1);
    // The next stream counts once its header is there.
    watch.came(&frame(kind::HEADERS, 0, 3, b"a"), 0);
    assert_eq!(watch.opened_count(), 1);
    watch.came(&frame(kind::CONTINUATION, flag::END_HEADERS, 3, b"a"), 0);
    assert_eq!(watch.opened_count(), 2);
}

#[test]
fn a_header_lasts_until_the_end_of_its_last_frame() {
    let mut watch = watch(|_| {});
    let bytes = frame(kind::HEADERS, flag::END_HEADERS, 1, &[0x82; 20]);
    watch.came(&bytes[..8], 1);
    assert_eq!(watch.header_since_ms(), None, "it is not known yet what it is");
    watch.came(&bytes[8..20], 2);
    assert_eq!(watch.header_since_ms(), Some(2));
    watch.came(&bytes[20..], 3);
    assert_eq!(watch.header_since_ms(), None);
    watch.came(&frame(kind::HEADERS, 0, 3, &[0x82; 20]), 4);
    assert_eq!(watch.header_since_ms(), Some(4));
    let bytes = frame(kind::CONTINUATION, flag::END_HEADERS, 3, &[0x82; 20]);
    watch.came(&bytes[..20], 5);
    assert_eq!(watch.header_since_ms(), Some(4), "of the header, not of the frame");
    watch.came(&bytes[20..], 6);
    assert_eq!(watch.header_since_ms(), None);
    watch.came(&frame(kind::DATA, 0, 3, &[0; 20])[..15], 7);
    assert_eq!(watch.header_since_ms(), None);
}
