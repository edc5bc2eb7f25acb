use std::time::Duration;

use super::*;

fn local(folder: &std::path::Path) -> (UnixDatagram, Syslog) {
    let path = folder.join("log");
    let daemon = UnixDatagram::bind(&path).unwrap();
    daemon.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let target = SyslogTarget {
        address: SyslogAddress::Local(path),
        facility: facility("local0").unwrap(),
        hostname: "node 1".to_owned(),
    };
    (daemon, Syslog::open(&target).unwrap())
}

fn received(daemon: &UnixDatagram) -> String {
    let mut datagram = vec![0; 2 * DATAGRAM_MAX_BYTES];
    let length = daemon.recv(&mut datagram).unwrap();
    String::from_utf8(datagram[..length].to_vec()).unwrap()
}

#[test]
fn each_record_is_a_datagram_of_rfc_5424() {
    let folder = tempfile::tempdir().unwrap();
    let (daemon, mut syslog) = local(folder.path());
    let (outcome, result) = syslog.write(b"{\"a\":1}\n{\"b\":2}\n");
    result.unwrap();
    assert_eq!(outcome, Outcome { written_count: 2, lost_count: 0 });
    let (first, second) = (received(&daemon), received(&daemon));
    let parts: Vec<_> = first.splitn(8, ' ').collect();
    let process = std::process::id().to_string();
    assert_eq!(parts[0], "<134>1");
    assert!(parts[1].ends_with('Z') && parts[1].len() == "2026-01-01T00:00:00.000Z".len());
    assert_eq!(parts[2..], ["node1", "ballastd", &process, "access", "-", "{\"a\":1}"]);
    assert!(second.ends_with(" {\"b\":2}"));
}

#[test]
fn long_records_are_cut_between_characters() {
    let folder = tempfile::tempdir().unwrap();
    let (daemon, mut syslog) = local(folder.path());
    for offset in 0..2 {
        let line = "x".repeat(offset) + &"é".repeat(DATAGRAM_MAX_BYTES) + "\n";
        assert_eq!(syslog.write(line.as_bytes()).0.written_count, 1);
        let length = received(&daemon).len();
        assert!((DATAGRAM_MAX_BYTES - 1..=DATAGRAM_MAX_BYTES).contains(&length), "{length}");
    }
}

#[test]
fn what_the_daemon_does_not_take_is_counted_as_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (daemon, mut syslog) = local(folder.path());
    // Nobody reads: once the socket's queue is full, a record waits for its time and is lost.
    let lost = (0..4_096).find_map(|_| {
        let (outcome, _) = syslog.write(b"x\n");
        (outcome.lost_count > 0).then_some(outcome)
    });
    assert_eq!(lost, Some(Outcome { written_count: 0, lost_count: 1 }));
    drop(daemon);
    assert_eq!(syslog.write(b"x\n").0.lost_count, 1, "gone altogether");
}

#[test]
fn udp_reaches_a_daemon_elsewhere() {
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    daemon.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let address = SyslogAddress::Udp(daemon.local_addr().unwrap());
    let target = SyslogTarget { address, facility: 23, hostname: String::new() };
    let mut syslog = Syslog::open(&target).unwrap();
    assert_eq!(syslog.write(b"x\n").0.written_count, 1);
    let mut datagram = [0; 256];
    let length = daemon.recv(&mut datagram).unwrap();
    let text = std::str::from_utf8(&datagram[..length]).unwrap();
    assert!(text.starts_with("<190>1 ") && text.contains(" - ballastd ") && text.ends_with(" x"));
}

#[test]
fn facilities_have_their_numbers() {
    assert_eq!(facility("kern"), Some(0));
    assert_eq!(facility("local7"), Some(23));
    assert_eq!(facility("local8"), None);
}
