//! What becomes of agents' words.

use ballast_balance::{Advice, Observed};
use ballast_model::AgentProbe;

use super::*;
use crate::probe::AgentWish;

const AGENT_PORT: u16 = 900;

impl Fixture {
    fn says(&self, word: Option<AgentWord>) {
        let mut words = self.members.words.lock().unwrap();
        match word {
            Some(word) => words.insert(AGENT_PORT, word),
            None => words.remove(&AGENT_PORT),
        };
    }

    /// What the node does with what agents advise.
    fn observe(&mut self) {
        let advice = Arc::clone(&self.prober.advice().borrow());
        self.registry.observe(Observed { advice, ..Observed::default() }, 0);
        self.prober.apply(self.index, &self.config, self.registry.pools());
    }

    async fn with_agent(required: bool) -> Self {
        let mut fixture = Self::new(10);
        let agent = |monitor: &mut MonitorSpec| {
            monitor.kind = MonitorKind::Agent;
            monitor.port = Some(AGENT_PORT);
            monitor.agent = Some(AgentProbe { send: None, required });
        };
        fixture.put_monitor("agent", agent).await;
        fixture
    }

    fn advised(&self, pool: &str) -> Option<Advice> {
        let advice = self.prober.advice();
        let advice = advice.borrow();
        advice.get(pool).and_then(|of| of.values().next().copied())
    }

    fn reason(&self) -> String {
        self.prober.statuses()[0].reason.clone()
    }
}

fn word(change: impl FnOnce(&mut AgentWord)) -> Option<AgentWord> {
    let mut word = AgentWord::default();
    change(&mut word);
    Some(word)
}

#[tokio::test(start_paused = true)]
async fn agents_word_counts_at_once_and_stands_where_it_says_nothing_else() {
    let mut fixture = Fixture::with_agent(false).await;
    fixture.says(word(|word| word.up = Some(true)));
    fixture.put_pool("pool", &["agent"], 1..=1).await;
    fixture.pass(500).await;
    assert_eq!(fixture.health("pool", 0), Health::Up);
    assert_eq!(fixture.advised("pool"), None, "nothing to change");
    fixture.says(word(|word| {
        word.up = Some(false);
        word.text = Some("disk full".to_owned());
    }));
    fixture.pass(1_200).await;
    assert_eq!(fixture.health("pool", 0), Health::Down, "no three failures are waited for");
    assert_eq!(fixture.reason(), "the agent says down (disk full)");
    fixture.says(word(|word| word.weight_percent = Some(50)));
    fixture.pass(1_200).await;
    assert_eq!(fixture.health("pool", 0), Health::Down, "it has not taken that back");
    fixture.says(word(|word| word.up = Some(true)));
    fixture.pass(1_200).await;
    assert_eq!(fixture.health("pool", 0), Health::Up);
    assert_eq!(fixture.reason(), "the agent says up 50%");
    assert_eq!(fixture.advised("pool").unwrap().weight_percent, 50);
}

#[tokio::test(start_paused = true)]
async fn advice_changes_the_pool_in_place_and_is_taken_back() {
    let mut fixture = Fixture::with_agent(false).await;
    fixture.put_pool("pool", &["agent"], 1..=1).await;
    let before = Arc::clone(&fixture.registry.pool("pool").unwrap().members()[0].state);
    fixture.says(word(|word| {
        word.weight_percent = Some(0);
        word.wish = Some(AgentWish::Drain);
        word.connection_limit = Some(1);
    }));
    fixture.pass(1_200).await;
    fixture.observe();
    let pool = Arc::clone(fixture.registry.pool("pool").unwrap());
    let member = &pool.members()[0];
    assert!(Arc::ptr_eq(&before, &member.state), "what is in flight stays counted");
    assert_eq!((member.weight, member.state.admin_state()), (0, AdminState::Disabled));
    let status = &fixture.prober.statuses()[0];
    let told = "the agent says 0 % of the weight, at most 1 in flight, no new sessions";
    assert_eq!(status.agent.as_deref(), Some(told));
    let one = member.state.begin(0);
    assert!(one.is_some() && member.state.begin(0).is_none(), "one in flight");
    let probed = fixture.probed(AGENT_PORT).len();
    fixture.pass(600).await;
    assert!(fixture.probed(AGENT_PORT).len() <= probed + 1, "probes go on undisturbed");

    fixture.says(word(|word| {
        word.wish = Some(AgentWish::Ready);
        word.weight_percent = Some(100);
        word.connection_limit = Some(0);
    }));
    fixture.pass(1_200).await;
    fixture.observe();
    let member = Arc::clone(&fixture.registry.pool("pool").unwrap().members()[0]);
    assert_eq!((member.weight, member.state.admin_state()), (1, AdminState::Enabled));
    assert_eq!(fixture.prober.statuses()[0].agent, None);
    assert!(fixture.prober.advice().borrow().is_empty());
}

#[tokio::test(start_paused = true)]
async fn maintenance_takes_no_sessions_until_it_is_ready() {
    let mut fixture = Fixture::with_agent(false).await;
    fixture.says(word(|word| word.wish = Some(AgentWish::Maint)));
    fixture.put_pool("pool", &["agent"], 1..=1).await;
    fixture.pass(500).await;
    assert_eq!(fixture.health("pool", 0), Health::Down);
    assert_eq!(fixture.reason(), "the agent says up maint");
    fixture.says(word(|word| word.wish = Some(AgentWish::Ready)));
    fixture.pass(1_200).await;
    assert_eq!(fixture.health("pool", 0), Health::Up);
}

#[tokio::test(start_paused = true)]
async fn agent_that_cannot_be_asked_is_held_against_the_member_only_where_required() {
    for (required, health) in [(false, Health::Up), (true, Health::Down)] {
        let mut fixture = Fixture::with_agent(required).await;
        fixture.says(word(|word| {
            word.up = Some(true);
            word.weight_percent = Some(25);
        }));
        fixture.put_pool("pool", &["agent"], 1..=1).await;
        fixture.pass(500).await;
        fixture.says(None);
        fixture.set_failing(AGENT_PORT, true);
        fixture.pass(1_200).await;
        assert_eq!(fixture.health("pool", 0), Health::Up, "one of three");
        fixture.pass(4_000).await;
        assert_eq!(fixture.health("pool", 0), health);
        if !required {
            let told = "the agent can't be asked: broken; before, the agent says up 25%";
            assert_eq!(fixture.reason(), told);
        }
        assert_eq!(fixture.advised("pool").unwrap().weight_percent, 25, "its word stands");
    }
}

#[tokio::test(start_paused = true)]
async fn advice_goes_with_the_monitor_and_with_the_pool() {
    let mut fixture = Fixture::with_agent(false).await;
    fixture.says(word(|word| word.weight_percent = Some(10)));
    for gone in [pool_edit("pool", &[], 1..=1), Edit::delete(Kind::Pool, "pool")] {
        fixture.put_pool("pool", &["agent"], 1..=1).await;
        fixture.pass(500).await;
        assert!(fixture.advised("pool").is_some());
        fixture.edit(gone).await;
        assert_eq!(fixture.advised("pool"), None);
    }
}
