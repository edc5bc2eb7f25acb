use super::*;
use crate::settings::Credential;

const LB1: &str = "https://lb1:7443";
const LB2: &str = "https://lb2:7443";

fn pinned(digit: &str) -> StoredTrust {
    StoredTrust::CaFingerprint { sha256: digit.repeat(64) }
}

fn stored(trust: StoredTrust) -> Settings {
    Settings::new(LB1, "ada", Credential::Session("session".to_owned()), trust)
}

fn environment(url: Option<&str>, token: Option<&str>, fingerprint: Option<&str>) -> Environment {
    Environment {
        url: url.map(str::to_owned),
        token: token.map(str::to_owned),
        ca_fingerprint: fingerprint.map(|digit| digit.repeat(64)),
        settings_path: None,
    }
}

fn refusal(environment: &Environment, stored: Option<&Settings>) -> String {
    let failure = access(environment, stored).unwrap_err();
    assert_eq!(failure.exit_code(), crate::failure::USAGE);
    failure.render()
}

#[test]
fn without_a_word_from_the_environment_it_is_as_stored() {
    let access = access(&environment(None, None, None), Some(&stored(pinned("a")))).unwrap();
    assert_eq!((access.url.as_str(), access.bearer.as_str()), (LB1, "session"));
    assert_eq!(access.trust, pinned("a"));
}

#[test]
fn the_environment_alone_is_enough() {
    let access = access(&environment(Some(LB2), Some("blst_x"), Some("b")), None).unwrap();
    assert_eq!((access.url.as_str(), access.bearer.as_str()), (LB2, "blst_x"));
    assert_eq!(access.trust, pinned("b"));
}

#[test]
fn a_pinned_cluster_is_recognised_at_another_node() {
    let access = access(&environment(Some(LB2), None, None), Some(&stored(pinned("a")))).unwrap();
    assert_eq!((access.url.as_str(), access.bearer.as_str()), (LB2, "session"));
    assert_eq!(access.trust, pinned("a"));
}

#[test]
fn a_session_is_not_sent_where_nothing_proves_the_cluster() {
    let pem = "x".to_owned();
    for trust in [StoredTrust::System, StoredTrust::Insecure, StoredTrust::CaCertificate { pem }] {
        let said = refusal(&environment(Some(LB2), None, None), Some(&stored(trust.clone())));
        assert!(said.contains("not signed in at https://lb2:7443"), "{said}");
        let token = environment(Some(LB2), Some("blst_x"), None);
        assert_eq!(access(&token, Some(&stored(trust))).unwrap().trust, StoredTrust::System);
    }
    let other_authority = environment(None, None, Some("b"));
    let said = refusal(&other_authority, Some(&stored(pinned("a"))));
    assert!(said.contains("BALLAST_TOKEN"), "{said}");
}

#[test]
fn nobody_signed_in_is_told_how() {
    let said = refusal(&environment(None, Some("blst_x"), None), None);
    assert!(said.contains("ballastctl login URL"), "{said}");
}

#[test]
fn no_credential_goes_over_plain_http() {
    let said = refusal(&environment(Some("http://lb1:7443"), Some("blst_x"), None), None);
    assert!(said.contains("in the clear"), "{said}");
}
