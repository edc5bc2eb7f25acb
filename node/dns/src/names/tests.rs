use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use ballast_balance::{Observed, PersistenceKey, PoolRegistry};
use ballast_model::config::AnyDraft;
use ballast_model::{AdminState, Config, DnsMember, Draft, Edit, PoolSpec};
use tokio::time::timeout;

use super::*;
use crate::lookup::tests::NameServer;
use crate::source::Shape;

struct Fixture {
    names: Names,
    registry: PoolRegistry,
    config: Config,
    index: u64,
}

impl Fixture {
    fn new(lookup: LookupFn) -> Self {
        let names = Names::start_with(lookup, &Handle::current());
        let registry = PoolRegistry::new(1, PersistenceKey::new(&[0; 32]));
        Self { names, registry, config: Config::default(), index: 0 }
    }

    fn put(&mut self, dns_members: Vec<DnsMember>) {
        self.index += 1;
        let spec = PoolSpec { dns_members, ..PoolSpec::default() };
        let edit = Edit::put(AnyDraft::Pool(Draft::new("pool", spec)), "uid");
        self.config = self.config.edited(&[edit], self.index, 0).unwrap();
        self.registry.reconcile(&self.config, 0);
        self.names.apply(self.registry.pools());
    }

    /// Waits until the names are these addresses, leaving ones with `-` before them, and compiles.
    async fn until(&mut self, expected: &[&str]) {
        let mut resolved = self.names.resolved();
        let is_there = |map: &ResolvedMap| {
            let members = map.get("pool").into_iter().flat_map(|names| names.values().flatten());
            let mut texts: Vec<_> = members
                .map(|m| format!("{}{}", if m.leaving { "-" } else { "" }, m.address.ip()))
                .collect();
            texts.sort();
            texts == expected
        };
        let map = timeout(Duration::from_secs(60), resolved.wait_for(is_there)).await;
        let map = Arc::clone(&*map.expect("in time").unwrap());
        self.registry.observe(Observed { resolved: map, ..Observed::default() }, 0);
        self.names.apply(self.registry.pools());
    }

    fn status(&self) -> DnsStatus {
        self.names.statuses()[0].clone()
    }
}

#[tokio::test]
async fn members_follow_a_name_server_and_keep_their_state() {
    let server = NameServer::start().await;
    server.set_ipv4("app.test", [1, 2]);
    *server.ttl_s.lock().unwrap() = 1;
    let mut fixture = Fixture::new(by_name_server());
    fixture.put(vec![DnsMember { drain_s: 2, ..server.member("app.test") }]);
    fixture.until(&["10.0.0.1", "10.0.0.2"]).await;
    let pool = Arc::clone(fixture.registry.pool("pool").unwrap());
    assert_eq!(&*pool.members()[1].name, "app.test@10.0.0.2:80");
    let kept = Arc::clone(&pool.members()[1].state);
    let vanishes = Arc::clone(&pool.members()[0].state);

    server.set_ipv4("app.test", [2, 3]);
    fixture.until(&["-10.0.0.1", "10.0.0.2", "10.0.0.3"]).await;
    let pool = Arc::clone(fixture.registry.pool("pool").unwrap());
    let named = |name: &str| pool.members().iter().find(|m| &*m.name == name).unwrap();
    assert!(Arc::ptr_eq(&named("app.test@10.0.0.2:80").state, &kept));
    let leaving = named("app.test@10.0.0.1:80");
    assert!(Arc::ptr_eq(&leaving.state, &vanishes));
    assert_eq!((leaving.weight, leaving.state.admin_state()), (0, AdminState::Draining));
    assert!(leaving.state.takes_persistent(u64::MAX - 1) && !leaving.state.is_cut(u64::MAX - 1));

    *server.code.lock().unwrap() = Some(2);
    fixture.until(&["10.0.0.2", "10.0.0.3"]).await;
    assert!(vanishes.is_removed() && !vanishes.is_cut(u64::MAX - 1), "what is open goes on");
    let failed = || fixture.names.statuses()[0].error.is_some();
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    let told = timeout(Duration::from_secs(30), async {
        while !failed() {
            looks.tick().await;
        }
    });
    told.await.expect("the failure is told");
    assert_eq!(fixture.status().addresses, ["10.0.0.2:80", "10.0.0.3:80"]);

    *server.code.lock().unwrap() = Some(0);
    server.set_ipv4("app.test", [9]);
    fixture.until(&["-10.0.0.2", "-10.0.0.3", "10.0.0.9"]).await;
    assert_eq!(fixture.status().error, None);
    fixture.names.shutdown().await;
}

