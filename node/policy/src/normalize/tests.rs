use proptest::prelude::*;

use super::{host, is_ambiguous, path};

fn host_of(authority: &str) -> String {
    let mut buffer = b"left over".to_vec();
    host(authority.as_bytes(), &mut buffer);
    String::from_utf8(buffer).unwrap()
}

fn path_of(text: &str) -> String {
    String::from_utf8(path(text.as_bytes(), &mut Vec::new()).to_vec()).unwrap()
}

#[test]
fn a_host_is_lower_case_without_port_and_final_dot() {
    for (authority, expected) in [
        ("Example.COM", "example.com"),
        ("example.com:8080", "example.com"),
        ("example.com.", "example.com"),
        ("example.com.:80", "example.com"),
        ("[2001:DB8::1]:443", "[2001:db8::1]"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("[broken", "[broken"),
        ("", ""),
        (":80", ""),
    ] {
        assert_eq!(host_of(authority), expected, "{authority:?}");
    }
}

#[test]
fn a_host_that_is_too_long_is_none() {
    assert_eq!(host_of(&"a".repeat(super::HOST_MAX_BYTES)).len(), super::HOST_MAX_BYTES);
    assert_eq!(host_of(&"a".repeat(super::HOST_MAX_BYTES + 1)), "");
}

#[test]
fn a_path_has_one_form() {
    for (written, expected) in [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a/b/", "/a/b/"),
        ("//a///b//", "/a/b/"),
        ("/%61dmin", "/admin"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/b/..", "/a/"),
        ("/a/.", "/a/"),
        ("/..", "/"),
        ("/../../a", "/a"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/.../b", "/a/.../b"),
        ("/.well-known/x", "/.well-known/x"),
        ("/a;x=1/b;y", "/a/b"),
        ("/a/..;/b", "/b"),
        ("/a/.;x/b", "/a/b"),
        ("/a/;x/b", "/a/b"),
        ("/a/;x", "/a/"),
        ("/a/..;x", "/"),
        ("/a%3bx/b", "/a%3Bx/b"),
        ("/a%2fb", "/a%2Fb"),
        ("/a%252e", "/a%252e"),
        ("/a%", "/a%"),
        ("/a%2", "/a%2"),
        ("/a%zz", "/a%zz"),
        ("/a%0d%0ab", "/a%0D%0Ab"),
        ("*", "*"),
        ("", ""),
        ("a/../b", "a/../b"),
    ] {
        assert_eq!(path_of(written), expected, "{written:?}");
    }
}

proptest! {
    #[test]
    fn normalising_again_changes_nothing(written in "/[a-b./%2e5]{0,24}") {
        let once = path_of(&written);
        prop_assert!(once.starts_with('/'));
        prop_assert!(!once.contains("//"));
        prop_assert!(once.split('/').all(|segment| segment != "." && segment != ".."));
        prop_assert_eq!(path_of(&once), once);
    }
}

#[test]
fn a_path_of_which_members_see_different_segments_is_ambiguous() {
    for path in
        ["/admin%2Fx", "/admin%2fx", "/x%5c..", "/x%5C", "/a\\b", "/x%00", "/%%2f", "/a%2%2F"]
    {
        assert!(is_ambiguous(path.as_bytes()), "{path}");
    }
    for path in ["/", "/a/b", "/a%20b", "/a%252Fb", "/a%2", "/a%", "/%c3%a4", "/a;b"] {
        assert!(!is_ambiguous(path.as_bytes()), "{path}");
    }
}
