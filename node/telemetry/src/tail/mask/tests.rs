use super::*;

#[test]
fn secrets_in_a_query_are_replaced_and_nothing_else() {
    for (uri, shown) in [
        ("/a/token=x", "/a/token=x"),
        ("/a?", "/a?"),
        ("/a?page=2&q=token", "/a?page=2&q=token"),
        ("/a?access_token=abc&page=2", "/a?access_token=***&page=2"),
        ("/a?page=2;Password=x=y", "/a?page=2;Password=***"),
        ("/a?key=1&keyboard=2&code=3&codec=4", "/a?key=***&keyboard=2&code=***&codec=4"),
        ("/a?X-Amz-Signature=ab&token", "/a?X-Amz-Signature=***&token"),
        ("/a?to%6ben=abc", "/a?to%6ben=***"),
        ("/a?token=", "/a?token=***"),
        ("/a?author=x&auth=y", "/a?author=x&auth=***"),
    ] {
        assert_eq!(String::from_utf8_lossy(&query(uri.as_bytes())), shown);
    }
}

#[test]
fn secret_header_fields_are_replaced_and_absent_ones_stay_absent() {
    let names = ["Authorization", "Cookie", "User-Agent", "X-Api-Key"].map(str::to_owned);
    let mut values = Vec::new();
    for value in [Some(&b"Bearer x"[..]), None, Some(b"curl"), Some(b"k")] {
        HeaderValues::keep(&mut values, value);
    }
    let masked = headers(HeaderValues { names: &names, values: &values });
    let shown: Vec<_> = HeaderValues { names: &names, values: &masked }.iter().collect();
    assert_eq!(shown[0], ("Authorization", Some(&b"***"[..])));
    assert_eq!(shown[1], ("Cookie", None));
    assert_eq!(shown[2], ("User-Agent", Some(&b"curl"[..])));
    assert_eq!(shown[3], ("X-Api-Key", Some(&b"***"[..])));
}