type Answers = Arc<Mutex<Result<Answer, String>>>;

/// Lookups whose answer the test decides, on virtual time, and how many there were.
fn decided() -> (LookupFn, Answers, Arc<AtomicUsize>) {
    let answers: Answers = Arc::new(Mutex::new(Ok(answer(60, [1]))));
    let count = Arc::new(AtomicUsize::new(0));
    let (said, counted) = (Arc::clone(&answers), Arc::clone(&count));
    let lookup: LookupFn = Arc::new(move |_| {
        counted.fetch_add(1, SeqCst);
        let answer = said.lock().unwrap().clone();
        Box::pin(async move { answer })
    });
    (lookup, answers, count)
}

fn answer(ttl_s: u32, lasts: impl IntoIterator<Item = u8>) -> Answer {
    let shape = Shape { weight: 1, priority: 0 };
    let found = lasts.into_iter().map(|last| (SocketAddr::from(([10, 0, 0, last], 80)), shape));
    Answer { found: found.collect(), ttl_s, ..Answer::default() }
}

/// Virtual time passes.
async fn pass(seconds: u64) {
    // tidy: on virtual time, which passes at once.
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn name_is_asked_for_when_its_time_has_passed_and_not_before() {
    let (lookup, answers, count) = decided();
    let mut fixture = Fixture::new(lookup);
    let mut done = fixture.names.first_round_done();
    fixture.put(vec![DnsMember::new("app.test", 80)]);
    fixture.until(&["10.0.0.1"]).await;
    assert!(*done.borrow_and_update());
    pass(59).await;
    assert_eq!(count.load(SeqCst), 1);
    pass(2).await;
    assert_eq!(count.load(SeqCst), 2);
    *answers.lock().unwrap() = Err("no".to_owned());
    // At 120 s, and then after 1, 2, 4, 8 and 16 s.
    pass(60 + 32).await;
    assert_eq!(count.load(SeqCst), 8);
    assert_eq!(fixture.status().addresses, ["10.0.0.1:80"]);
}

#[tokio::test(start_paused = true)]
async fn change_of_the_pool_asks_anew_only_where_the_name_is_asked_otherwise() {
    let (lookup, _, count) = decided();
    let mut fixture = Fixture::new(lookup);
    let spec = DnsMember::new("app.test", 80);
    fixture.put(vec![spec.clone()]);
    fixture.until(&["10.0.0.1"]).await;
    let state = Arc::clone(&fixture.registry.pool("pool").unwrap().members()[0].state);
    fixture.put(vec![spec.clone(), DnsMember::new("other.test", 80)]);
    pass(1).await;
    assert_eq!(count.load(SeqCst), 2, "the new one alone");
    let members = fixture.registry.pool("pool").unwrap().members().to_vec();
    assert!(Arc::ptr_eq(&members[0].state, &state), "the edit did not forget who it was");
    fixture.put(vec![DnsMember { weight: 2, ..spec }]);
    pass(1).await;
    assert_eq!(count.load(SeqCst), 3);
    fixture.put(Vec::new());
    fixture.until(&[]).await;
    assert!(fixture.names.statuses().is_empty());
    pass(1_000).await;
    assert_eq!(count.load(SeqCst), 3, "nobody wants it");
}

#[tokio::test(start_paused = true)]
async fn lookups_under_way_are_bounded() {
    let (under_way, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, highest) = (Arc::clone(&under_way), Arc::clone(&most));
    let lookup: LookupFn = Arc::new(move |_| {
        let (now, highest) = (Arc::clone(&now), Arc::clone(&highest));
        Box::pin(async move {
            highest.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            pass(1).await;
            now.fetch_sub(1, SeqCst);
            Ok(answer(86_400, [1]))
        })
    });
    let mut fixture = Fixture::new(lookup);
    let name =
        |n: usize| DnsMember { address_max_count: 1, ..DnsMember::new(&format!("h{n}"), 80) };
    fixture.put((0..64).map(name).collect());
    let mut done = fixture.names.first_round_done();
    timeout(Duration::from_secs(60), done.wait_for(|done| *done)).await.unwrap().unwrap();
    assert_eq!(most.load(SeqCst), LOOKUP_MAX_COUNT);
    assert_eq!(under_way.load(SeqCst), 0);
}
