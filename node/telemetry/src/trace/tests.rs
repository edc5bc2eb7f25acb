use proptest::prelude::*;

use super::*;

const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn a_valid_context_is_read_and_written_back() {
    let context = TraceContext::parse(VALID.as_bytes()).unwrap();
    assert_eq!(context.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
    assert_eq!(context.span_id, 0x00f0_67aa_0ba9_02b7);
    assert!(context.is_sampled);
    assert_eq!(context.to_bytes(), VALID.as_bytes());
    // Flags that we don't know are neither believed nor passed on (§3.2.2.5.2).
    let other = VALID.replace("-01", "-fe");
    let context = TraceContext::parse(other.as_bytes()).unwrap();
    assert!(!context.is_sampled && context.to_bytes().ends_with(b"-00"));
}

#[test]
fn a_later_version_is_read_as_far_as_it_is_known() {
    let later = VALID.replacen("00-", "cc-", 1);
    for valid in [later.clone(), format!("{later}-what-the-future-brings"), format!("{later}-")] {
        let context = TraceContext::parse(valid.as_bytes()).unwrap();
        assert_eq!(context.to_bytes(), VALID.as_bytes());
    }
    assert_eq!(TraceContext::parse(format!("{later}x").as_bytes()), None);
}

#[test]
fn whatever_is_not_valid_begins_anew() {
    for invalid in [
        "",
        "00",
        &VALID[..54],
        &format!("{VALID}-00"),
        &format!("{VALID} "),
        &VALID.to_uppercase(),
        &VALID.replacen("00-", "ff-", 1),
        &VALID.replacen("00-", "0g-", 1),
        &VALID.replace("-4bf", "_4bf"),
        &VALID.replace("-00f", ".00f"),
        &VALID.replace("-01", ":01"),
        &VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
        &VALID.replace("00f067aa0ba902b7", "0000000000000000"),
        &VALID.replace("-01", "-0x"),
    ] {
        assert_eq!(TraceContext::parse(invalid.as_bytes()), None, "{invalid:?}");
    }
}

#[test]
fn identifiers_are_uuids_of_version_7_in_order_of_time() {
    let id = uuid7(0x0190_163d_8694, [0xdead_beef_1234_5678, u64::MAX]);
    assert_eq!(&uuid_text(id), b"0190163d-8694-7678-bfff-ffffffffffff");
    assert!(uuid7(2, [0, 0]) > uuid7(1, [u64::MAX, u64::MAX]));
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(trace_id in 1_u128.., span_id in 1_u64.., is_sampled: bool) {
        let context = TraceContext { trace_id, span_id, is_sampled };
        prop_assert_eq!(TraceContext::parse(&context.to_bytes()), Some(context));
    }

    #[test]
    fn any_bytes_are_read_or_refused(value: Vec<u8>) {
        let _either = TraceContext::parse(&value);
    }
}
