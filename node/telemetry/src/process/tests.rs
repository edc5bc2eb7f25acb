use super::*;

#[test]
fn names_with_spaces_and_parentheses_are_no_trap() {
    let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 7 8 20 0 9 0 11 1000 77 18446";
    let usage = parse_stat(stat, 4_096, 100);
    assert_eq!(usage.cpu_ms, 2_000);
    assert_eq!(usage.thread_count, 9);
    assert_eq!(usage.resident_bytes, 77 * 4_096);
    assert_eq!(parse_stat("nonsense", 4_096, 100), ProcessUsage::default());
}

#[test]
fn limit_is_the_soft_one() {
    let limits = "Limit   Soft Limit  Hard Limit  Units\nMax open files   20000   40000   files\n";
    assert_eq!(parse_fd_limit(limits), 20_000);
    assert_eq!(parse_fd_limit("Max open files   unlimited   unlimited   files\n"), 0);
}

#[test]
fn this_process_uses_something() {
    let usage = ProcessUsage::read();
    assert!(usage.resident_bytes > 0 && usage.fd_count > 0 && usage.thread_count > 0);
}
