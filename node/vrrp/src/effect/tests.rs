use std::collections::BTreeSet;

use super::*;

const ALL: [Reason; 20] = [
    Reason::Able,
    Reason::NobodyHeard,
    Reason::Silence,
    Reason::Released,
    Reason::PeerProcessGone,
    Reason::PeerDegraded,
    Reason::PeerLeaving,
    Reason::Failback,
    Reason::TakenOver,
    Reason::Resumed,
    Reason::HigherPriority,
    Reason::TieLost,
    Reason::LateTick,
    Reason::HealthierPeerActive,
    Reason::SteppedDown,
    Reason::Unable(Unable::DataPlaneDead),
    Reason::LinkDown,
    Reason::NoSource,
    Reason::Reconfigured,
    Reason::Shutdown,
];

fn transition(reason: Reason, heard: Option<HeardFacts>) -> Transition {
    Transition {
        from: State::Backup,
        to: State::Active,
        reason,
        facts: TransitionFacts {
            own_priority: 200,
            interval_us: 200_000,
            heard,
            late_us: 412_345,
            lasted_us: 1,
            reported_by: Some(3),
        },
    }
}

#[test]
fn every_reason_has_a_name_and_a_sentence_of_its_own() {
    let names: BTreeSet<&str> = ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(names.len(), ALL.len());
    let sentences: BTreeSet<String> =
        ALL.iter().map(|reason| transition(*reason, None).sentence()).collect();
    assert_eq!(sentences.len(), ALL.len());
    assert!(sentences.iter().all(|sentence| sentence.starts_with("Backup → Active: ")));
}

#[test]
fn a_sentence_tells_the_facts() {
    let heard = HeardFacts {
        family: Family::V4,
        source: [10, 0, 0, 9].into(),
        node_id: Some(7),
        priority: 196,
        ago_us: 643_750,
    };
    assert_eq!(
        transition(Reason::Silence, Some(heard)).sentence(),
        "Backup → Active: the Active fell silent; last heard was 10.0.0.9 with priority 196 \
         (node 7), 643 ms ago"
    );
    assert!(transition(Reason::LateTick, None).sentence().contains("412 ms late"));
    assert!(transition(Reason::HealthierPeerActive, None).sentence().contains("node 3"));
}

#[test]
fn only_preference_is_voluntary() {
    let voluntary: Vec<_> = ALL.into_iter().filter(|reason| reason.is_voluntary()).collect();
    assert_eq!(voluntary, [Reason::PeerDegraded, Reason::Failback]);
}
