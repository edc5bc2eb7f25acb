use super::*;

#[test]
fn values_are_found_in_cookies() {
    let header = b"a=1; key=two=2;b; keys=no ;key=later";
    assert_eq!(cookie_value(header, b"key"), Some(&b"two=2"[..]));
    assert_eq!(cookie_value(header, b"b"), None);
    assert_eq!(cookie_value(header, b"ke"), None);
    assert_eq!(cookie_value(b"", b"a"), None);
}

#[test]
fn values_are_found_in_queries() {
    let target = b"/path?a=1&key=v%20w&key=x&flag&empty=";
    assert_eq!(query_value(target, b"key"), Some(&b"v%20w"[..]));
    assert_eq!(query_value(target, b"flag"), Some(&b""[..]));
    assert_eq!(query_value(target, b"empty"), Some(&b""[..]));
    assert_eq!(query_value(target, b"path"), None);
    assert_eq!(query_value(b"/key=1", b"key"), None);
}

#[test]
fn path_ends_before_the_query() {
    assert_eq!(path(b"/a/b?c?d"), b"/a/b");
    assert_eq!(path(b"/a"), b"/a");
    assert_eq!(path(b"*"), b"*");
}

#[test]
fn hashes_are_the_same_in_every_version() {
    let address: IpAddr = "192.0.2.1".parse().unwrap();
    let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
    assert_eq!(KeyHash::of_address(address), KeyHash::of_address(mapped));
    assert_eq!(KeyHash::of_address(address), KeyHash::of_bytes(&[192, 0, 2, 1]));
    assert_eq!(KeyHash::of_bytes(b"key").0, 5_223_813_793_542_995_580);
}
