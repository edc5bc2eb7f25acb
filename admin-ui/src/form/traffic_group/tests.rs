use ballast_model::{AdvertTransport, Signing, TrackedNetwork};

use super::*;

fn group() -> Resource<TrafficGroupSpec> {
    let mut spec = TrafficGroupSpec::new(51, ["192.0.2.10".parse().unwrap()]);
    spec.addresses[0].prefix_length = Some(24);
    spec.network = Some("front".to_owned());
    spec.nodes = vec!["lb2".to_owned(), "lb1".to_owned()];
    spec.transport = AdvertTransport::Unicast;
    spec.signing = Signing::On;
    spec.failback = Failback { enabled: true, delay_s: 7 };
    spec.tracking = Tracking {
        gateways: vec![TrackedGateway { address: "192.0.2.1".parse().unwrap(), weight: 3 }],
        pools: vec![TrackedPool { pool: "web".to_owned(), up_min_percent: 60, weight: 9 }],
        networks: vec![TrackedNetwork { network: "back".to_owned(), weight: 4 }],
    };
    Resource {
        name: "blue".to_owned(),
        labels: [("tier".to_owned(), "front".to_owned())].into(),
        description: "the shop".to_owned(),
        spec,
        uid: "u".to_owned(),
        revision: 7,
        created_at_ms: 1,
        updated_at_ms: 2,
    }
}

fn pointers(errors: &[FieldError]) -> Vec<&str> {
    errors.iter().map(|error| error.pointer.as_str()).collect()
}

#[test]
fn a_form_that_nobody_touched_declares_what_is_there() {
    let group = group();
    let form = TrafficGroupForm::edit(&group);
    assert_eq!(form.revision(), Some(7));
    assert_eq!(form.addresses[0].text, "192.0.2.10/24");
    assert!(form.declare().unwrap().is_as(&group));
}

#[test]
fn a_new_form_proposes_a_vrid_that_no_group_has() {
    assert_eq!(TrafficGroupForm::new(&[]).vrid, "51");
    assert_eq!(TrafficGroupForm::new(&[group()]).vrid, "52");
}

#[test]
fn a_new_form_needs_a_name_and_an_address_and_nothing_more() {
    let mut form = TrafficGroupForm::new(&[]);
    assert_eq!(pointers(&form.declare().unwrap_err()), ["/spec/addresses/0/address"]);
    form.addresses[0].text = " 192.0.2.10 ".to_owned();
    assert_eq!(pointers(&form.declare().unwrap_err()), ["/name"]);
    form.name = "blue".to_owned();
    let wanted = TrafficGroupSpec::new(51, ["192.0.2.10".parse().unwrap()]);
    assert_eq!(form.declare().unwrap().spec, wanted);
}

#[test]
fn inputs_that_can_t_be_read_are_all_named_where_they_are() {
    let mut form = TrafficGroupForm::edit(&group());
    form.vrid = "256".to_owned();
    form.interval_ms = "soon".to_owned();
    form.delay_s = String::new();
    form.addresses.push(AddressForm { key: 1, text: "192.0.2.11/x".to_owned() });
    form.pools[0].weight = "-1".to_owned();
    form.gateways[0].what = "gateway".to_owned();
    form.networks[0].weight = "much".to_owned();
    let errors = form.declare().unwrap_err();
    let mut found = pointers(&errors);
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "/spec/addresses/1/prefix_length",
            "/spec/advert_interval_ms",
            "/spec/failback/delay_s",
            "/spec/tracking/gateways/0/address",
            "/spec/tracking/networks/0/weight",
            "/spec/tracking/pools/0/weight",
            "/spec/virtual_router_id",
        ]
    );
}

#[test]
fn the_models_own_rules_are_checked_too() {
    let mut form = TrafficGroupForm::edit(&group());
    form.interval_ms = "205".to_owned();
    form.addresses.push(AddressForm { key: 1, text: "192.0.2.10".to_owned() });
    let errors = form.declare().unwrap_err();
    assert_eq!(pointers(&errors), ["/spec/addresses/1", "/spec/advert_interval_ms"]);
}
