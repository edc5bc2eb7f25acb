use ballast_model::Priority;

use super::*;

#[test]
fn the_scarcest_resource_counts() {
    let pressure = Pressure { descriptors_percent: 30, memory_percent: 81, lag_ms: 99 };
    assert_eq!(pressure.percent(), 81);
    assert_eq!(Pressure { lag_ms: 499, ..Pressure::default() }.percent(), 80);
    assert_eq!(Pressure { lag_ms: 500, ..pressure }.percent(), 95);
}

#[test]
fn lateness_costs_low_priority_first_and_high_priority_never() {
    let refused = |lag_ms, priority: Priority| {
        Pressure { lag_ms, ..Pressure::default() }.percent() >= priority.shed_at_percent()
    };
    assert!(!refused(99, Priority::Low));
    assert!(refused(100, Priority::Low) && !refused(499, Priority::Normal));
    assert!(refused(500, Priority::Normal) && !refused(u64::MAX, Priority::High));
}

#[test]
fn memory_that_can_be_had_at_once_counts_as_free() {
    let meminfo = "MemTotal:  1000 kB\nMemFree:  10 kB\nMemAvailable:  250 kB\n";
    assert_eq!(machine_memory_percent(meminfo), Some(75));
    assert_eq!(machine_memory_percent("MemTotal:  1000 kB\n"), None, "a kernel before 3.14");
}

#[test]
fn a_control_group_counts_without_its_idle_files() {
    let stat = "anon 5\ninactive_file 400\n";
    assert_eq!(limited_memory_percent("1000\n", "900\n", stat), Some(50));
    assert_eq!(limited_memory_percent("max\n", "900\n", stat), None, "it has no limit");
}

#[test]
fn this_machine_can_be_measured() {
    let measured = PressureGauge::system().measure();
    assert!((1..=100).contains(&measured.memory_percent), "{measured:?}");
}
