//! What members' agents have said: how it counts for health, and what of it goes to the pools.
//!
//! Invariant: an agent's word stands until it says something else of the same matter; what is
//! published of a pool holds exactly the members whose agents advise anything.

use std::sync::Arc;

use ballast_balance::{Advice, PoolAdvice, Probe};
use ballast_model::MonitorKind;
use tokio::sync::watch;

use super::{Scheduler, Target, WatchedPool};
use crate::probe::{AgentWish, AgentWord};

/// All that an agent has said.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    up: Option<bool>,
    wish: AgentWish,
    weight_percent: Option<u32>,
    connection_limit: Option<u32>,
    text: Option<String>,
}

impl Said {
    fn hear(&mut self, word: AgentWord) {
        self.up = word.up.or(self.up);
        self.wish = word.wish.unwrap_or(self.wish);
        self.weight_percent = word.weight_percent.or(self.weight_percent);
        self.connection_limit = match word.connection_limit {
            Some(0) => None,
            said => said.or(self.connection_limit),
        };
        self.text = word.text;
    }

    fn is_well(&self) -> bool {
        self.up.unwrap_or(true) && self.wish != AgentWish::Maint
    }

    fn facts(&self) -> String {
        let mut words = vec![if self.up.unwrap_or(true) { "up" } else { "down" }.to_owned()];
        match self.wish {
            AgentWish::Ready => {}
            AgentWish::Drain => words.push("drain".to_owned()),
            AgentWish::Maint => words.push("maint".to_owned()),
        }
        words.extend(self.weight_percent.map(|percent| format!("{percent}%")));
        words.extend(self.connection_limit.map(|limit| format!("maxconn:{limit}")));
        let text = self.text.as_ref().map(|text| format!(" ({text})")).unwrap_or_default();
        format!("the agent says {}{text}", words.join(" "))
    }

    fn advice(&self) -> Advice {
        Advice {
            weight_percent: self.weight_percent.unwrap_or(100),
            drain: self.wish == AgentWish::Drain,
            connection_limit: self.connection_limit,
        }
    }
}

impl Target {
    /// Takes in what its agent said.
    pub(super) fn hear(&mut self, word: AgentWord, took_us: u64, now_ms: u64) {
        let said = self.said.get_or_insert_default();
        said.hear(word);
        let probe = Probe { passed: said.is_well(), facts: said.facts(), took_us };
        self.machine.decide(probe, now_ms);
    }

    /// Takes in what a probe found, or that the agent could not be asked.
    pub(super) fn found(&mut self, probe: Probe, now_ms: u64) {
        let is_agent = self.monitor.spec.kind == MonitorKind::Agent;
        let is_required = self.monitor.spec.agent.as_ref().is_some_and(|agent| agent.required);
        if !is_agent || is_required {
            self.machine.observe(probe, now_ms);
            return;
        }
        let Probe { facts, took_us, .. } = probe;
        let facts = match &self.said {
            Some(said) => format!("the agent can't be asked: {facts}; before, {}", said.facts()),
            None => format!("the agent can't be asked: {facts}; not held against the member"),
        };
        let passed = self.said.as_ref().is_none_or(Said::is_well);
        self.machine.decide(Probe { passed, facts, took_us }, now_ms);
    }
}

impl Scheduler {
    /// What agents advise, and when that changes.
    pub(crate) fn advice(&self) -> watch::Receiver<ballast_balance::AdviceMap> {
        self.advice.subscribe()
    }

    /// Publishes what the agents of a pool advise.
    pub(super) fn publish_advice(&self, watched: &WatchedPool) {
        let name = watched.pool.name();
        let advice = self.advice_of(watched);
        self.advice.send_if_modified(|map| {
            let published = map.get(name).map(|published| &**published);
            if published.unwrap_or(&PoolAdvice::new()) == &advice {
                return false;
            }
            let map = Arc::make_mut(map);
            if advice.is_empty() {
                map.remove(name);
            } else {
                map.insert(name.to_owned(), Arc::new(advice));
            }
            true
        });
    }

    /// Publishes that no agent of a pool advises anything.
    pub(super) fn withdraw_advice(&self, pool: &str) {
        self.advice.send_if_modified(|map| {
            map.contains_key(pool) && Arc::make_mut(map).remove(pool).is_some()
        });
    }

    fn advice_of(&self, watched: &WatchedPool) -> PoolAdvice {
        let mut advice = PoolAdvice::new();
        for (member, of) in &watched.members {
            let said = of.targets.iter().filter_map(|id| self.targets.get(id)?.said.as_ref());
            let together = said.map(Said::advice).fold(None, |one: Option<Advice>, other| {
                Some(one.map_or(other, |one| one.and(other)))
            });
            if let Some(together) = together.filter(|advice| *advice != Advice::default()) {
                advice.insert(member.clone(), together);
            }
        }
        advice
    }
}
