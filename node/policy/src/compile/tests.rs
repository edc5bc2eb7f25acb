use ballast_model::limits::{POLICY_REGEX_MAX_COST, POLICY_REGEX_TOTAL_MAX_COST};
use ballast_model::spec::policy::{Condition as Declared, PathMatch, PolicyRule, syntax};
use proptest::prelude::*;

use super::*;
use crate::decision::Scratch;
use crate::testing::{compiled, get};

/// Patterns of about the largest size that validation lets through.
fn largest() -> Vec<String> {
    let alternatives: Vec<_> = (0..80).map(|i| format!("{i:03}x")).collect();
    let written = [
        ("a", 2),
        ("[ace]", 4),
        (r"\w", 5),
        ("(a)", 4),
        ("(?i)a", 3),
        ("(?:a|bc|def)", 8),
        (".", 3),
    ];
    let mut patterns: Vec<_> = written
        .into_iter()
        .map(|(unit, cost)| {
            let unit =
                unit.strip_prefix("(?i)").map_or(unit.to_owned(), |rest| format!("(?i:{rest})"));
            format!("{unit}{{{}}}", POLICY_REGEX_MAX_COST / cost)
        })
        .filter(|pattern| syntax::Regex::parse(pattern).is_ok())
        .collect();
    assert!(patterns.len() >= 5, "{patterns:?}");
    patterns.push(alternatives.join("|"));
    patterns
}

#[test]
fn the_largest_expressions_that_validation_allows_compile() {
    for pattern in largest() {
        assert!(regex(&pattern).is_ok(), "{pattern}");
    }
}

#[test]
fn a_policy_full_of_large_expressions_compiles_and_decides() {
    let count = POLICY_REGEX_TOTAL_MAX_COST / POLICY_REGEX_MAX_COST;
    let rule = |i: usize| {
        let pattern = format!("^/{i}a{{{}}}$", POLICY_REGEX_MAX_COST / 2 - 4);
        let when = Declared::Path(PathMatch::Regex(pattern));
        PolicyRule::new(format!("r{i}"), Some(when)).then(Action::Pool(format!("p{i}")))
    };
    let policy = compiled(&PolicySpec { rules: (0..count).map(rule).collect() });
    let path = format!("/3{}", "a".repeat(POLICY_REGEX_MAX_COST / 2 - 4));
    let mut scratch = Scratch::default();
    let request = get("a", &path);
    let pool = policy.evaluate(&request, &mut scratch).pool(0);
    assert_eq!(pool.map(|pool| policy.pool(pool)), Some("p3"));
}

#[test]
fn a_rule_fits_a_line_of_the_cache() {
    assert!(size_of::<Rule>() <= 64, "{}", size_of::<Rule>());
}

#[test]
fn what_validation_refuses_does_not_compile_or_panic() {
    for pattern in ["(", "[", "a{99999}{99999}", r"(?u)\w{5000}"] {
        assert!(matches!(regex(pattern), Err(CompileError::Regex { .. })), "{pattern}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn what_validation_lets_through_compiles(pattern in r"[ab.*+?|()\[\]{}0-9^$\\wdsb:i-]{0,24}") {
        if let Ok(parsed) = syntax::Regex::parse(&pattern) {
            let regex = regex(&pattern);
            prop_assert!(regex.is_ok(), "{:?}", regex);
            prop_assert_eq!(regex.unwrap().captures_len(), parsed.group_count);
        }
    }
}
