use std::io::{Error, ErrorKind};

use super::*;

#[test]
fn what_this_node_runs_short_of_is_no_fault_of_the_member() {
    let shortages = [
        Error::from(ErrorKind::AddrInUse),
        Error::from(ErrorKind::AddrNotAvailable),
        Error::from_raw_os_error(24),
    ];
    for error in shortages {
        let reason = FailureReason::of_connect(&error);
        assert_eq!(reason, FailureReason::Overload, "{error}");
        assert!(!reason.is_members_fault());
    }
    let refused = FailureReason::of_connect(&ErrorKind::ConnectionRefused.into());
    assert_eq!(refused, FailureReason::ConnectRefused);
    assert!(refused.is_members_fault());
}
