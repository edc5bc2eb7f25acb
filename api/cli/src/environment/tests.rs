use super::*;

fn path(config_home: Option<&str>, home: Option<&str>) -> Option<String> {
    let path = settings_path(config_home.map(str::to_owned), home.map(str::to_owned))?;
    Some(path.to_str().unwrap().to_owned())
}

#[test]
fn settings_are_where_xdg_says() {
    assert_eq!(path(Some("/c"), Some("/h")).unwrap(), "/c/ballast/config.toml");
    assert_eq!(path(None, Some("/h")).unwrap(), "/h/.config/ballast/config.toml");
    assert_eq!(path(Some("relative"), Some("/h")).unwrap(), "/h/.config/ballast/config.toml");
    assert_eq!(path(None, None), None);
}
