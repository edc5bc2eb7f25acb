use super::*;

fn given(field: &str) -> Option<&str> {
    given_value(field.as_bytes(), b"SID").map(|value| std::str::from_utf8(value).unwrap())
}

#[test]
fn a_cookie_that_is_set_names_a_client() {
    assert_eq!(given("SID=abc"), Some("abc"));
    assert_eq!(given("  SID=abc; Path=/; HttpOnly"), Some("abc"));
    assert_eq!(given("SID=a=b;Max-Age=60"), Some("a=b"));
}

#[test]
fn another_cookie_and_one_that_is_deleted_name_none() {
    for field in [
        "",
        "SID",
        "SIDE=abc",
        "OTHER=SID=abc",
        "sid=abc",
        "SID=; Path=/",
        "SID=abc; Max-Age=0",
        "SID=abc; max-age = -1",
        "Path=/; SID=abc",
    ] {
        assert_eq!(given(field), None, "{field}");
    }
}
