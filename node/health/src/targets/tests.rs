use proptest::prelude::*;

use super::*;

fn monitor(name: &str, version: u64) -> Arc<Resource<MonitorSpec>> {
    let mut spec = MonitorSpec::new(MonitorKind::Tcp);
    spec.interval_ms = 1_000 + version;
    Arc::new(Resource {
        name: name.to_owned(),
        labels: BTreeMap::new(),
        description: String::new(),
        spec,
        uid: name.to_owned(),
        revision: version,
        created_at_ms: 0,
        updated_at_ms: 0,
    })
}

fn any_targets() -> impl Strategy<Value = Targets> {
    let entry = (0_u8..6, prop::sample::select(vec!["a", "b"]), 0_u64..3);
    prop::collection::vec(entry, 0..12).prop_map(|entries| {
        let target = |(member, name, version): (u8, &str, u64)| {
            let key = TargetKey {
                member: format!("m{member}").into(),
                address: SocketAddr::from(([10, 0, 0, member], 80)),
                monitor: name.to_owned(),
                proxy_protocol: None,
            };
            (key, monitor(name, version))
        };
        entries.into_iter().map(target).collect()
    })
}

proptest! {
    #[test]
    fn diff_applied_to_the_actual_is_the_desired(actual in any_targets(), desired in any_targets()) {
        let found = diff(&actual, &desired);
        let mut result = actual.clone();
        for key in &found.removed {
            prop_assert!(result.remove(key).is_some());
        }
        for key in &found.added {
            prop_assert!(result.insert(key.clone(), Arc::clone(&desired[key])).is_none());
        }
        for key in &found.changed {
            prop_assert!(result.insert(key.clone(), Arc::clone(&desired[key])).is_some());
        }
        prop_assert_eq!(result, desired.clone());
        prop_assert_eq!(diff(&desired, &desired), TargetDiff::default());
    }
}

#[test]
fn monitors_port_wins_over_the_members() {
    let address = "[2001:db8::1]:80".parse().unwrap();
    let mut spec = monitor("a", 0).spec.clone();
    assert_eq!(probe_address(address, &spec), address);
    spec.port = Some(9_000);
    assert_eq!(probe_address(address, &spec).to_string(), "[2001:db8::1]:9000");
}
