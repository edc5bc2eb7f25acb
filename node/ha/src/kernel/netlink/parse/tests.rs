use super::*;

/// One netlink message with this type and payload.
fn framed(message_type: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + payload.len()).expect("short");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(message_type.to_ne_bytes());
    bytes.extend(0_u16.to_ne_bytes());
    bytes.extend(7_u32.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(payload);
    bytes
}

#[test]
fn several_messages_of_a_datagram_are_all_taken() {
    let mut bytes = framed(NLMSG_ERROR, &0_i32.to_ne_bytes());
    bytes.extend(framed(NLMSG_ERROR, &(-libc::ENODEV).to_ne_bytes()));
    let all: Vec<_> = messages(&bytes).map(Result::unwrap).collect();
    assert!(all.iter().all(|message| message.sequence == 7));
    assert!(matches!(all[0].answer, Answer::Error(Ok(()))));
    let Answer::Error(Err(error)) = &all[1].answer else { panic!("an error was sent") };
    assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    assert_eq!(all.len(), 2);
}

#[test]
fn cut_messages_are_errors_and_end() {
    let mut payload = vec![libc::AF_INET as u8, 32, 0, 0];
    payload.extend(3_u32.to_ne_bytes());
    payload.extend([8, 0, 2, 0, 192, 0, 2, 7]);
    let whole = framed(libc::RTM_NEWADDR, &payload);
    assert!(matches!(
        messages(&whole).next(),
        Some(Ok(Message { answer: Answer::Seen(Seen::Address { device: 3, .. }), .. }))
    ));
    for length in 1..whole.len() {
        let all: Vec<_> = messages(&whole[..length]).collect();
        assert!(matches!(all[..], [Err(_)]), "{length} bytes");
    }
    // The message says its length right, the attribute does not.
    for length in 1..8 {
        let cut = framed(libc::RTM_NEWADDR, &payload[..8 + length]);
        assert!(matches!(messages(&cut).next(), Some(Err(_))), "{length} bytes of attribute");
    }
}
