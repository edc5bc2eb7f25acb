//! The second heartbeat: what it may decide, and what it may not.

use super::*;

const PEER: NodeId = 7;

/// A Backup whose Active is node 7 at 180 and was heard right now.
fn backup_of_peer() -> Rig {
    let mut rig = Rig::backup(GroupConfig { signed: true, ..v4_only() });
    rig.give(signed_by(PEER, v4(180)));
    rig
}

#[test]
fn a_fresh_report_of_a_serving_active_vetoes_the_takeover() {
    let mut rig = backup_of_peer();
    rig.pass(500_000).give(Input::Heartbeat(report(PEER, 180)));
    let effects = rig.tick_when_due();
    assert_eq!(notes(&effects), [&Note::TakeoverVetoed { node_id: PEER }]);
    assert_eq!(rig.state(), State::Backup);
    assert_eq!(rig.machine.view(Time(rig.now)).vetoed_by, Some(PEER));
    // For as long as it goes on, and without saying so again.
    for _ in 0..20 {
        rig.give(Input::Heartbeat(report(PEER, 180)));
        assert_eq!(rig.run(INTERVAL_US), []);
    }
    // And no longer than three intervals after the last one, which came an interval ago.
    assert_eq!(reasons(&rig.run(2 * INTERVAL_US)), []);
    assert_eq!(reasons(&rig.run(1)), [Reason::Silence]);
}

#[test]
fn a_report_that_is_not_fresh_vetoes_nothing() {
    let mut rig = backup_of_peer();
    rig.give(Input::Heartbeat(report(PEER, 180)));
    // 643.75 ms later; the report was good for 400.
    assert_eq!(reasons(&rig.tick_when_due()), [Reason::Silence]);
}

#[test]
fn the_last_report_of_one_that_lost_all_links_costs_no_time() {
    let mut rig = backup_of_peer();
    // As late after the last advertisement as it can be.
    rig.pass(INTERVAL_US).give(Input::Heartbeat(report(PEER, 180)));
    assert_eq!(rig.due_in(), ACTIVE_DOWN_US - INTERVAL_US);
    assert_eq!(reasons(&rig.tick_when_due()), [Reason::Silence]);
}

#[test]
fn a_report_that_is_lost_does_not_end_a_veto() {
    let mut rig = backup_of_peer();
    rig.pass(500_000).give(Input::Heartbeat(report(PEER, 180)));
    rig.tick_when_due();
    for _ in 0..10 {
        rig.give(Input::Heartbeat(report(PEER, 180)));
        assert_eq!(rig.run(2 * INTERVAL_US + INTERVAL_US / 2), []);
    }
    assert_eq!(rig.state(), State::Backup);
}

#[test]
fn a_veto_never_outlasts_the_silence_of_a_dead_active() {
    // A slow heartbeat beside fast advertisements.
    let mut rig = backup_of_peer();
    rig.pass(500_000);
    rig.give(Input::Heartbeat(PeerReport { interval_ms: 10_000, ..report(PEER, 180) }));
    rig.tick_when_due();
    assert_eq!(rig.state(), State::Backup);
    let effects = rig.run(3 * INTERVAL_US);
    assert_eq!(reasons(&effects), [Reason::Silence]);
}

#[test]
fn a_report_of_a_peer_that_does_not_serve_vetoes_nothing() {
    let idle = [
        PeerReport { state: State::Backup, ..report(PEER, 180) },
        PeerReport { link_up: false, ..report(PEER, 180) },
        PeerReport { gateways: Gateways::Failed, ..report(PEER, 180) },
        // Degraded, while this node is healthy.
        report(PEER, 80),
    ];
    for report in idle {
        let mut rig = backup_of_peer();
        rig.pass(500_000).give(Input::Heartbeat(report));
        assert_eq!(reasons(&rig.tick_when_due()), [Reason::Silence], "{report:?}");
    }
}

#[test]
fn a_degraded_node_does_not_take_over_from_a_degraded_active_that_reports() {
    let mut rig = backup_of_peer();
    rig.give(standing(60));
    rig.pass(500_000).give(Input::Heartbeat(report(PEER, 80)));
    rig.tick_when_due();
    assert_eq!(rig.state(), State::Backup);
}

#[test]
fn a_veto_ends_with_the_report_that_takes_it_back() {
    let mut rig = backup_of_peer();
    rig.pass(500_000).give(Input::Heartbeat(report(PEER, 180)));
    rig.tick_when_due();
    rig.give(Input::Heartbeat(PeerReport { link_up: false, ..report(PEER, 180) }));
    assert_eq!(rig.due_in(), 0);
    assert_eq!(reasons(&rig.give(Input::Tick)), [Reason::Silence]);
}

#[test]
fn a_veto_ends_when_the_process_is_gone() {
    let mut rig = backup_of_peer();
    rig.pass(500_000).give(Input::Heartbeat(report(PEER, 180)));
    rig.tick_when_due();
    rig.give(Input::HeartbeatClosed { node_id: PEER });
    rig.give(Input::Tick);
    assert_eq!(rig.state(), State::Active);
}

#[test]
fn a_release_is_not_vetoed() {
    let mut rig = backup_of_peer();
    rig.give(Input::Heartbeat(report(PEER, 180)));
    rig.give(signed_by(PEER, v4(0)));
    assert_eq!(reasons(&rig.tick_when_due()), [Reason::Released]);
}

