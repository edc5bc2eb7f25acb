use super::*;

fn matches(field: &FieldMatch, query: &str) -> bool {
    let value = Value::compile(field).unwrap();
    value.matches_query(query.as_bytes(), field.name.as_bytes(), &mut b"left over".to_vec())
}

#[test]
fn parameters_are_compared_without_their_encoding() {
    for query in ["a=b+c", "a=b%20c", "%61=b%20c", "x&a=b+c&y=", "a=1&a=b+c"] {
        assert!(matches(&FieldMatch::equals("a", "b c"), query), "{query}");
        assert!(matches(&FieldMatch::prefix("a", "b "), query), "{query}");
        assert!(matches(&FieldMatch::regex("a", "^b c$"), query), "{query}");
        assert!(matches(&FieldMatch::present("a"), query), "{query}");
    }
    for query in ["", "&", "b=b+c", "aa=b+c", "a=b+cd", "A=b+c", "=b+c"] {
        assert!(!matches(&FieldMatch::equals("a", "b c"), query), "{query}");
    }
}

#[test]
fn a_parameter_without_a_value_is_empty() {
    for query in ["a", "a=", "x=1&a"] {
        assert!(matches(&FieldMatch::present("a"), query));
        assert!(matches(&FieldMatch::equals("a", ""), query));
        assert!(!matches(&FieldMatch::prefix("a", "x"), query));
    }
}

#[test]
fn a_broken_escape_stands_for_itself() {
    assert!(matches(&FieldMatch::equals("a", "%"), "a=%"));
    assert!(matches(&FieldMatch::equals("a", "%4"), "a=%4"));
    assert!(matches(&FieldMatch::equals("a", "%zz"), "a=%zz"));
}
