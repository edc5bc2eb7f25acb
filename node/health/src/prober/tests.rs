use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use ballast_balance::{PersistenceKey, PoolRegistry, Probe};
use ballast_model::config::{AnyDraft, Kind};
use ballast_model::status::Health;
use ballast_model::{AdminState, Draft, Edit, MemberSpec, MonitorKind, PoolSpec, PoolTls};
use ballast_tls::{MemberTls, Security, SystemRoots};
use tokio::time::{Instant, timeout};

use super::*;
use crate::probe::{AgentWord, Outcome};

mod agents;

/// Members whose answers the test decides, on virtual time.
#[derive(Default)]
struct Members {
    failing: Mutex<BTreeSet<u16>>,
    not_tried: AtomicBool,
    /// When each member (by port) was probed, in ms since the start.
    probed: Mutex<BTreeMap<u16, Vec<u64>>>,
    /// How each (by port) was talked with last.
    links: Mutex<BTreeMap<u16, Link>>,
    /// What the agent on a port says; nothing else is asked there then.
    words: Mutex<BTreeMap<u16, AgentWord>>,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

struct Fixture {
    members: Arc<Members>,
    prober: Prober,
    registry: PoolRegistry,
    config: Config,
    index: u64,
    begin: Instant,
}

const PROBE_MS: u64 = 3;

impl Fixture {
    fn new(in_flight_max_count: usize) -> Self {
        let members = Arc::new(Members::default());
        let begin = Instant::now();
        let asked = Arc::clone(&members);
        let probe: ProbeFn = Arc::new(move |address, link, _monitor| {
            let members = Arc::clone(&asked);
            members.links.lock().unwrap().insert(address.port(), link);
            Box::pin(async move {
                let now_ms = begin.elapsed().as_millis() as u64;
                members.probed.lock().unwrap().entry(address.port()).or_default().push(now_ms);
                let under_way = members.under_way.fetch_add(1, SeqCst) + 1;
                members.most_under_way.fetch_max(under_way, SeqCst);
                // tidy: on virtual time, which passes at once.
                tokio::time::sleep(Duration::from_millis(PROBE_MS)).await;
                members.under_way.fetch_sub(1, SeqCst);
                if members.not_tried.load(SeqCst) {
                    return Outcome::NotTried { why: "no descriptors".to_owned() };
                }
                if let Some(word) = members.words.lock().unwrap().get(&address.port()).cloned() {
                    return Outcome::Said { word, took_us: 1_000 * PROBE_MS };
                }
                let passed = !members.failing.lock().unwrap().contains(&address.port());
                let facts = if passed { "fine" } else { "broken" }.to_owned();
                Outcome::Found(Probe { passed, facts, took_us: 1_000 * PROBE_MS })
            })
        });
        let options = ProberOptions { seed: 1, in_flight_max_count };
        let prober = Prober::start_with(options, &Handle::current(), probe);
        let registry = PoolRegistry::new(1, PersistenceKey::new(&[0; 32]));
        Self { members, prober, registry, config: Config::default(), index: 0, begin }
    }

    async fn edit(&mut self, edit: Edit) {
        self.index += 1;
        self.config = self.config.edited(&[edit], self.index, 0).unwrap();
        self.registry.reconcile(&self.config, 0);
        self.prober.apply(self.index, &self.config, self.registry.pools());
        let mut applied = self.prober.applied();
        applied.wait_for(|index| *index == self.index).await.unwrap();
    }

    async fn put_monitor(&mut self, name: &str, change: impl FnOnce(&mut MonitorSpec)) {
        self.edit(monitor_edit_with(name, change)).await;
    }

    async fn put_pool(&mut self, name: &str, monitors: &[&str], ports: impl Iterator<Item = u16>) {
        self.edit(pool_edit(name, monitors, ports)).await;
    }

    fn set_failing(&self, port: u16, failing: bool) {
        let mut set = self.members.failing.lock().unwrap();
        if failing {
            set.insert(port)
        } else {
            set.remove(&port)
        };
    }

