use proptest::prelude::*;

use super::*;

fn owners() -> impl Strategy<Value = Owners> {
    let address = (any::<bool>(), 0u8..4, 1u16..5).prop_map(|(is_udp, host, port)| {
        let transport = if is_udp { Transport::Udp } else { Transport::Tcp };
        (transport, SocketAddr::from(([10, 0, 0, host], port)))
    });
    proptest::collection::btree_map(address, 1u64..4, 0..12)
}

proptest! {
    #[test]
    fn a_diff_leads_to_what_was_desired(actual in owners(), desired in owners()) {
        prop_assert_eq!(apply(&actual, &diff(&actual, &desired)), desired);
    }

    #[test]
    fn nothing_is_to_be_done_where_nothing_differs(actual in owners()) {
        prop_assert_eq!(diff(&actual, &actual), Diff::default());
    }

    #[test]
    fn a_listener_that_stays_is_neither_opened_nor_closed(actual in owners(), desired in owners()) {
        let diff = diff(&actual, &desired);
        for address in actual.keys().filter(|address| desired.contains_key(address)) {
            prop_assert!(!diff.close.contains(address));
            prop_assert!(diff.open.iter().all(|(opened, _)| opened != address));
        }
    }
}
