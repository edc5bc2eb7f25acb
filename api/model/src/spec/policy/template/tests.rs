use super::*;

#[test]
fn variables_groups_and_dollars_are_told_apart() {
    let template = Template::new("a${host}$$b$1${path}");
    let pieces = template.pieces().unwrap();
    let expected = [
        Piece::Literal("a"),
        Piece::Variable(Variable::Host),
        Piece::Literal("$"),
        Piece::Literal("b"),
        Piece::Capture(1),
        Piece::Variable(Variable::Path),
    ];
    assert_eq!(pieces, expected);
}

#[test]
fn every_variable_is_found_by_its_name() {
    for variable in Variable::ALL {
        let template = Template::new(format!("${{{}}}", variable.as_str()));
        assert_eq!(template.pieces().unwrap(), [Piece::Variable(variable)]);
    }
}

#[test]
fn a_dollar_without_meaning_is_refused() {
    for text in ["$", "$x", "a$ b", "${", "${host", "${hosts}", "${}"] {
        assert!(Template::new(text).pieces().is_err(), "{text:?} was taken");
    }
}

fn fault(text: &str, place: Place) -> Option<String> {
    let mut errors = FieldErrors::default();
    Template::new(text).validate(&mut errors, "t", place);
    errors.into_vec().first().map(|error| error.code.clone())
}

#[test]
fn a_place_takes_only_text_that_can_stand_there() {
    assert_eq!(fault("blue, ${client_address}", Place::FieldValue), None);
    for bad in ["a\r\nb: c", "a\nb", "a\0", "é", " a", "a "] {
        assert_eq!(fault(bad, Place::FieldValue).as_deref(), Some("invalid_header_value"));
    }
    assert_eq!(fault("www.${host}", Place::Host), None);
    for bad in ["a/b", "a:80", "a@b", ""] {
        assert_eq!(fault(bad, Place::Host).as_deref(), Some("invalid_host"));
    }
    let path = Place::Path { group_count: 0 };
    assert_eq!(fault("/x${path}", path), None);
    assert_eq!(fault("${path}", path), None);
    for bad in ["x", "", "${host}", "/a?b", "/a#b", "/a b", "/\\evil"] {
        assert_eq!(fault(bad, path).as_deref(), Some("invalid_path"), "{bad:?}");
    }
    assert_eq!(fault("a=${host}&b", Place::Query), None);
    assert_eq!(fault("a#b", Place::Query).as_deref(), Some("invalid_query"));
}

#[test]
fn groups_are_for_expressions_that_have_them() {
    assert_eq!(fault("/$1", Place::Path { group_count: 2 }), None);
    assert!(fault("/$2", Place::Path { group_count: 2 }).is_some());
    assert!(fault("/$0", Place::Path { group_count: 0 }).is_some());
    assert!(fault("$1", Place::FieldValue).is_some());
}
