use super::*;

fn parse(text: &str) -> Result<NodeConfig, ConfigError> {
    NodeConfig::parse(text, Path::new("node.toml"))
}

const LEAST: &str = "name = \"n1\"\n[cluster]\nlisten = \"10.0.0.1:7400\"\n";

#[test]
fn the_example_is_valid_and_shows_every_key_with_its_default() {
    parse(EXAMPLE).unwrap();
    let uncommented: String = EXAMPLE
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .filter(|line| !line.starts_with("any_ip") && !line.contains("_file = "))
        .map(|line| format!("{line}\n"))
        .collect();
    let shown = parse(&uncommented).unwrap();
    assert_eq!(shown, parse(EXAMPLE).unwrap(), "a commented key is not at its default");
}

#[test]
fn defaults_serve_a_node_that_says_only_who_and_where_it_is() {
    let config = parse(LEAST).unwrap();
    assert_eq!(config.role, NodeRole::Traffic);
    assert_eq!(config.cluster_advertise, "10.0.0.1:7400");
    assert_eq!(config.api_addresses(), ["10.0.0.1:7443"]);
    assert!(config.workers >= 1);
}

#[test]
fn every_fault_is_told_at_once() {
    let text = "name = \"no good\"\n[cluster]\nlisten = \"0.0.0.0:7400\"\n[api]\n\
                certificate_file = \"a\"\n[data_plane]\nworkers = 257\ndrain_timeout_s = 3601\n\
                buffering_max_bytes = 1048575\n[log]\nlevel = \"a=b=c\"\n";
    let Err(ConfigError::Invalid { faults, .. }) = parse(text) else { panic!("accepted") };
    let keys: Vec<_> = faults.iter().map(|f| f.split(':').next().unwrap()).collect();
    assert_eq!(
        keys,
        [
            "name",
            "cluster.advertise",
            "api.certificate_file and api.private_key_file",
            "data_plane.workers",
            "data_plane.drain_timeout_s",
            "data_plane.buffering_max_bytes",
            "log.level"
        ]
    );
    assert!(parse(&text.replace("257", "256").replace("3601", "3600")).is_err());
}

#[test]
fn an_unknown_key_is_named() {
    let error = parse(&format!("colour = 1\n{LEAST}")).unwrap_err();
    let ConfigError::Parse { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().contains("colour"), "{source}");
}

fn with_log(keys: &str) -> Result<NodeConfig, ConfigError> {
    parse(&format!("{LEAST}[log]\n{keys}"))
}

fn log_faults(keys: &str) -> Vec<String> {
    match with_log(keys) {
        Err(ConfigError::Invalid { faults, .. }) => faults,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_access_log_goes_where_the_file_says() {
    use ballast_telemetry::AccessLogSink::*;
    use ballast_telemetry::access_log::{SyslogAddress, SyslogTarget};
    let syslog =
        |address| Syslog(SyslogTarget { address, facility: 16, hostname: "n1".to_owned() });
    for (setting, expected) in [
        ("", Off),
        ("-", Stderr),
        ("stderr", Stderr),
        ("stdout", Stdout),
        ("/var/log/a.log", File("/var/log/a.log".into())),
        ("syslog", syslog(SyslogAddress::Local("/dev/log".into()))),
        ("syslog:/run/log", syslog(SyslogAddress::Local("/run/log".into()))),
        ("syslog:192.0.2.1:514", syslog(SyslogAddress::Udp("192.0.2.1:514".parse().unwrap()))),
        ("syslog:[::1]:514", syslog(SyslogAddress::Udp("[::1]:514".parse().unwrap()))),
    ] {
        let config = with_log(&format!("access_log = {setting:?}\n")).unwrap();
        assert_eq!(config.access_log.sink, expected, "{setting}");
        assert_eq!(config.access_log.rotation, None);
    }
    let rotated = with_log("access_log_max_mib = 2\naccess_log_kept_count = 7\n").unwrap();
    let rotation = rotated.access_log.rotation.unwrap();
    assert_eq!((rotation.max_bytes, rotation.kept_count), (2 * 1024 * 1024, 7));
}

#[test]
fn faults_of_the_access_log_stand_at_their_keys() {
    for (keys, key) in [
        ("access_log = \"syslog:nowhere\"", "log.access_log:"),
        ("access_log_format = \"$colour\"", "log.access_log_format:"),
        ("access_log_facility = \"local8\"", "log.access_log_facility:"),
        ("access_log_max_mib = 1048577", "log.access_log_max_mib:"),
        ("access_log_kept_count = 1001", "log.access_log_kept_count:"),
    ] {
        let faults = log_faults(keys);
        assert!(faults.len() == 1 && faults[0].starts_with(key), "{keys}: {faults:?}");
    }
    assert!(with_log("access_log_max_mib = 1048576\naccess_log_kept_count = 1000\n").is_ok());
}
