//! Advertisements of other implementations, as they were captured: read, and written again to the
//! same bytes. Every file in `golden/` is one: comment lines, `family source destination
//! hop_limit`, then the VRRP message in hexadecimal digits.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use ballast_vrrp::Family;
use ballast_vrrp::wire::{ChecksumForm, Datagram, Received, Signature, decode, encode};

const FILES_COUNT_MIN: usize = 3;

struct Golden {
    name: String,
    family: Family,
    source: IpAddr,
    destination: IpAddr,
    hop_limit: u8,
    message: Vec<u8>,
}

fn all() -> Vec<Golden> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut paths: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "hex"));
    assert!(paths.len() >= FILES_COUNT_MIN, "{} has {} files", folder.display(), paths.len());
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Golden {
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let facts: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    let [family, source, destination, hop_limit] = facts[..] else {
        panic!("{name}: {facts:?} is not `family source destination hop_limit`")
    };
    let digits: String = lines.flat_map(str::split_whitespace).collect();
    let message = (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect();
    Golden {
        family: if family == "v4" { Family::V4 } else { Family::V6 },
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        hop_limit: hop_limit.parse().unwrap(),
        message,
        name,
    }
}

fn received(golden: &Golden) -> Received {
    // Hop limits of unicast are not checked.
    let is_multicast = golden.destination.is_multicast();
    let datagram = Datagram {
        source: golden.source,
        destination: golden.destination,
        hop_limit: is_multicast.then_some(golden.hop_limit),
        payload: &golden.message,
    };
    decode(&datagram, None).unwrap_or_else(|reason| panic!("{}: {reason}", golden.name))
}

#[test]
fn captured_advertisements_are_written_again_to_the_same_bytes() {
    for golden in all() {
        let received = received(&golden);
        assert_eq!(received.advertisement.family, golden.family, "{}", golden.name);
        assert_eq!(received.signature, Signature::Absent, "{}", golden.name);
        let again =
            encode(&received.advertisement, golden.destination, received.checksum, None).unwrap();
        assert_eq!(again, golden.message, "{}", golden.name);
    }
}

#[test]
fn both_families_both_makes_and_releases_are_among_them() {
    let all = all();
    let has = |what: &str, is: &dyn Fn(&Golden, &Received) -> bool| {
        assert!(all.iter().any(|golden| is(golden, &received(golden))), "no {what}");
    };
    has("IPv4 of keepalived", &|one, got| {
        one.name.starts_with("keepalived") && got.advertisement.family == Family::V4
    });
    has("IPv6 of keepalived", &|one, got| {
        one.name.starts_with("keepalived") && got.advertisement.family == Family::V6
    });
    has("FRR", &|one, _| one.name.starts_with("frr"));
    has("release", &|_, got| got.advertisement.priority == 0);
    has("checksum with a pseudo-header", &|_, got| {
        got.checksum == ChecksumForm::PseudoHeader && got.advertisement.family == Family::V4
    });
    has("checksum of the RFC", &|_, got| got.checksum == ChecksumForm::Rfc9568);
}
