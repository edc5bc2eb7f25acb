use super::*;

fn hasher() -> ClientHasher {
    ClientHasher::new(&[7; 16])
}

fn source(ipv4_prefix_bits: u8, ipv6_prefix_bits: u8) -> Persistence {
    Persistence::Source { ipv4_prefix_bits, ipv6_prefix_bits, idle_timeout_s: 60 }
}

fn by_source(persistence: &Persistence, address: &str) -> Known {
    hasher().by_source(persistence, address.parse().unwrap()).unwrap()
}

#[test]
fn addresses_of_one_prefix_are_one_client() {
    let same = |persistence: &Persistence, one: &str, other: &str| {
        by_source(persistence, one) == by_source(persistence, other)
    };
    assert!(same(&source(24, 64), "192.0.2.1", "192.0.2.254"));
    assert!(!same(&source(24, 64), "192.0.2.1", "192.0.3.1"));
    assert!(!same(&source(32, 64), "192.0.2.1", "192.0.2.2"));
    assert!(same(&source(32, 64), "2001:db8::1", "2001:db8::2:1"));
    assert!(!same(&source(32, 128), "2001:db8::1", "2001:db8::2"));
    assert!(same(&source(32, 64), "192.0.2.1", "::ffff:192.0.2.1"), "one client, mapped");
    assert_eq!(by_source(&source(32, 64), "192.0.2.1").timeout_ms, 60_000);
}

#[test]
fn the_same_value_under_another_name_is_another_client() {
    let header = |name: &str| Persistence::Header { name: name.to_owned(), idle_timeout_s: 1 };
    let cookie = Persistence::ApplicationCookie { name: "a".to_owned(), idle_timeout_s: 1 };
    let by = |persistence: &Persistence| hasher().by_value(persistence, b"value").unwrap().client;
    assert_eq!(by(&header("a")), by(&header("a")));
    assert_ne!(by(&header("a")), by(&header("b")));
    assert_ne!(by(&header("a")), by(&cookie));
    assert_eq!(hasher().by_value(&cookie, b""), None);
    assert_eq!(hasher().by_value(&source(32, 64), b"value"), None);
    assert_eq!(hasher().by_source(&cookie, "192.0.2.1".parse().unwrap()), None);
    let other = ClientHasher::new(&[8; 16]).by_value(&cookie, b"value").unwrap();
    assert_ne!(other.client, by(&cookie), "another cluster sees another client");
}

#[test]
fn every_node_and_version_makes_the_same_of_the_same() {
    // Golden: a change here would lose every client at the update of one node.
    let cookie = Persistence::ApplicationCookie { name: "SID".to_owned(), idle_timeout_s: 1 };
    let by_cookie = hasher().by_value(&cookie, b"0123456789").unwrap().client;
    let by_source = by_source(&source(32, 64), "192.0.2.7").client;
    assert_eq!(by_cookie.0, 0x12f0_e1b1_fd2a_6356_174c_f8b3_a3fa_fcc0);
    assert_eq!(by_source.0, 0xe0c8_060a_a661_6553_8df4_b2f2_d8bd_b305);
}
