use super::*;

#[test]
fn the_browsers_language_is_understood() {
    assert_eq!(Language::of_tag("zh-CN"), Language::Chinese);
    assert_eq!(Language::of_tag("zh"), Language::Chinese);
    assert_eq!(Language::of_tag("ZH_Hans"), Language::Chinese);
    assert_eq!(Language::of_tag("en-GB"), Language::English);
    assert_eq!(Language::of_tag("de"), Language::English);
    assert_eq!(Language::of_tag(""), Language::English);
}

#[test]
fn what_was_chosen_is_found_again() {
    for language in Language::ALL {
        assert_eq!(Language::of_tag(language.tag()), language);
        assert_eq!(Language::ALL[language as usize], language);
        assert_eq!(language.other().other(), language);
    }
}

#[test]
fn sentences_hold_what_they_are_about() {
    for language in Language::ALL {
        let t = language.texts();
        assert!((t.drain_title)("web-1").contains("web-1"));
        assert!((t.not_yet_on)("node-b").contains("node-b"));
        assert!((t.problem_count)(3).contains('3'));
        assert!((t.behind)(1).contains('1'));
    }
}

#[test]
fn unknown_faults_are_said_in_the_clusters_words() {
    let error = FieldError {
        pointer: "/spec/x".to_owned(),
        code: "new_code".to_owned(),
        message: "is odd".to_owned(),
        resource: None,
    };
    for language in Language::ALL {
        assert_eq!((language.texts().fault)(&error), "is odd");
    }
}
