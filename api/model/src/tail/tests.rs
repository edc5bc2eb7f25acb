use super::*;

#[test]
fn statuses_are_written_as_people_write_them() {
    for (text, first, last) in
        [("503", 503, 503), ("5xx", 500, 599), ("400-404", 400, 404), ("none", 0, 0)]
    {
        let filter: StatusFilter = text.parse().unwrap();
        assert_eq!(filter, StatusFilter { first, last }, "{text}");
        assert_eq!(filter.to_string(), text);
        assert!(filter.contains(first) && filter.contains(last) && !filter.contains(last + 1));
    }
    for text in ["", "6xx", "0xx", "99", "600", "404-400", "4x", "5xx-503", "-", "+200"] {
        assert_eq!(text.parse::<StatusFilter>(), Err(NoStatus), "{text}");
    }
}

#[test]
fn what_is_not_said_has_its_default() {
    let filter: TailFilter = serde_json::from_str("{}").unwrap();
    assert_eq!(filter, TailFilter::default());
    let again = serde_json::to_string(&filter).unwrap();
    assert_eq!(serde_json::from_str::<TailFilter>(&again).unwrap(), filter);
}
