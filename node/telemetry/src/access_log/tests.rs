use std::fs::{self, OpenOptions};
use std::io::Read;

use proptest::prelude::*;

use super::*;
use crate::phase::Phase;
use crate::reason::FailureReason;

fn record(uri: &[u8]) -> AccessRecord<'_> {
    let mut record =
        AccessRecord::new(1_795_416_028_123, "web", "192.0.2.7:50000".parse().unwrap());
    record.method = b"GET";
    record.uri = uri;
    record.host = b"app.example";
    record.protocol = "http/1.1";
    record.status = 502;
    record.reason = Some(FailureReason::ConnectRefused);
    record.pool = "pool";
    record.member = Some("web-1");
    record.attempts = 2;
    record.received_bytes = 10;
    record.sent_bytes = 20;
    record.total_us = 1_234;
    record.phases.set(Phase::Request, 5);
    record.phases.set(Phase::Connect, 6);
    record
}

fn text_of(record: &AccessRecord<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    RecordWriter::new(&mut text, &mut SecondText::default()).line(&LogFormat::Json, record);
    text
}

fn parsed(record: &AccessRecord<'_>) -> serde_json::Value {
    serde_json::from_slice(&text_of(record)).unwrap()
}

#[test]
fn record_is_one_json_object() {
    let expected = serde_json::json!({
        "time": "2026-11-23T06:40:28.123Z",
        "virtual_server": "web",
        "client": "192.0.2.7:50000",
        "method": "GET",
        "uri": "/a?b=\"c\"\\",
        "host": "app.example",
        "protocol": "http/1.1",
        "status": 502,
        "reason": "connect_refused",
        "pool": "pool",
        "member": "web-1",
        "attempts": 2,
        "received_bytes": 10,
        "sent_bytes": 20,
        "total_us": 1_234,
        "request_us": 5,
        "connect_us": 6,
    });
    assert_eq!(parsed(&record(b"/a?b=\"c\"\\")), expected);
}

#[test]
fn time_is_right_on_odd_days() {
    for (time_ms, expected) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_827_696_007, "2000-02-29T12:34:56.007Z"),
        (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
        (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
    ] {
        let record = AccessRecord { time_ms, ..record(b"/") };
        assert_eq!(parsed(&record)["time"], expected);
    }
}

#[test]
fn second_is_cached_but_never_stale() {
    let (mut text, mut second) = (Vec::new(), SecondText::default());
    for time_ms in [999, 1_000, 1_001, 0] {
        let record = AccessRecord { time_ms, ..record(b"/") };
        RecordWriter::new(&mut text, &mut second).line(&LogFormat::Json, &record);
    }
    let text = String::from_utf8(text).unwrap();
    let ends: Vec<_> = text.lines().map(|line| &line[26..33]).collect();
    assert_eq!(ends, ["00.999Z", "01.000Z", "01.001Z", "00.000Z"]);
}

proptest! {
    #[test]
    fn whatever_a_client_sends_is_one_line_of_json(uri: Vec<u8>, host: Vec<u8>) {
        let record = AccessRecord { host: &host, ..record(&uri) };
        let text = text_of(&record);
        prop_assert_eq!(text.iter().filter(|b| **b == b'\n').count(), 1);
        prop_assert!(text.iter().all(|b| *b >= 0x20 || *b == b'\n'));
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let shown = value["uri"].as_str().unwrap_or_default();
        prop_assert_eq!(shown, String::from_utf8_lossy(&uri));
    }
}

#[test]
fn records_of_all_workers_reach_the_file_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let log = AccessLog::start(&AccessLogSink::File(path.clone())).unwrap();
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let mut writer = log.writer();
            std::thread::spawn(move || {
                for i in 0..1_000 {
                    let uri = format!("/{i}");
                    writer.record(&record(uri.as_bytes()));
                }
            })
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    log.shutdown();
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(text.lines().count(), 3_000);
    for line in text.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    let totals = AccessLogTotals { written_total: 3_000, ..AccessLogTotals::default() };
    assert_eq!(log.totals(), totals);
}

#[test]
fn reopening_follows_a_rename() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let log = AccessLog::start(&AccessLogSink::File(path.clone())).unwrap();
    fs::rename(&path, &old).unwrap();
    log.reopen();
    let mut writer = log.writer();
    writer.record(&record(b"/after"));
    writer.flush();
    log.shutdown();
    assert_eq!(fs::read_to_string(old).unwrap(), "");
    assert!(fs::read_to_string(path).unwrap().contains("/after"));
}

#[test]
fn slow_sink_drops_and_counts_instead_of_blocking() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    // A pipe that nobody reads: the writing thread gets stuck once it is full.
    let mut reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let log = AccessLog::start(&AccessLogSink::File(path)).unwrap();
    let mut writer = log.writer();
    let long = vec![b'x'; BUFFER_HANDOVER_BYTES];
    let record_count = QUEUE_MAX_COUNT as u64 + 50;
    for _ in 0..record_count {
        writer.record(&record(&long));
    }
    let dropped = log.totals().dropped_total;
    assert!((1..=50).contains(&dropped), "{dropped}");
    let drain = std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        let mut lines = 0;
        while lines < record_count - dropped {
            let count = reader.read(&mut buffer).unwrap();
            lines += buffer[..count].iter().filter(|b| **b == b'\n').count() as u64;
        }
    });
    log.shutdown();
    drain.join().unwrap();
    assert_eq!(log.totals().written_total, record_count - dropped);
}

#[test]
fn log_that_is_off_costs_nothing() {
    let log = AccessLog::start(&AccessLogSink::Off).unwrap();
    let mut writer = log.writer();
    writer.record(&record(b"/"));
    assert!(!writer.is_on() && writer.buffer.is_empty());
    log.shutdown();
}

#[test]
fn header_fields_that_were_asked_for_stand_in_the_record() {
    let names = ["User-Agent", "x-none", "x-empty", "x-long"].map(str::to_owned);
    let long = vec![b'a'; HEADER_VALUE_MAX_BYTES + 1];
    let mut values = Vec::new();
    for value in [Some(&b"curl\"8"[..]), None, Some(b""), Some(&long)] {
        HeaderValues::keep(&mut values, value);
    }
    let mut record = record(b"/");
    record.request_headers = HeaderValues { names: &names, values: &values };
    let shown = &parsed(&record)["request_headers"];
    assert_eq!(shown["User-Agent"], "curl\"8");
    assert_eq!(shown["x-empty"], "");
    assert_eq!(shown["x-long"].as_str().unwrap().len(), HEADER_VALUE_MAX_BYTES);
    assert!(shown.get("x-none").is_none());
    assert!(parsed(&record).get("response_headers").is_none());
}
