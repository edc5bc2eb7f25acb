use super::*;

fn parsed(text: &str) -> Result<Cidr, String> {
    text.parse()
}

#[test]
fn networks_are_written_as_they_are_read() {
    for text in ["0.0.0.0/0", "192.0.2.0/24", "192.0.2.7/32", "::/0", "2001:db8::/33"] {
        assert_eq!(parsed(text).unwrap().to_string(), text);
    }
    assert_eq!(parsed("192.0.2.7").unwrap().to_string(), "192.0.2.7/32");
    assert_eq!(parsed("2001:db8::1").unwrap().to_string(), "2001:db8::1/128");
}

#[test]
fn what_is_no_network_is_refused_with_the_right_one() {
    let why = parsed("192.0.2.7/24").unwrap_err();
    assert!(why.contains("192.0.2.0/24"), "{why}");
    for text in ["", "/8", "10.0.0.0/33", "::/129", "10.0.0.0/+8", "10.0.0.0/", "10/8", "x"] {
        assert!(parsed(text).is_err(), "{text:?} was taken");
    }
}

#[test]
fn mapped_addresses_are_those_they_map() {
    assert_eq!(parsed("::ffff:192.0.2.0/120").unwrap(), parsed("192.0.2.0/24").unwrap());
    assert!(parsed("192.0.2.0/24").unwrap().contains("::ffff:192.0.2.9".parse().unwrap()));
    assert!(!parsed("::/0").unwrap().contains("192.0.2.9".parse().unwrap()));
}

#[test]
fn a_network_holds_its_first_and_last_address_and_not_those_beside() {
    let network = parsed("198.51.100.128/25").unwrap();
    for (address, inside) in [
        ("198.51.100.127", false),
        ("198.51.100.128", true),
        ("198.51.100.255", true),
        ("198.51.101.0", false),
    ] {
        assert_eq!(network.contains(address.parse().unwrap()), inside, "{address}");
    }
}
