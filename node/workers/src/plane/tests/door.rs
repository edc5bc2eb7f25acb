//! Who gets in, and to which worker.

use std::sync::atomic::AtomicU8;

use ballast_model::{Priority, SourceLimits};
use ballast_telemetry::FailureReason;

use super::*;

fn server_with(
    name: &str,
    listen: SocketAddr,
    adjust: impl FnOnce(&mut VirtualServerSpec),
) -> Edit {
    let mut spec = VirtualServerSpec::new(Protocol::Tcp, listen, "p");
    adjust(&mut spec);
    Edit::put(AnyDraft::VirtualServer(Draft::new(name, spec)), format!("{name}-uid"))
}

/// How often connections to the first virtual server by name failed for that reason.
fn failures(site: &Site, reason: FailureReason) -> u64 {
    site.plane.counters.all()[0].totals().failures_for(reason)
}

#[tokio::test]
async fn connections_are_spread_evenly_over_workers() {
    let address = vacant();
    let mut site = Site::with(|config| config.connection_max_count = 100);
    site.edit(&[pool(), server("a", address)]).await;
    let mut held = Vec::new();
    for _ in 0..32 {
        held.push(greeting(address).await.0);
    }
    let counters = &site.plane.counters.all()[0];
    let counts = [0, 1].map(|worker| counters.shard(worker).connections());
    assert_eq!(counts.iter().sum::<u64>(), 32);
    // One by chance: a worker may read the other's count while a connection is on its way.
    assert!(counts[0].abs_diff(counts[1]) <= 4, "{counts:?}");
    drop(held);
    until(|| site.plane.totals().connections == 0).await;
    let served_by_both = [0, 1].map(|worker| counters.shard(worker).connections());
    assert_eq!(served_by_both, [0, 0]);
}

#[tokio::test]
async fn source_gets_as_many_connections_as_its_limit_and_no_more_on_all_workers_together() {
    let address = vacant();
    let mut site = Site::with(|config| config.connection_max_count = 100);
    let limits = SourceLimits { connection_max_count: Some(5), ..SourceLimits::default() };
    let limited = server_with("a", address, |spec| spec.source_limits = limits);
    site.edit(&[pool(), limited]).await;
    let mut held = Vec::new();
    for _ in 0..5 {
        let (stream, name) = greeting(address).await;
        assert_eq!(name, "a");
        held.push(stream);
    }
    for refused in 1..=3 {
        assert_eq!(greeted(address).await, "");
        until(|| failures(&site, FailureReason::SourceConnectionLimit) == refused).await;
    }
    held.pop();
    until(|| site.plane.totals().connections == 4).await;
    assert_eq!(greeted(address).await, "a", "one has gone");
    assert_eq!(site.plane.totals().refused_total, 3);
}

#[tokio::test]
async fn source_gets_its_burst_and_no_more() {
    let address = vacant();
    let mut site = Site::with(|config| config.connection_max_count = 100);
    let limits = SourceLimits {
        connection_rate_per_s: Some(1),
        connection_burst_count: Some(3),
        ..SourceLimits::default()
    };
    let limited = server_with("a", address, |spec| spec.source_limits = limits);
    site.edit(&[pool(), limited]).await;
    let mut served = 0;
    // Time may pass while they come, but not minutes.
    for _ in 0..40 {
        served += usize::from(greeted(address).await == "a");
    }
    assert!((3..=30).contains(&served), "{served}");
    let refused = failures(&site, FailureReason::SourceRateLimit);
    assert_eq!(refused, 40 - served as u64);
}

#[tokio::test]
async fn low_priority_is_refused_before_the_node_is_full() {
    let (low, normal, high) = (vacant(), vacant(), vacant());
    let mut site = Site::with(|config| config.connection_max_count = 20);
    site.edit(&[
        pool(),
        server_with("a", low, |spec| spec.priority = Priority::Low),
        server_with("b", normal, |_| {}),
        server_with("c", high, |spec| spec.priority = Priority::High),
    ])
    .await;
    let mut held = Vec::new();
    for (address, name, count) in [(low, "a", 16), (normal, "b", 3), (high, "c", 1)] {
        for _ in 0..count {
            let (stream, greeted) = greeting(address).await;
            assert_eq!(greeted, name);
            held.push(stream);
        }
        assert_eq!(greeted(address).await, "", "{name} has had its share");
    }
    let reasons = [FailureReason::Shed, FailureReason::Shed, FailureReason::Overload];
    for (counters, reason) in site.plane.counters.all().iter().zip(reasons) {
        assert_eq!(counters.totals().failures_for(reason), 1, "{}", counters.name());
    }
}

#[tokio::test]
async fn node_that_runs_short_refuses_by_priority() {
    let (low, normal, high) = (vacant(), vacant(), vacant());
    let memory_percent = Arc::new(AtomicU8::new(0));
    let measured = Arc::clone(&memory_percent);
    let mut site = Site::with(|config| {
        config.connection_max_count = 100;
        config.pressure = PressureGauge::new(move || Pressure {
            memory_percent: measured.load(Ordering::Relaxed),
            ..Pressure::default()
        });
    });
    site.edit(&[
        pool(),
        server_with("a", low, |spec| spec.priority = Priority::Low),
        server_with("b", normal, |_| {}),
        server_with("c", high, |spec| spec.priority = Priority::High),
    ])
    .await;
    let expectations = [
        (79, ["a", "b", "c"]),
        (80, ["", "b", "c"]),
        (94, ["", "b", "c"]),
        (95, ["", "", "c"]),
        (100, ["", "", "c"]),
    ];
    for (percent, expected) in expectations {
        memory_percent.store(percent, Ordering::Relaxed);
        until(|| site.plane.pressure().memory_percent == percent).await;
        for (address, expected) in [low, normal, high].into_iter().zip(expected) {
            assert_eq!(greeted(address).await, expected, "at {percent} %");
        }
    }
}
