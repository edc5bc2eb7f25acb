use std::io::{Error, ErrorKind};

use super::*;

const GUIDE: &str = include_str!("../../../../docs/reasons.md");

#[test]
fn the_guide_explains_each_reason_once_under_who_is_at_fault() {
    let mut told = Vec::new();
    let mut side = None;
    for line in GUIDE.lines() {
        side = match line {
            "## What the client did" => Some(Side::Client),
            "## What the configuration says" => Some(Side::Configuration),
            "## What the member did" => Some(Side::Member),
            "## What this node did" => Some(Side::Node),
            _ => side,
        };
        let code = line.strip_prefix("| `").and_then(|rest| rest.split('`').next());
        told.extend(code.map(|code| (code, side)));
    }
    told.sort_by_key(|(code, _)| *code);
    let mut reasons: Vec<_> =
        FailureReason::ALL.iter().map(|reason| (reason.code(), Some(reason.side()))).collect();
    reasons.sort_by_key(|(code, _)| *code);
    assert_eq!(told, reasons);
}

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
