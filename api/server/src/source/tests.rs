use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn an_ipv6_network_counts_as_one_and_a_mapped_address_as_ipv4() {
    assert_eq!(network(ip("192.0.2.7")), ip("192.0.2.7"));
    assert_eq!(network(ip("::ffff:192.0.2.7")), ip("192.0.2.7"));
    assert_eq!(network(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
}

#[test]
fn a_source_holds_its_share_and_no_more_and_gives_it_back() {
    let shares = Shares::default();
    let first = shares.take(ip("2001:db8::1"), 2);
    let second = shares.take(ip("2001:db8::2"), 2);
    assert!(first.is_some() && second.is_some());
    assert!(shares.take(ip("2001:db8::3"), 2).is_none());
    assert!(shares.take(ip("2001:db8:0:1::3"), 2).is_some(), "another network");
    drop(first);
    assert!(shares.take(ip("2001:db8::3"), 2).is_some());
    drop(second);
    assert!(shares.held.lock().unwrap().is_empty());
}
