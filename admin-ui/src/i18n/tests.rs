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

#[test]
fn every_concern_names_its_group() {
    use crate::ha::Concern;
    let (group, node) = (|| "blue".to_owned(), || "node-b".to_owned());
    let concerns = [
        Concern::Nobody { group: group() },
        Concern::Several { group: group(), owners: vec![node(), "node-c".to_owned()] },
        Concern::Elsewhere { group: group(), heard: node() },
        Concern::NoStandby { group: group(), owner: node() },
        Concern::Degraded { group: group(), node: node() },
        Concern::Out { group: group(), node: node() },
    ];
    for language in Language::ALL {
        for concern in &concerns {
            let text = (language.texts().ha.concern)(concern);
            assert!(text.contains("blue"), "{text}");
            assert!(text.contains("node-b") || matches!(concern, Concern::Nobody { .. }), "{text}");
        }
    }
}

#[test]
fn both_languages_know_the_same_reasons() {
    let codes =
        ["silence", "taken_over", "peer_leaving", "maintenance", "interface_missing", "new"];
    for code in codes {
        let known: Vec<_> =
            Language::ALL.map(|language| (language.texts().ha.reason)(code).is_some()).into();
        assert_eq!(known, [code != "new"; 2], "{code}");
    }
}
