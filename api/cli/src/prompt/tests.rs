use super::*;

fn secret(content: &[u8]) -> Result<String, Failure> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, content).unwrap();
    secret_of_file(&file)
}

#[test]
fn only_the_line_break_at_the_end_is_no_part_of_a_secret() {
    assert_eq!(secret(b" a b \n").unwrap(), " a b ");
    assert_eq!(secret(b"ab\r\n").unwrap(), "ab");
    assert_eq!(secret(b"ab").unwrap(), "ab");
    assert_eq!(secret(b"a\nb\n\n").unwrap(), "a\nb\n");
}

#[test]
fn empty_and_huge_files_are_no_secrets() {
    let max = usize::try_from(SECRET_FILE_MAX_BYTES).unwrap();
    assert!(secret(b"\n").is_err());
    assert!(secret(&vec![b'a'; max + 1]).is_err());
    assert_eq!(secret(&vec![b'a'; max]).unwrap().len(), max);
}
