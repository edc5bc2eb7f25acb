use std::net::IpAddr;

use super::*;

fn group() -> TrafficGroupSpec {
    let addresses: [IpAddr; 2] = ["192.0.2.10".parse().unwrap(), "2001:db8::10".parse().unwrap()];
    TrafficGroupSpec::new(10, addresses)
}

/// `pointer code` of every fault after `change`.
fn faults(change: impl FnOnce(&mut TrafficGroupSpec)) -> Vec<String> {
    let mut spec = group();
    change(&mut spec);
    let mut errors = FieldErrors::default();
    spec.validate(&mut errors);
    errors.into_vec().iter().map(|error| format!("{} {}", error.pointer, error.code)).collect()
}

#[test]
fn a_group_with_defaults_is_valid_and_signed() {
    assert!(faults(|_| ()).is_empty());
    assert!(group().is_signed());
    assert_eq!(group().families(), (true, true));
}

#[test]
fn a_minimal_document_is_enough() {
    let document = r#"{"virtual_router_id": 7, "addresses": [{"address": "192.0.2.1"}]}"#;
    let spec: TrafficGroupSpec = serde_json::from_str(document).unwrap();
    assert_eq!(spec, TrafficGroupSpec::new(7, ["192.0.2.1".parse().unwrap()]));
    assert_eq!(spec.addresses[0].prefix_length(), 32);
}

#[test]
fn naming_foreign_routers_turns_signing_off_and_forbids_asking_for_it() {
    let foreign: IpAddr = "192.0.2.3".parse().unwrap();
    let mut spec = group();
    spec.foreign_routers.push(foreign);
    assert!(!spec.is_signed());
    let asked = |spec: &mut TrafficGroupSpec| {
        spec.foreign_routers.push(foreign);
        spec.signing = Signing::On;
    };
    assert_eq!(faults(asked), ["/signing not_allowed"]);
}

#[test]
fn each_bound_holds_at_its_limit_and_breaks_beyond() {
    assert_eq!(faults(|spec| spec.virtual_router_id = 0), ["/virtual_router_id out_of_range"]);
    assert!(faults(|spec| spec.advert_interval_ms = ADVERT_INTERVAL_MIN_MS).is_empty());
    assert!(faults(|spec| spec.advert_interval_ms = ADVERT_INTERVAL_MAX_MS).is_empty());
    for beyond in [ADVERT_INTERVAL_MIN_MS - 10, ADVERT_INTERVAL_MAX_MS + 10] {
        let found = faults(|spec| spec.advert_interval_ms = beyond);
        assert_eq!(found, ["/advert_interval_ms out_of_range"]);
    }
    let found = faults(|spec| spec.advert_interval_ms = 205);
    assert_eq!(found, ["/advert_interval_ms not_a_multiple"]);
    assert!(faults(|spec| spec.failback.delay_s = FAILBACK_DELAY_MAX_S).is_empty());
    let found = faults(|spec| spec.failback.delay_s = FAILBACK_DELAY_MAX_S + 1);
    assert_eq!(found, ["/failback/delay_s out_of_range"]);
}

#[test]
fn addresses_must_be_ones_that_can_float() {
    for (address, fault) in [
        ("0.0.0.0", "invalid_address"),
        ("224.0.0.18", "invalid_address"),
        ("127.0.0.1", "invalid_address"),
        ("fe80::1", "invalid_address"),
    ] {
        let address = VirtualAddress::new(address.parse().unwrap());
        let found = faults(|spec| spec.addresses[0] = address);
        assert_eq!(found, [format!("/addresses/0/address {fault}")]);
    }
    assert_eq!(faults(|spec| spec.addresses.clear()), ["/addresses out_of_range"]);
    let found = faults(|spec| spec.addresses[0].prefix_length = Some(33));
    assert_eq!(found, ["/addresses/0/prefix_length out_of_range"]);
    let twice = |spec: &mut TrafficGroupSpec| spec.addresses[1] = spec.addresses[0].clone();
    assert_eq!(faults(twice), ["/addresses/1 duplicate"]);
}
