use super::*;

const SEQUENCE: u32 = 9;

fn message(kind: i32, flags: u16, code: i32) -> Vec<u8> {
    let mut bytes = 20_u32.to_ne_bytes().to_vec();
    bytes.extend(u16::try_from(kind).unwrap().to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(SEQUENCE.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(code.to_ne_bytes());
    bytes
}

#[test]
fn a_list_that_ends_with_an_error_is_one() {
    let mut answers = Answers::default();
    let end = message(libc::NLMSG_DONE, 0, -libc::ENOBUFS);
    let error = answers.take(&end, SEQUENCE).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOBUFS));
    assert!(answers.take(&message(libc::NLMSG_DONE, 0, 0), SEQUENCE).unwrap());
}

#[test]
fn a_list_that_changed_while_it_was_read_is_known_as_such() {
    let entry = i32::from(libc::RTM_NEWLINK);
    let mut answers = Answers::default();
    assert!(!answers.take(&message(entry, 0, 0), SEQUENCE).unwrap());
    assert!(!answers.is_interrupted);
    let datagram = [message(entry, NLM_F_DUMP_INTR, 0), message(libc::NLMSG_DONE, 0, 0)].concat();
    assert!(answers.take(&datagram, SEQUENCE).unwrap());
    assert!(answers.is_interrupted);
    assert_eq!(answers.list.len(), 2);
}

#[test]
fn answers_to_other_requests_are_passed_over() {
    let mut answers = Answers::default();
    let late = message(libc::NLMSG_ERROR, 0, -libc::EPERM);
    assert!(!answers.take(&late, SEQUENCE + 1).unwrap());
    assert!(answers.take(&late, SEQUENCE).is_err());
}
