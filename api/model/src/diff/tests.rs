use serde_json::json;

use super::*;

#[test]
fn each_field_that_differs_is_told_with_both_values() {
    let before = json!({"a": 1, "gone": true, "list": [1, 2], "same/~": {"x": 1}});
    let after = json!({"a": 2, "list": [1, 3, 4], "same/~": {"x": 2}});
    let found = diff(&before, &after);
    let shown: Vec<_> =
        found.iter().map(|d| format!("{} {:?} {:?}", d.pointer, d.before, d.after)).collect();
    assert_eq!(
        shown,
        [
            "/a Some(Number(1)) Some(Number(2))",
            "/gone Some(Bool(true)) None",
            "/list/1 Some(Number(2)) Some(Number(3))",
            "/list/2 None Some(Number(4))",
            "/same~1~0/x Some(Number(1)) Some(Number(2))",
        ]
    );
    assert!(diff(&before, &before).is_empty());
}
