use super::*;

fn near(value: Option<f64>, expected: f64) -> bool {
    value.is_some_and(|value| (value / expected - 1.0).abs() < 0.01)
}

#[test]
fn nothing_measured_is_told_from_fast() {
    let latency = Latency::default();
    assert_eq!(latency.value(5), None);
    latency.observe(0, Averaging::Mean, 5);
    assert!(latency.value(5).is_some());
}

#[test]
fn mean_follows_what_is_measured() {
    let latency = Latency::default();
    for now_ms in 0..60_000 {
        latency.observe(2_000, Averaging::Mean, now_ms);
    }
    assert!(near(latency.value(60_000), 2_000.0));
    for now_ms in 60_000..120_000 {
        latency.observe(8_000, Averaging::Mean, now_ms);
    }
    assert!(near(latency.value(120_000), 8_000.0), "{:?}", latency.value(120_000));
}

#[test]
fn peak_rises_at_once_and_falls_slowly() {
    let latency = Latency::default();
    latency.observe(1_000, Averaging::Peak, 0);
    latency.observe(50_000, Averaging::Peak, 1);
    assert!(near(latency.value(1), 50_000.0));
    latency.observe(1_000, Averaging::Peak, 2);
    assert!(near(latency.value(2), 50_000.0));
    latency.observe(1_000, Averaging::Peak, 10_002);
    assert!(near(latency.value(10_002), 50_000.0 * 0.368 + 1_000.0 * 0.632));
}

#[test]
fn what_nobody_measures_fades_to_nothing() {
    let latency = Latency::default();
    latency.observe(1_000_000, Averaging::Mean, 0);
    assert!(near(latency.value(10_000), 367_879.0));
    assert_eq!(latency.value(200_000), None);
}

#[test]
fn failure_is_never_fast() {
    let latency = Latency::default();
    latency.observe(500, Averaging::Mean, 0);
    latency.observe_failure(100, 1);
    assert!(near(latency.value(1), 1_000_000.0));
}

#[test]
fn time_wraps_and_may_be_set_back() {
    let latency = Latency::default();
    let wrap = 1_u64 << 32;
    latency.observe(1_000, Averaging::Mean, wrap - 1);
    assert!(near(latency.value(wrap + 9_999), 367.9));
    assert!(near(latency.value(wrap - 5_000), 1_000.0));
}
