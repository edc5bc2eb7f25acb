use proptest::prelude::*;

use super::*;

fn set(networks: &[&str]) -> AddressSet {
    AddressSet::new(&networks.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>())
}

#[test]
fn neighbours_and_overlaps_become_one_range() {
    let set = set(&["10.0.0.0/25", "10.0.0.128/25", "10.0.0.64/26", "10.0.2.0/24"]);
    assert_eq!(set.v4.len(), 2);
    assert!(set.contains("10.0.0.255".parse().unwrap()));
    assert!(!set.contains("10.0.1.0".parse().unwrap()));
    assert!(!set.contains("10.0.3.0".parse().unwrap()));
}

#[test]
fn everything_and_nothing_are_sets_too() {
    let all = set(&["0.0.0.0/0", "255.255.255.255/32", "::/0"]);
    for address in ["0.0.0.0", "255.255.255.255", "::", "ffff::", "::ffff:1.2.3.4"] {
        assert!(all.contains(address.parse().unwrap()), "{address}");
        assert!(!set(&[]).contains(address.parse().unwrap()), "{address}");
    }
    assert!(!set(&["0.0.0.0/0"]).contains("::1".parse().unwrap()));
}

proptest! {
    #[test]
    fn a_set_holds_what_one_of_its_networks_holds(
        networks in proptest::collection::vec((0..64_u32, 26..=32_u8), 0..12),
        address in 0..70_u32,
    ) {
        let networks: Vec<Cidr> = networks
            .into_iter()
            .map(|(bits, length)| {
                let bits = bits & u32::MAX << (32 - length);
                Cidr::new(IpAddr::V4(bits.into()), length).unwrap()
            })
            .collect();
        let address = IpAddr::V4(address.into());
        let expected = networks.iter().any(|network| network.contains(address));
        prop_assert_eq!(AddressSet::new(&networks).contains(address), expected);
    }
}
