use super::*;

fn config() -> GroupConfig {
    GroupConfig {
        name: "web".to_owned(),
        vrid: 1,
        interval_cs: 20,
        instances: vec![
            InstanceConfig {
                family: Family::V4,
                source: [10, 0, 0, 1].into(),
                addresses: vec![[10, 0, 0, 100].into()],
            },
            InstanceConfig {
                family: Family::V6,
                source: "fe80::1".parse().unwrap(),
                addresses: vec!["fe80::100".parse().unwrap(), "fd00::100".parse().unwrap()],
            },
        ],
        preempt: Preempt::After { delay_ms: 300_000 },
        signed: true,
        foreign_routers: Vec::new(),
        announce: AnnounceConfig::default(),
    }
}

fn fault(change: impl FnOnce(&mut GroupConfig)) -> Option<ConfigError> {
    let mut config = config();
    change(&mut config);
    config.validate().err()
}

#[test]
fn both_families_and_each_alone_are_good() {
    assert_eq!(fault(|_| {}), None);
    assert_eq!(fault(|config| config.instances.truncate(1)), None);
    assert_eq!(fault(|config| drop(config.instances.remove(0))), None);
}

#[test]
fn vrid_and_interval_have_their_ranges() {
    assert_eq!(fault(|config| config.vrid = 0), Some(ConfigError::ZeroVrid));
    assert_eq!(fault(|config| config.vrid = 255), None);
    assert_eq!(fault(|config| config.interval_cs = 0), Some(ConfigError::Interval(0)));
    assert_eq!(fault(|config| config.interval_cs = 4095), None);
    assert_eq!(fault(|config| config.interval_cs = 4096), Some(ConfigError::Interval(4096)));
}

#[test]
fn families_stand_once_each_and_ipv4_first() {
    let bad = Some(ConfigError::Instances);
    assert_eq!(fault(|config| config.instances.clear()), bad);
    assert_eq!(fault(|config| config.instances.reverse()), bad);
    assert_eq!(fault(|config| config.instances[1] = config.instances[0].clone()), bad);
}

#[test]
fn addresses_are_of_their_family_and_usable() {
    let v4 = |text: &str| text.parse::<IpAddr>().unwrap();
    let push = |index: usize, address: IpAddr| {
        fault(|config| config.instances[index].addresses.push(address))
    };
    assert_eq!(push(0, v4("fd00::1")), Some(ConfigError::AddressFamily(v4("fd00::1"))));
    assert_eq!(push(1, v4("10.0.0.7")), Some(ConfigError::AddressFamily(v4("10.0.0.7"))));
    for unusable in ["10.0.0.100", "10.0.0.1", "224.0.0.1", "0.0.0.0"] {
        assert_eq!(push(0, v4(unusable)), Some(ConfigError::Address(v4(unusable))), "{unusable}");
    }
    assert_eq!(push(0, v4("10.0.0.101")), None);
    assert_eq!(
        fault(|config| config.instances[0].source = v4("fe80::1")),
        Some(ConfigError::SourceFamily(v4("fe80::1")))
    );
}

#[test]
fn an_instance_has_one_to_sixty_four_addresses() {
    let with = |count: u8| {
        fault(|config| {
            config.instances[0].addresses =
                (0..count).map(|last| [10, 0, 1, last].into()).collect();
        })
    };
    assert_eq!(with(0), Some(ConfigError::AddressCount(0)));
    assert_eq!(with(64), None);
    assert_eq!(with(65), Some(ConfigError::AddressCount(65)));
}

#[test]
fn the_link_local_address_is_not_counted() {
    let with = |count: u16| {
        fault(|config| {
            let address = |last| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 1, last]);
            let global = (0..count).map(address);
            config.instances[1].addresses.truncate(1);
            config.instances[1].addresses.extend(global);
        })
    };
    assert_eq!(with(64), None);
    assert_eq!(with(65), Some(ConfigError::AddressCount(66)));
}

#[test]
fn the_first_ipv6_address_is_link_local() {
    let global = config().instances[1].addresses[1];
    assert_eq!(
        fault(|config| config.instances[1].addresses.reverse()),
        Some(ConfigError::NotLinkLocal(global))
    );
}

#[test]
fn delays_and_announcements_have_their_ranges() {
    let delay = |delay_ms| fault(|config| config.preempt = Preempt::After { delay_ms });
    assert_eq!(delay(300_000), None);
    assert_eq!(delay(300_001), Some(ConfigError::FailbackDelay(300_001)));
    let announce = |change: fn(&mut AnnounceConfig)| fault(|config| change(&mut config.announce));
    assert_eq!(announce(|one| one.repeat_count = 20), None);
    assert_eq!(announce(|one| one.again_ms = vec![]), None);
    let bad: [fn(&mut AnnounceConfig); 4] = [
        |one| one.repeat_count = 0,
        |one| one.repeat_count = 21,
        |one| one.again_ms = vec![1; 9],
        |one| one.again_ms = vec![2, 1],
    ];
    for change in bad {
        assert_eq!(announce(change), Some(ConfigError::Announce));
    }
}
