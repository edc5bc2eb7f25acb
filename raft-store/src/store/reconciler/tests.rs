use super::*;

const LAST: u64 = 1_000;

struct Case {
    wanted: &'static [u64],
    removed: &'static [u64],
    configs: &'static [&'static [u64]],
    learners: &'static [u64],
    /// Numbers of nodes, and the last entry that they have.
    matched: &'static [(u64, u64)],
    silent: &'static [u64],
}

const SINGLE: Case = Case {
    wanted: &[1],
    removed: &[],
    configs: &[&[1]],
    learners: &[],
    matched: &[(1, LAST)],
    silent: &[],
};

fn step(case: &Case) -> Option<Step> {
    let set = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<u64>>();
    let configs: Vec<_> = case.configs.iter().map(|ids| set(ids)).collect();
    let members = configs.iter().flatten().chain(case.learners);
    let nodes: BTreeMap<u64, BasicNode> =
        members.map(|id| (*id, BasicNode::new(format!("n{id}:7443")))).collect();
    let matched = |(id, index): &(u64, u64)| {
        (*id, Some(LogId::new(openraft::CommittedLeaderId::new(1, 1), *index)))
    };
    next_step(&Facts {
        wanted: case.wanted.iter().map(|id| (*id, "somewhere:7443")).collect(),
        removed: &set(case.removed),
        membership: &Membership::new(configs, nodes),
        replication: &case.matched.iter().map(matched).collect(),
        last_log_index: LAST,
        in_contact: &|id| !case.silent.contains(&id),
    })
}

#[test]
fn nothing_is_done_where_all_is_as_it_should_be() {
    assert_eq!(step(&SINGLE), None);
}

#[test]
fn node_that_joined_becomes_a_learner() {
    let address = "somewhere:7443".to_owned();
    let expected = Some(Step::AddLearner { node_id: 9, address });
    assert_eq!(step(&Case { wanted: &[1, 9], ..SINGLE }), expected);
}

#[test]
fn learner_becomes_a_voter_once_it_has_caught_up_and_answers() {
    let learner = Case { wanted: &[1, 9], learners: &[9], ..SINGLE };
    assert_eq!(step(&learner), None, "it has nothing");
    let limit = LAST - CAUGHT_UP_MAX_COUNT;
    const BEHIND: &[(u64, u64)] = &[(1, LAST), (9, LAST - CAUGHT_UP_MAX_COUNT - 1)];
    const CLOSE: &[(u64, u64)] = &[(1, LAST), (9, LAST - CAUGHT_UP_MAX_COUNT)];
    assert_eq!(
        step(&Case { matched: BEHIND, ..learner }),
        None,
        "it is {} behind",
        LAST - limit + 1
    );
    let caught_up = Case { matched: CLOSE, ..learner };
    assert_eq!(step(&caught_up), Some(Step::Promote { node_id: 9 }));
    assert_eq!(step(&Case { silent: &[9], ..caught_up }), None, "it does not answer");
}

#[test]
fn removed_node_leaves_whatever_it_is() {
    let voter = Case { removed: &[9], configs: &[&[1, 9]], ..SINGLE };
    assert_eq!(step(&voter), Some(Step::RemoveVoter { node_id: 9 }));
    let learner = Case { removed: &[9], learners: &[9], ..SINGLE };
    assert_eq!(step(&learner), Some(Step::RemoveLearner { node_id: 9 }));
}

#[test]
fn node_that_is_merely_unknown_stays() {
    assert_eq!(step(&Case { configs: &[&[1, 9]], ..SINGLE }), None);
}

#[test]
fn half_done_change_is_finished_first() {
    let case = Case { wanted: &[1, 5, 9], configs: &[&[1], &[1, 9]], ..SINGLE };
    assert_eq!(step(&case), Some(Step::Finish { voters: BTreeSet::from([1, 9]) }));
}

#[test]
fn voter_stays_while_the_others_are_no_quorum_and_blocks_nothing() {
    let voter = Case { removed: &[5], configs: &[&[1, 5, 9]], silent: &[9], ..SINGLE };
    assert_eq!(step(&voter), None, "of 1 and 9, both are needed");
    const CAUGHT_UP: &[(u64, u64)] = &[(1, LAST), (12, LAST)];
    let waiting = Case { wanted: &[1, 12], learners: &[12], matched: CAUGHT_UP, ..voter };
    assert_eq!(step(&waiting), Some(Step::Promote { node_id: 12 }));
    let last = Case { removed: &[1], ..SINGLE };
    assert_eq!(step(&last), None, "nobody would be left");
    let dead = Case { removed: &[9], configs: &[&[1, 5, 9]], silent: &[9], ..SINGLE };
    assert_eq!(step(&dead), Some(Step::RemoveVoter { node_id: 9 }));
}
