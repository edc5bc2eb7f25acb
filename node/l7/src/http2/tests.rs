use super::*;

/// Most memory that a stream's task may take besides buffers, in bytes.
const STREAM_MAX_BYTES: usize = 5 * 1024;

#[test]
fn a_stream_is_small() {
    fn size_of_result<F>(_run: fn(Start) -> F) -> usize {
        size_of::<F>()
    }
    let size_bytes = size_of_result(run_stream);
    assert!(size_bytes <= STREAM_MAX_BYTES, "{size_bytes} bytes");
}
