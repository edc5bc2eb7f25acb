use serde_json::json;

use super::*;

fn line(record: &Value) -> String {
    render(record.as_object().unwrap(), false)
}

#[test]
fn a_request_is_one_line_that_drives_no_terminal() {
    let record = json!({
        "node": "lb1", "time": "2026-01-01T00:00:00.000Z", "virtual_server": "web",
        "client": "192.0.2.7:5000", "method": "GET", "host": "a.test", "uri": "/\u{1b}[2J",
        "status": 503, "reason": "no_member", "pool": "blue", "member": "m1", "total_us": 1_250,
    });
    assert_eq!(
        line(&record),
        "2026-01-01T00:00:00.000Z  lb1  192.0.2.7:5000 GET a.test /\\u{1b}[2J  503  1.2 ms  \
         web → blue/m1  no_member"
    );
}

#[test]
fn a_connection_has_no_status_and_what_is_missing_is_left_out() {
    let record = json!({ "node": "lb1", "time": "t", "virtual_server": "db", "client": "c" });
    assert_eq!(line(&record), "t  lb1  c  -  0.0 ms  db");
}
