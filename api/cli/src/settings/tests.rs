use super::*;

fn settings() -> Settings {
    let trust = StoredTrust::CaFingerprint { sha256: "ab".repeat(32) };
    Settings::new("https://lb1:7443", "ada", Credential::Session("s3cret".to_owned()), trust)
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn what_is_saved_is_loaded_and_only_the_owner_reads_it() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("config/ballast/config.toml");
    assert!(Settings::load(&path).unwrap().is_none());
    for trust in [
        StoredTrust::CaFingerprint { sha256: "ab".repeat(32) },
        StoredTrust::CaCertificate { pem: "-----BEGIN CERTIFICATE-----\nx\n".to_owned() },
        StoredTrust::Insecure,
        StoredTrust::System,
    ] {
        for credential in
            [Credential::Session("a.b".to_owned()), Credential::Token("blst_x".to_owned())]
        {
            let saved = Settings::new("https://lb1:7443", "ada", credential, trust.clone());
            saved.save(&path).unwrap();
            assert!(Settings::load(&path).unwrap() == Some(saved));
            assert_eq!(mode(&path), 0o600);
        }
    }
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    Settings::remove(&path).unwrap();
    Settings::remove(&path).unwrap();
    assert!(Settings::load(&path).unwrap().is_none());
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
}

#[test]
fn a_file_that_others_could_read_is_replaced_by_one_they_cannot() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("config.toml");
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    settings().save(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn a_file_that_cannot_be_read_says_what_to_do_and_quotes_no_secret() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("config.toml");
    settings().save(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    for broken in [
        text.replace("version = 1", "version = 2"),
        text.replace("s3cret\"", "s3cret"),
        text.replace("user = ", "usr = "),
        text.replace("session = ", "cookie = "),
    ] {
        assert_ne!(broken, text);
        std::fs::write(&path, broken).unwrap();
        let failure = Settings::load(&path).err().unwrap();
        assert_eq!(failure.exit_code(), crate::failure::USAGE);
        let said = failure.render();
        assert!(said.contains("ballastctl login") && !said.contains("s3cret"), "{said}");
    }
}
