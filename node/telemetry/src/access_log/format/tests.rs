use proptest::prelude::*;

use super::super::record::{HeaderValues, SecondText};
use super::*;
use crate::reason::FailureReason;

fn line(format: &str, record: &AccessRecord<'_>) -> String {
    let format = LogFormat::parse(format).unwrap();
    let mut text = Vec::new();
    RecordWriter::new(&mut text, &mut SecondText::default()).line(&format, record);
    String::from_utf8(text).unwrap()
}

fn record() -> AccessRecord<'static> {
    AccessRecord::new(1_795_416_028_123, "web", "[2001:db8::1]:50000".parse().unwrap())
}

#[test]
fn variables_become_values_and_the_rest_stays() {
    let mut record = record();
    record.method = b"GET";
    record.uri = b"/a\"b";
    record.status = 200;
    record.phases.set(Phase::FirstByte, 17);
    assert_eq!(
        line(
            r#"$$ $client_address:${client_port} "$method $uri" $status/$first_byte_us;"#,
            &record
        ),
        "$ 2001:db8::1:50000 \"GET /a\\\"b\" 200/17;\n"
    );
    assert_eq!(line("$time", &record), "2026-11-23T06:40:28.123Z\n");
}

#[test]
fn every_variable_is_a_dash_or_its_value() {
    let empty = record();
    let mut full = record();
    let (names, mut values) = (["age".to_owned()], Vec::new());
    HeaderValues::keep(&mut values, Some(b"7"));
    full.request_id = b"id";
    full.trace_id = 1;
    full.protocol = "HTTP/1.1";
    full.tls_version = "1.3";
    (full.method, full.uri, full.host) = (b"GET", b"/", b"a");
    (full.status, full.grpc_status) = (503, Some(14));
    full.reason = Some(FailureReason::NoMember);
    (full.rule, full.pool, full.member) = ("p/r", "pool", Some("m"));
    full.response_headers = HeaderValues { names: &names, values: &values };
    let text = |name: &str| matches!(name, "client" | "client_address" | "client_port" | "time");
    let number = |name: &str| name.ends_with("bytes") || matches!(name, "attempts" | "total_us");
    for (name, _) in Plain::NAMED {
        let shown = line(&format!("${{{name}}}"), &empty);
        if !text(name) && !number(name) && !matches!(*name, "time_ms" | "virtual_server") {
            assert_eq!(shown, "-\n", "{name}");
        }
        assert_ne!(line(&format!("${name}"), &full), "-\n", "{name}");
    }
    for phase in Phase::ALL {
        assert_eq!(line(&format!("${}_us", phase.as_str()), &empty), "-\n");
    }
    assert_eq!(line("${response_header.Age} ${request_header.age}", &full), "7 -\n");
}

#[test]
fn faults_say_what_and_where() {
    for (format, expected) in [
        ("", "is empty"),
        ("a\nb", "control character at byte 1"),
        ("ab $", "$ at byte 3"),
        ("${uri", "$ at byte 0"),
        ("${}", "$ at byte 0"),
        ("$colour", "unknown variable \"colour\""),
        ("${request_header.}", "unknown variable"),
    ] {
        let error = LogFormat::parse(format).unwrap_err().to_string();
        assert!(error.contains(expected), "{format:?}: {error}");
    }
}

#[test]
fn limits_hold_at_the_limit_and_break_one_further() {
    assert!(LogFormat::parse(&"a".repeat(FORMAT_MAX_BYTES)).is_ok());
    assert_eq!(LogFormat::parse(&"a".repeat(FORMAT_MAX_BYTES + 1)), Err(FormatError::TooLong));
    assert!(LogFormat::parse(&"$uri ".repeat(VARIABLE_MAX_COUNT)).is_ok());
    let many = "$uri ".repeat(VARIABLE_MAX_COUNT + 1);
    assert_eq!(LogFormat::parse(&many), Err(FormatError::TooManyVariables));
}

proptest! {
    #[test]
    fn any_format_is_read_or_refused(format: String) {
        let _either = LogFormat::parse(&format);
    }

    #[test]
    fn whatever_a_client_sends_is_one_line(uri: Vec<u8>) {
        let mut record = record();
        record.uri = &uri;
        let text = line("\"$uri\"", &record);
        prop_assert_eq!(text.matches('\n').count(), 1);
        prop_assert!(text.trim_end().bytes().all(|byte| byte >= 0x20));
    }
}