    fn health(&self, pool: &str, member: usize) -> Health {
        self.registry.pool(pool).unwrap().members()[member].state.health()
    }

    fn probed(&self, port: u16) -> Vec<u64> {
        self.members.probed.lock().unwrap().get(&port).cloned().unwrap_or_default()
    }

    /// Virtual time passes.
    async fn pass(&self, ms: u64) {
        // tidy: on virtual time, which passes at once.
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

fn monitor_edit(name: &str) -> Edit {
    monitor_edit_with(name, |_| {})
}

fn monitor_edit_with(name: &str, change: impl FnOnce(&mut MonitorSpec)) -> Edit {
    let mut spec = MonitorSpec::new(MonitorKind::Tcp);
    spec.interval_ms = 1_000;
    spec.timeout_ms = 1_000;
    change(&mut spec);
    Edit::put(AnyDraft::Monitor(Draft::new(name, spec)), format!("uid-{name}"))
}

fn pool_edit(name: &str, monitors: &[&str], ports: impl Iterator<Item = u16>) -> Edit {
    let member = |port| MemberSpec::new(SocketAddr::from(([127, 0, 0, 1], port)));
    let spec = PoolSpec {
        monitors: monitors.iter().map(ToString::to_string).collect(),
        members: ports.map(member).collect(),
        ..PoolSpec::default()
    };
    Edit::put(AnyDraft::Pool(Draft::new(name, spec)), format!("uid-{name}"))
}

async fn next_health(events: &mut broadcast::Receiver<EventBody>) -> (String, Health, String) {
    match timeout(Duration::from_secs(60), events.recv()).await.unwrap().unwrap() {
        EventBody::Health { member, health, reason, .. } => (member, health, reason),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn first_probe_is_at_once_and_the_next_after_the_interval() {
    let mut fixture = Fixture::new(10);
    fixture.put_monitor("tcp", |_| {}).await;
    fixture.put_pool("pool", &["tcp"], 1..=1).await;
    assert_eq!(fixture.health("pool", 0), Health::Checking);
    fixture.pass(20).await;
    assert_eq!(fixture.health("pool", 0), Health::Up);
    fixture.pass(60_000).await;
    let probed = fixture.probed(1);
    assert!((55..=66).contains(&probed.len()), "{}", probed.len());
    assert!(probed[0] <= 10);
    for pair in probed.windows(2) {
        assert!((899..=1_101).contains(&(pair[1] - pair[0])), "{pair:?}");
    }
    let steps: BTreeSet<_> = probed.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(steps.len() > 10, "the interval is jittered");
}

#[tokio::test(start_paused = true)]
async fn transitions_are_told_once_with_the_reason() {
    let mut fixture = Fixture::new(10);
    let mut events = fixture.prober.events();
    fixture.put_monitor("tcp", |_| {}).await;
    fixture.put_pool("pool", &["tcp"], 1..=1).await;
    let (member, health, _) = next_health(&mut events).await;
    assert_eq!((member.as_str(), health), ("127.0.0.1:1", Health::Up));
    fixture.set_failing(1, true);
    let (_, health, reason) = next_health(&mut events).await;
    assert_eq!((health, reason.as_str()), (Health::Down, "broken; 3 of 3 checks failed"));
    fixture.pass(10_000).await;
    assert!(events.try_recv().is_err(), "nothing new to tell");
    fixture.set_failing(1, false);
    assert_eq!(next_health(&mut events).await.1, Health::Up);
    let status = &fixture.prober.statuses()[0];
    assert_eq!((status.health, status.last_probe_us), (Health::Up, Some(3_000)));
    assert!(status.since_ms > 0);
}

#[tokio::test(start_paused = true)]
async fn unrelated_changes_do_not_disturb_a_probe() {
    let mut fixture = Fixture::new(10);
    fixture.put_monitor("tcp", |_| {}).await;
    fixture.put_pool("pool", &["tcp"], 1..=1).await;
    for port in 2..50 {
        fixture.put_pool(&format!("other-{port}"), &["tcp"], port..=port).await;
        fixture.put_pool("pool", &["tcp"], (1..=1).chain(1_000 + port..=1_000 + port)).await;
        fixture.pass(100).await;
    }
    let probed = fixture.probed(1);
    assert!((4..=6).contains(&probed.len()), "{probed:?}");
    assert!(probed.windows(2).all(|pair| pair[1] - pair[0] >= 899), "{probed:?}");
}

#[tokio::test(start_paused = true)]
async fn removed_members_and_pools_are_probed_no_more() {
    let mut fixture = Fixture::new(10);
    fixture.put_monitor("tcp", |_| {}).await;
    fixture.put_pool("pool", &["tcp"], 1..=2).await;
    fixture.pass(2_500).await;
    fixture.put_pool("pool", &["tcp"], 1..=1).await;
    let second = fixture.probed(2).len();
    fixture.pass(5_000).await;
    assert_eq!(fixture.probed(2).len(), second);
    fixture.edit(Edit::delete(Kind::Pool, "pool")).await;
    let first = fixture.probed(1).len();
    assert!(first >= 6);
    fixture.pass(5_000).await;
    assert_eq!(fixture.probed(1).len(), first);
}

#[tokio::test(start_paused = true)]
async fn changed_monitor_probes_at_once_and_keeps_what_was_found() {
    let mut fixture = Fixture::new(10);
    fixture.put_monitor("tcp", |m| m.interval_ms = 60_000).await;
    fixture.put_pool("pool", &["tcp"], 1..=1).await;
    fixture.pass(1_000).await;
    fixture.put_monitor("tcp", |m| m.fall = 2).await;
    assert_eq!(fixture.health("pool", 0), Health::Up);
    fixture.set_failing(1, true);
    fixture.pass(500).await;
    assert_eq!(fixture.probed(1).len(), 2);
    assert_eq!(fixture.health("pool", 0), Health::Up, "one of two");
    fixture.pass(1_500).await;
    assert_eq!(fixture.health("pool", 0), Health::Down);
}

#[tokio::test(start_paused = true)]
async fn all_monitors_must_agree_and_a_removed_one_has_no_say() {
    let mut fixture = Fixture::new(10);
    fixture.put_monitor("good", |_| {}).await;
    fixture.put_monitor("bad", |m| m.port = Some(9)).await;
    fixture.set_failing(9, true);
    fixture.put_pool("pool", &["good", "bad"], 1..=1).await;
    fixture.pass(100).await;
    assert_eq!(fixture.health("pool", 0), Health::Down);
    fixture.put_pool("pool", &["good"], 1..=1).await;
    assert_eq!(fixture.health("pool", 0), Health::Up);
    fixture.put_pool("pool", &[], 1..=1).await;
    assert_eq!(fixture.health("pool", 0), Health::Unmonitored);
    // A live member that gets a failing monitor goes down only after `fall` failures.
    fixture.put_pool("pool", &["bad"], 1..=1).await;
    fixture.pass(1_500).await;
    assert_ne!(fixture.health("pool", 0), Health::Down);
    fixture.pass(2_500).await;
    assert_eq!(fixture.health("pool", 0), Health::Down);
}

#[tokio::test(start_paused = true)]
async fn probes_under_way_are_bounded_and_starts_are_spread() {
    let mut fixture = Fixture::new(7);
    fixture.put_monitor("tcp", |_| {}).await;
    fixture.put_pool("pool", &["tcp"], 1..=500).await;
    fixture.pass(5_000).await;
    assert_eq!(fixture.members.most_under_way.load(SeqCst), 7);
    assert!((1..=500).all(|port| fixture.probed(port).len() >= 3));
}

#[tokio::test(start_paused = true)]
async fn probe_that_could_not_be_tried_says_nothing_of_the_member() {
    let mut fixture = Fixture::new(10);
    fixture.put_monitor("tcp", |_| {}).await;
    fixture.put_pool("pool", &["tcp"], 1..=1).await;
    fixture.pass(100).await;
    fixture.members.not_tried.store(true, SeqCst);
    fixture.pass(20_000).await;
    assert_eq!(fixture.health("pool", 0), Health::Up);
    assert!(fixture.probed(1).len() > 15, "it goes on trying");
}

fn found(fixture: &Fixture, health: Health) -> Vec<MemberStatus> {
    let mut statuses = fixture.prober.statuses();
    for status in &mut statuses {
        status.health = health;
        status.reason = "connection refused".to_owned();
        status.last_probe_us = Some(700);
    }
    statuses
}

#[tokio::test(start_paused = true)]
async fn first_round_is_done_with_the_last_member_and_stays_done() {
    let mut fixture = Fixture::new(10);
    let mut done = fixture.prober.first_round_done();
    assert!(!*done.borrow(), "nothing is known before the first configuration");
    fixture.members.not_tried.store(true, SeqCst);
    fixture.config = fixture
        .config
        .edited(&[monitor_edit("tcp")], 1, 0)
        .and_then(|config| config.edited(&[pool_edit("pool", &["tcp"], 1..=50)], 2, 0))
        .unwrap();
    fixture.index = 2;
    fixture.edit(pool_edit("other", &[], 900..=900)).await;
    fixture.pass(5_000).await;
    assert!(!*done.borrow(), "probes were not tried");
    fixture.members.not_tried.store(false, SeqCst);
    fixture.set_failing(7, true);
    timeout(Duration::from_secs(10), done.wait_for(|done| *done)).await.unwrap().unwrap();
    assert!((1..=50).all(|port| !fixture.probed(port).is_empty()));
    assert!((0..50).all(|member| fixture.health("pool", member) != Health::Checking));
    fixture.put_pool("late", &["tcp"], 60..=60).await;
    assert_eq!(fixture.health("late", 0), Health::Checking);
    assert!(*done.borrow());
}

#[tokio::test(start_paused = true)]
async fn first_round_is_done_at_once_with_nothing_to_probe() {
    let mut fixture = Fixture::new(10);
    fixture.put_pool("pool", &[], 1..=3).await;
    assert!(*fixture.prober.first_round_done().borrow());
}

#[tokio::test(start_paused = true)]
async fn verdicts_of_another_node_hold_until_our_first_probe() {
    let mut fixture = Fixture::new(10);
    fixture.members.not_tried.store(true, SeqCst);
    fixture.config = fixture.config.edited(&[monitor_edit("tcp")], 1, 0).unwrap();
    fixture.index = 1;
    fixture.put_pool("pool", &["tcp"], 1..=2).await;
    let mut events = fixture.prober.events();
    fixture.prober.adopt("lb-2", &found(&fixture, Health::Checking));
    let mut hearsay = found(&fixture, Health::Up);
    hearsay.iter_mut().for_each(|status| status.last_probe_us = None);
    fixture.prober.adopt("lb-3", &hearsay);
    fixture.prober.adopt("lb-2", &found(&fixture, Health::Down));
    fixture.prober.adopt("lb-3", &found(&fixture, Health::Up));
    let (_, health, reason) = next_health(&mut events).await;
    assert_eq!(
        (health, reason.as_str()),
        (Health::Down, "connection refused, as node lb-2 sees it")
    );
    fixture.pass(3_000).await;
    assert_eq!(fixture.health("pool", 0), Health::Down, "the first to tell is heard");
    assert!(*fixture.prober.first_round_done().borrow());
    fixture.members.not_tried.store(false, SeqCst);
    fixture.set_failing(2, true);
    fixture.pass(3_000).await;
    assert_eq!((fixture.health("pool", 0), fixture.health("pool", 1)), (Health::Up, Health::Down));
    let status = &fixture.prober.statuses()[1];
    assert!(status.reason.starts_with("broken"), "{}", status.reason);
    fixture.prober.adopt("lb-2", &found(&fixture, Health::Up));
    fixture.pass(100).await;
    assert_eq!(fixture.health("pool", 1), Health::Down, "our own probes count");
}

#[tokio::test(start_paused = true)]
async fn share_of_a_pool_that_is_up_leaves_out_what_the_operator_took_out() {
    let mut fixture = Fixture::new(10);
    fixture.put_monitor("tcp", |_| {}).await;
    fixture.set_failing(3, true);
    fixture.put_pool("pool", &["tcp"], 1..=4).await;
    assert_eq!(fixture.prober.pool_up_percent("pool"), Some(0), "nothing is known yet");
    fixture.pass(1_000).await;
    assert_eq!(fixture.prober.pool_up_percent("pool"), Some(75));
    let pool = Arc::clone(fixture.registry.pool("pool").unwrap());
    pool.members()[0].state.set_admin_state(AdminState::Disabled, None);
    assert_eq!(fixture.prober.pool_up_percent("pool"), Some(66));
    pool.members()[1].state.set_admin_state(AdminState::Draining, None);
    assert_eq!(fixture.prober.pool_up_percent("pool"), Some(66));
    for member in pool.members() {
        member.state.set_admin_state(AdminState::ForcedOffline, None);
    }
    assert_eq!(fixture.prober.pool_up_percent("pool"), None);
    assert_eq!(fixture.prober.pool_up_percent("nobody"), None);
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_all_probes() {
    let mut fixture = Fixture::new(10);
    fixture.put_monitor("tcp", |_| {}).await;
    fixture.put_pool("pool", &["tcp"], 1..=3).await;
    fixture.pass(100).await;
    fixture.prober.shutdown().await;
    let count = fixture.probed(1).len();
    fixture.pass(10_000).await;
    assert_eq!(fixture.probed(1).len(), count);
    assert!(fixture.begin.elapsed() > Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn security_that_is_replaced_is_probed_with_at_once_and_by_http_only() {
    let mut fixture = Fixture::new(10);
    let secure = |change: fn(&mut MonitorSpec)| {
        move |monitor: &mut MonitorSpec| {
            monitor.kind = MonitorKind::Http;
            monitor.interval_ms = 60_000;
            change(monitor);
        }
    };
    fixture.put_monitor("http", secure(|_| {})).await;
    fixture.put_monitor("elsewhere", secure(|monitor| monitor.port = Some(9))).await;
    fixture.put_monitor("tcp", |monitor| monitor.interval_ms = 60_000).await;
    fixture.put_pool("http", &["http", "elsewhere"], 1..=1).await;
    fixture.put_pool("tcp", &["tcp"], 2..=2).await;
    fixture.pass(1_000).await;
    let security_of = |fixture: &Fixture, port: u16| {
        fixture.members.links.lock().unwrap().get(&port).unwrap().security.clone()
    };
    assert!(matches!(security_of(&fixture, 1), Security::Plain));

    let settings = PoolTls { verify: false, ..PoolTls::default() };
    for round in 2..=3 {
        let tls = MemberTls::new(&settings, None, &mut SystemRoots::default()).unwrap();
        let security = Security::Tls(Arc::new(tls));
        for pool in ["http", "tcp"] {
            fixture.registry.secure(pool, security.clone());
        }
        fixture.index += 1;
        fixture.prober.apply(fixture.index, &fixture.config, fixture.registry.pools());
        fixture.pass(1_000).await;
        assert_eq!(fixture.probed(1).len(), round);
        assert!(security_of(&fixture, 1).is_same(&security));
        assert_eq!(fixture.probed(2).len(), 1, "tcp is not concerned");
        assert!(matches!(security_of(&fixture, 2), Security::Plain));
        assert_eq!(fixture.probed(9).len(), 1, "something else listens");
        assert!(matches!(security_of(&fixture, 9), Security::Plain));
    }
}
