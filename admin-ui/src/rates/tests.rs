use ballast_model::NodeRole;
use ballast_model::status::{NodeReport, NodeStatus, RaftStatus, VirtualServerStatus};

use super::*;

fn status(nodes: &[(&str, u64, u64)]) -> ClusterStatus {
    let node = |(name, started_at_ms, requests_total): &(&str, u64, u64)| NodeReport {
        name: (*name).to_owned(),
        role: NodeRole::Traffic,
        status: Some(NodeStatus {
            dns: Vec::new(),
            jwt_providers: Vec::new(),
            certificates: Vec::new(),
            persistence_tables: Vec::new(),
            share_peers: Vec::new(),
            ha: None,
            name: (*name).to_owned(),
            node_id: 1,
            role: NodeRole::Traffic,
            version: "0.1.0".to_owned(),
            started_at_ms: *started_at_ms,
            raft: RaftStatus::default(),
            planes: Vec::new(),
            listeners: Vec::new(),
            members: Vec::new(),
            virtual_servers: vec![VirtualServerStatus {
                name: "www".to_owned(),
                requests_total: *requests_total,
                sent_bytes_total: *requests_total * 1_000,
                ..VirtualServerStatus::default()
            }],
        }),
        error: None,
    };
    ClusterStatus {
        cluster_name: "test".to_owned(),
        index: 1,
        leader: None,
        writable: true,
        problems: Vec::new(),
        nodes: nodes.iter().map(node).collect(),
    }
}

fn requests(meter: &Meter) -> Option<f64> {
    meter.rates(&Subject::VirtualServer("www".to_owned())).map(|rates| rates.requests)
}

#[test]
fn one_sample_makes_no_rate() {
    let mut meter = Meter::default();
    meter.observe(0.0, &status(&[("a", 0, 100)]));
    assert_eq!(requests(&meter), None);
}

#[test]
fn the_nodes_rates_are_added_up() {
    let mut meter = Meter::default();
    meter.observe(0.0, &status(&[("a", 0, 100), ("b", 0, 1_000)]));
    meter.observe(2_000.0, &status(&[("a", 0, 300), ("b", 0, 1_100)]));
    assert_eq!(requests(&meter), Some(150.0));
    let all = meter.rates(&Subject::All).unwrap();
    assert_eq!((all.requests, all.sent_bytes), (150.0, 150_000.0));
}

#[test]
fn a_process_that_started_anew_begins_at_nothing() {
    let mut meter = Meter::default();
    meter.observe(0.0, &status(&[("a", 0, 100)]));
    meter.observe(2_000.0, &status(&[("a", 1_500, 5_000)]));
    assert_eq!(requests(&meter), Some(0.0));
    meter.observe(4_000.0, &status(&[("a", 1_500, 5_020)]));
    assert_eq!(requests(&meter), Some(10.0));
}

#[test]
fn a_counter_that_went_backwards_makes_no_negative_rate() {
    let mut meter = Meter::default();
    meter.observe(0.0, &status(&[("a", 0, 100)]));
    meter.observe(2_000.0, &status(&[("a", 0, 50)]));
    assert_eq!(requests(&meter), Some(0.0));
}

#[test]
fn samples_too_close_together_wait_for_the_next() {
    let mut meter = Meter::default();
    meter.observe(0.0, &status(&[("a", 0, 0)]));
    meter.observe(2_000.0, &status(&[("a", 0, 20)]));
    meter.observe(2_100.0, &status(&[("a", 0, 200)]));
    assert_eq!(requests(&meter), Some(10.0));
    meter.observe(4_000.0, &status(&[("a", 0, 220)]));
    assert_eq!(requests(&meter), Some(100.0));
}

#[test]
fn history_is_bounded_and_goes_with_its_subject() {
    let mut meter = Meter::default();
    let subject = Subject::VirtualServer("www".to_owned());
    for i in 0..100_u32 {
        meter.observe(f64::from(i) * 2_000.0, &status(&[("a", 0, u64::from(i) * 2)]));
    }
    assert_eq!(meter.history(&subject).len(), HISTORY_MAX_COUNT);
    meter.observe(200_000.0, &status(&[]));
    assert!(meter.history(&subject).is_empty());
}
