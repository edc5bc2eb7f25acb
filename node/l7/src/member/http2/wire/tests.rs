use super::*;

/// SETTINGS with one parameter (RFC 9113 §6.5).
const SETTINGS: &[u8] = &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1];

#[test]
fn the_first_frame_is_whole_with_its_last_byte_however_it_comes() {
    for piece in 1..=SETTINGS.len() {
        let mut first = FirstFrame::default();
        let mut seen_bytes = 0;
        for bytes in SETTINGS.chunks(piece) {
            seen_bytes += bytes.len();
            assert_eq!(first.see(bytes), seen_bytes == SETTINGS.len(), "{piece}, {seen_bytes}");
        }
    }
    let more = [SETTINGS, &[0; 100]].concat();
    assert!(FirstFrame::default().see(&more));
    assert!(FirstFrame::default().see(&[0, 0, 0, 4, 0, 0, 0, 0, 0]), "SETTINGS without parameters");
}
