use super::*;

fn names(section: &[u8]) -> Vec<String> {
    let text = |line: &[u8]| String::from_utf8(line.to_vec()).unwrap();
    passed_on(section).map(text).collect()
}

#[test]
fn lines_go_on_as_they_came() {
    let section = b"Grpc-Status: 0\r\nServer-Timing: a;dur=1, b\r\nX-Sum: 5:6\r\n";
    assert_eq!(
        names(section),
        ["Grpc-Status: 0\r\n", "Server-Timing: a;dur=1, b\r\n", "X-Sum: 5:6\r\n"]
    );
    assert_eq!(names(b""), [] as [&str; 0]);
}

#[test]
fn what_a_trailer_may_not_hold_stays_behind() {
    for name in FORBIDDEN {
        let upper = name.to_ascii_uppercase();
        let section = [&upper[..], b": x\r\nA: b\r\n"].concat();
        assert_eq!(names(&section), ["A: b\r\n"], "{}", String::from_utf8_lossy(name));
    }
    assert_eq!(names(b"X-Forwarded-For: 1.2.3.4\r\nx-forwarded-any: y\r\n"), [] as [&str; 0]);
    assert_eq!(names(b"X_Forwarded-For: 1.2.3.4\r\nContent_Length: 5\r\n"), [] as [&str; 0]);
    assert!(FORBIDDEN.is_sorted());
}

#[test]
fn the_status_of_a_call_is_a_number_that_fits() {
    let status = |section: &[u8]| grpc_status(fields_of(section));
    assert_eq!(status(b"X: 1\r\nGRPC-Status:\t16 \r\nGrpc-Message: a:b\r\n"), Some(16));
    assert_eq!(status(b"grpc-status:0\r\n"), Some(0));
    assert_eq!(status(b"grpc-status: 255\r\n"), Some(255));
    for none in [&b""[..], b"X-Grpc-Status: 1\r\n", b"grpc-status: 256\r\n", b"grpc-status: -1\r\n"]
    {
        assert_eq!(status(none), None, "{}", String::from_utf8_lossy(none));
    }
}