#[test]
fn preference_is_not_vetoed() {
    let preempt = Preempt::After { delay_ms: 0 };
    let mut rig = Rig::backup(GroupConfig { preempt, ..v4_only() });
    rig.give(Input::Heartbeat(report(PEER, 180)));
    rig.hear_priority(180);
    assert_eq!(reasons(&rig.tick_when_due()), [Reason::Failback]);
}

#[test]
fn the_end_of_the_actives_process_shortens_the_wait() {
    let mut rig = backup_of_peer();
    rig.pass(50_000).give(Input::HeartbeatClosed { node_id: PEER });
    assert_eq!(rig.due_in(), INTERVAL_US * 3 / 2 + SKEW_US - 50_000);
    assert_eq!(reasons(&rig.tick_when_due()), [Reason::PeerProcessGone]);
}

#[test]
fn an_advertisement_puts_a_shortened_wait_back() {
    let mut rig = backup_of_peer();
    rig.give(Input::HeartbeatClosed { node_id: PEER });
    rig.pass(INTERVAL_US).give(signed_by(PEER, v4(180)));
    assert_eq!(rig.due_in(), ACTIVE_DOWN_US);
}

#[test]
fn the_end_of_another_process_shortens_nothing() {
    let mut rig = backup_of_peer();
    rig.give(Input::Heartbeat(report(8, 180)));
    rig.give(Input::HeartbeatClosed { node_id: 8 });
    assert_eq!(rig.due_in(), ACTIVE_DOWN_US);
}

#[test]
fn without_signatures_a_report_tells_whose_process_it_was() {
    let mut rig = Rig::backup(v4_only());
    rig.hear_priority(180);
    rig.give(Input::HeartbeatClosed { node_id: PEER });
    assert_eq!(rig.due_in(), ACTIVE_DOWN_US);
    rig.give(Input::Heartbeat(report(PEER, 180)));
    rig.give(Input::HeartbeatClosed { node_id: PEER });
    assert_eq!(rig.due_in(), INTERVAL_US * 3 / 2 + SKEW_US);
}

#[test]
fn the_absence_of_reports_means_nothing() {
    let mut rig = Rig::active(v4_only());
    rig.give(Input::Heartbeat(PeerReport { state: State::Backup, ..report(PEER, 180) }));
    let effects = rig.run(100 * INTERVAL_US);
    assert_eq!(reasons(&effects), []);
    rig.give(Input::HeartbeatClosed { node_id: PEER });
    assert_eq!(rig.state(), State::Active);
}

#[test]
fn a_report_alone_does_not_make_a_healthy_active_resign() {
    let mut rig = Rig::active(v4_only());
    assert_eq!(rig.give(Input::Heartbeat(report(PEER, 253))), []);
    assert_eq!(rig.state(), State::Active);
}

#[test]
fn a_degraded_active_resigns_to_a_healthy_one_that_it_does_not_hear() {
    let mut rig = Rig::active(v4_only());
    rig.give(standing(60));
    let effects = rig.give(Input::Heartbeat(report(PEER, 180)));
    let transition = transitions(&effects)[0];
    assert_eq!(transition.reason, Reason::HealthierPeerActive);
    assert_eq!(transition.facts.reported_by, Some(PEER));
    // It would make others take over from the one that serves.
    assert_eq!(sent(&effects), [] as [&Advertisement; 0]);
}

#[test]
fn an_active_that_degrades_resigns_to_a_fresh_report_of_before() {
    let mut rig = Rig::active(v4_only());
    rig.give(Input::Heartbeat(report(PEER, 180)));
    assert_eq!(reasons(&rig.give(standing(60))), [Reason::HealthierPeerActive]);
}

#[test]
fn a_degraded_active_keeps_the_group_from_another_degraded_one() {
    let mut rig = Rig::active(v4_only());
    rig.give(standing(60));
    assert_eq!(rig.give(Input::Heartbeat(report(PEER, 127))), []);
    let failed = PeerReport { gateways: Gateways::Failed, ..report(PEER, 180) };
    assert_eq!(rig.give(Input::Heartbeat(failed)), []);
}

#[test]
fn two_actives_that_do_not_hear_each_other_are_told_of() {
    let mut rig = Rig::active(v4_only());
    let mut effects = Vec::new();
    for _ in 0..4 {
        effects.extend(rig.give(Input::Heartbeat(report(PEER, 180))));
        rig.run(INTERVAL_US);
    }
    assert_eq!(notes(&effects), [] as [&Note; 0]);
    let effects = rig.give(Input::Heartbeat(report(PEER, 180)));
    assert_eq!(notes(&effects), [&Note::ActiveTwice { node_id: PEER }]);
    assert_eq!(rig.state(), State::Active);
    rig.run(INTERVAL_US);
    assert_eq!(rig.give(Input::Heartbeat(report(PEER, 180))), []);
}

#[test]
fn a_move_is_no_second_active() {
    let mut rig = Rig::active(v4_only());
    rig.give(Input::Heartbeat(report(PEER, 180)));
    rig.run(5 * INTERVAL_US);
    rig.give(Input::Heartbeat(PeerReport { state: State::Backup, ..report(PEER, 180) }));
    assert_eq!(rig.give(Input::Heartbeat(report(PEER, 180))), []);
}

#[test]
fn no_more_peers_are_remembered_than_a_cluster_has() {
    let mut rig = Rig::backup(v4_only());
    for node_id in 0..1_000 {
        rig.give(Input::Heartbeat(report(node_id, 180)));
    }
    let lines = serde_json::to_string(&rig.machine).unwrap();
    assert_eq!(lines.matches("\"gateways\"").count(), 64);
}
