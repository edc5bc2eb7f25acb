use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[test]
fn text_is_as_the_format_wants_it() {
    let mut metrics = Metrics::new();
    let mut family = metrics.family("a_total", MetricKind::Counter, "Back\\slash\nand line.");
    family.sample(&[], 1);
    family.sample(&[("name", "q\"u\\o\nte"), ("b", "c")], 2.5);
    metrics.single("b", MetricKind::Gauge, "Plain.", 0);
    assert_eq!(
        metrics.finish(),
        "# HELP a_total Back\\\\slash\\nand line.\n# TYPE a_total counter\na_total 1\n\
         a_total{name=\"q\\\"u\\\\o\\nte\",b=\"c\"} 2.5\n# HELP b Plain.\n# TYPE b gauge\nb 0\n"
    );
}

#[test]
fn histogram_is_cumulative_in_seconds() {
    let registry = CounterRegistry::new(1);
    let counters = registry.virtual_server("uid", "web");
    counters.shard(0).request(200, 60);
    counters.shard(0).request(200, 70);
    counters.shard(0).request(200, 100_000_000);
    let mut metrics = Metrics::new();
    write_virtual_servers(&mut metrics, &registry);
    let text = metrics.finish();
    let name = "ballast_virtual_server_request_duration_seconds";
    for line in [
        "_bucket{virtual_server=\"web\",le=\"0.000064\"} 1",
        "_bucket{virtual_server=\"web\",le=\"0.000128\"} 2",
        "_bucket{virtual_server=\"web\",le=\"1.048576\"} 2",
        "_bucket{virtual_server=\"web\",le=\"+Inf\"} 3",
        "_sum{virtual_server=\"web\"} 100.00013",
        "_count{virtual_server=\"web\"} 3",
    ] {
        assert!(text.contains(&format!("{name}{line}\n")), "{line} in\n{text}");
    }
}

#[test]
fn handshakes_are_told_by_kind_where_there_were_any() {
    let registry = CounterRegistry::new(2);
    let counters = registry.virtual_server("uid", "web");
    registry.virtual_server("other", "plain");
    counters.shard(0).tls_handshake(false);
    counters.shard(0).tls_handshake(true);
    counters.shard(1).tls_handshake(true);
    let mut metrics = Metrics::new();
    write_virtual_servers(&mut metrics, &registry);
    let text = metrics.finish();
    let name = "ballast_virtual_server_tls_handshakes_total";
    for line in
        ["{virtual_server=\"web\",kind=\"full\"} 1", "{virtual_server=\"web\",kind=\"resumed\"} 2"]
    {
        assert!(text.contains(&format!("{name}{line}\n")), "{line} in\n{text}");
    }
    assert!(!text.contains(&format!("{name}{{virtual_server=\"plain\"")));
}

#[test]
fn every_family_stands_once_with_help_and_type() {
    let registry = CounterRegistry::new(1);
    for name in ["a", "b"] {
        let counters = registry.virtual_server(name, name);
        counters.shard(0).request(500, 1);
        counters.shard(0).failure(FailureReason::ConnectRefused);
    }
    let member = MemberStatus {
        pool: "p".to_owned(),
        member: "m".to_owned(),
        address: "10.0.0.1:80".to_owned(),
        admin_state: ballast_model::AdminState::Enabled,
        health: Health::Up,
        reason: String::new(),
        since_ms: 0,
        last_probe_us: None,
        in_flight: 3,
        requests_total: 4,
        failures_total: 5,
        last_error: None,
        agent: None,
    };
    let mut metrics = Metrics::new();
    write_virtual_servers(&mut metrics, &registry);
    write_members(&mut metrics, &[member.clone(), MemberStatus { pool: "q".to_owned(), ..member }]);
    write_access_log(&mut metrics, &AccessLog::off());
    crate::process::write_process(&mut metrics);
    let text = metrics.finish();
    let mut families = BTreeSet::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            current = rest.split(' ').next().unwrap().to_owned();
            assert!(families.insert(current.clone()), "{current} twice");
        } else if !line.starts_with("# TYPE ") {
            let name = line.split(['{', ' ']).next().unwrap();
            assert!(name.starts_with(&current), "{line} under {current}");
        }
    }
    assert!(text.contains("ballast_member_up{pool=\"p\",member=\"m\"} 1\n"));
    let failure = "failures_total{virtual_server=\"b\",reason=\"connect_refused\"} 1\n";
    assert!(text.contains(failure));
}

proptest! {
    #[test]
    fn no_label_breaks_its_line(value: String) {
        let mut metrics = Metrics::new();
        metrics.family("a", MetricKind::Gauge, "b").sample(&[("l", &value)], 1);
        let text = metrics.finish();
        prop_assert_eq!(text.matches('\n').count(), 3);
        let label = text.lines().last().unwrap();
        let label = label.strip_prefix("a{l=\"").unwrap().strip_suffix("\"} 1").unwrap();
        let unescaped = label.replace("\\\\", "\u{0}").replace("\\\"", "\"").replace("\\n", "\n");
        if !value.contains('\u{0}') {
            prop_assert_eq!(unescaped.replace('\u{0}', "\\"), value);
        }
    }
}
