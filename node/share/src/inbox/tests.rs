use super::*;

#[test]
fn a_message_counts_once_for_each_process_that_sends_it() {
    let mut inbox = Inbox::default();
    assert!(inbox.is_new(1, 7, 1));
    assert!(!inbox.is_new(1, 7, 1), "sent again");
    assert!(inbox.is_new(1, 7, 2));
    assert!(!inbox.is_new(1, 7, 1));
    assert!(inbox.is_new(2, 7, 1), "another node");
    assert!(inbox.is_new(1, 8, 1), "it has started again");
}

#[test]
fn a_node_is_asked_for_everything_every_two_seconds_at_most() {
    let mut inbox = Inbox::default();
    assert!(inbox.may_ask_for_all(1, 10_000));
    assert!(!inbox.may_ask_for_all(1, 11_999));
    assert!(inbox.may_ask_for_all(2, 11_999));
    assert!(inbox.may_ask_for_all(1, 12_000));
}
