//! Whole stores in one process, over real mTLS on ports of the system's choice.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::routing::post;
use axum::{Json, Router};
use ballast_model::{
    AnyDraft, Command, CommandBody, Draft, Edit, IdempotencyKey, Kind, MonitorSpec, NodeRole,
    Origin, Outcome, Precondition, Rejection,
};
use ballast_raft_store::identity::{self, InitOptions, JoinOptions};
use ballast_raft_store::{
    IdentityError, Listen, OpenError, PeerError, ProposeError, SnapshotPolicy, Store, StoreConfig,
    StoreFailure,
};
use tempfile::TempDir;
use tokio::time::{Instant, interval, timeout};

/// Long enough for a loaded machine; nothing waits for it where all is well.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

struct Node {
    directory: TempDir,
    address: SocketAddr,
    store: Option<Store>,
}

impl Node {
    fn store(&self) -> &Store {
        self.store.as_ref().expect("the node runs")
    }

    async fn stop(&mut self) {
        self.store.take().expect("the node runs").shutdown().await;
    }

    async fn start(&mut self) {
        self.store = Some(open(self.directory.path(), self.address).await.unwrap());
    }
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn peer_routes() -> Router {
    Router::new().route("/echo", post(|Json(text): Json<String>| async move { Json(text) }))
}

async fn open(state_dir: &Path, address: SocketAddr) -> Result<Store, OpenError> {
    // Just closed, the port may be taken for a moment yet.
    let deadline = Instant::now() + PATIENCE;
    let mut looks = interval(LOOK_INTERVAL);
    loop {
        looks.tick().await;
        let config = StoreConfig {
            identity: identity::load(state_dir)?,
            state_dir: state_dir.to_owned(),
            listen: Listen::Address(address),
            snapshots: SnapshotPolicy { every_count: 40, keep_count: 10 },
        };
        match Store::open(config, peer_routes()).await {
            Err(OpenError::Listen { .. }) if Instant::now() < deadline => {}
            other => return other,
        }
    }
}

async fn first_node() -> Node {
    let directory = TempDir::new().unwrap();
    let (listener, address) = listen();
    let options = InitOptions {
        cluster_name: "edge".to_owned(),
        node_name: "a".to_owned(),
        role: NodeRole::Traffic,
        cluster_address: address.to_string(),
        api_addresses: Vec::new(),
        admin_password: None,
    };
    identity::init(directory.path(), &options).unwrap();
    drop(listener);
    let store = open(directory.path(), address).await.unwrap();
    Node { directory, address, store: Some(store) }
}

fn join_options(name: &str, address: SocketAddr) -> JoinOptions {
    JoinOptions {
        node_name: name.to_owned(),
        cluster_address: address.to_string(),
        api_addresses: Vec::new(),
    }
}

async fn joined_node(through: &Node, name: &str, role: NodeRole) -> Node {
    let token = through.store().create_join_token(role, origin()).await.unwrap();
    let directory = TempDir::new().unwrap();
    let (listener, address) = listen();
    let peer = through.address.to_string();
    let options = join_options(name, address);
    let report = identity::join(directory.path(), &token.text, &peer, &options).await.unwrap();
    assert_eq!(report.role, role);
    drop(listener);
    let store = open(directory.path(), address).await.unwrap();
    Node { directory, address, store: Some(store) }
}

async fn cluster() -> Vec<Node> {
    let a = first_node().await;
    let b = joined_node(&a, "b", NodeRole::Traffic).await;
    wait_for("two voters", || a.store().status().voters.len() == 2).await;
    let c = joined_node(&b, "c", NodeRole::Witness).await;
    wait_for("three voters", || a.store().status().voters.len() == 3).await;
    vec![a, b, c]
}

fn origin() -> Origin {
    Origin { actor: "test".to_owned(), ..Origin::default() }
}

fn put(name: &str) -> Command {
    command(CommandBody::Edit { edits: vec![edit(name)] })
}

fn edit(name: &str) -> Edit {
    let spec: MonitorSpec = serde_json::from_value(serde_json::json!({"type": "tcp"})).unwrap();
    Edit::put(AnyDraft::Monitor(Draft::new(name, spec)), format!("uid-{name}"))
}

fn command(body: CommandBody) -> Command {
    Command { origin: origin(), at_ms: 1, idempotency: None, body }
}

fn has(store: &Store, name: &str) -> bool {
    store.snapshot().state.config.monitors.get(name).is_some()
}

/// Named, as a client's writes are: on a busy machine the leader may change meanwhile, and only what
/// has a name is repeated then instead of being [`ProposeError::Unknown`].
async fn applied(store: &Store, name: &str) -> u64 {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let key = format!("write-{}", WRITES.fetch_add(1, Ordering::Relaxed));
    let key = IdempotencyKey { key, fingerprint: name.to_owned() };
    let named = Command { idempotency: Some(key), ..put(name) };
    match store.propose(named).await.unwrap() {
        Outcome::Applied { index, .. } | Outcome::Replayed { index } => index,
        other => panic!("{name}: {other:?}"),
    }
}

async fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut looks = interval(LOOK_INTERVAL);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        looks.tick().await;
    }
}

fn leader(nodes: &[Node]) -> Option<usize> {
    nodes.iter().position(|node| {
        let status = node.store.as_ref().map(Store::status);
        status.is_some_and(|status| status.state == "leader" && status.has_quorum)
    })
}

async fn wait_for_leader(nodes: &[Node]) -> usize {
    wait_for("a leader", || leader(nodes).is_some()).await;
    leader(nodes).unwrap()
}

async fn stop_all(nodes: Vec<Node>) {
    for mut node in nodes {
        if node.store.is_some() {
            node.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn single_node_keeps_what_it_acknowledged_over_restarts() {
    let mut node = first_node().await;
    assert_eq!(node.store().snapshot().state.cluster.name, "edge");
    for round in 0..3 {
        applied(node.store(), &format!("m{round}")).await;
        node.stop().await;
        node.start().await;
        wait_for("everything is back", || (0..=round).all(|n| has(node.store(), &format!("m{n}"))))
            .await;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_node_takes_any_write_and_all_have_it() {
    let nodes = cluster().await;
    for (number, node) in nodes.iter().enumerate() {
        let name = format!("m{number}");
        let index = applied(node.store(), &name).await;
        assert!(node.store().snapshot().index >= index, "its own write is there on return");
        for other in &nodes {
            assert!(other.store().read_barrier().await.unwrap() >= index);
            assert!(has(other.store(), &name));
        }
    }
    let states: Vec<_> = nodes.iter().map(|node| node.store().snapshot()).collect();
    assert!(states.windows(2).all(|pair| pair[0].state == pair[1].state));
    assert!(nodes.iter().all(|node| node.store().status().has_quorum));
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_after_they_can_be_read() {
    let node = first_node().await;
    let mut changes = node.store().changes();
    let index = applied(node.store(), "m").await;
    let change = timeout(PATIENCE, changes.recv()).await.unwrap().unwrap();
    assert_eq!((change.index, change.origin.actor.as_str()), (index, "test"));
    assert_eq!(change.changed[0].to_string(), "monitors/m");
    assert!(node.store().snapshot().index >= change.index);
    stop_all(vec![node]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_command_does_not_enter_the_log() {
    let node = first_node().await;
    applied(node.store(), "m").await;
    let before = node.store().status().last_log_index;
    let edits = vec![edit("m").only_if(Precondition::Absent)];
    let outcome = node.store().propose(command(CommandBody::Edit { edits })).await.unwrap();
    assert!(matches!(outcome, Outcome::Rejected { rejection: Rejection::AlreadyExists { .. } }));
    assert_eq!(node.store().status().last_log_index, before);
    stop_all(vec![node]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn named_write_is_done_once() {
    let nodes = cluster().await;
    let key = IdempotencyKey { key: "k".to_owned(), fingerprint: "f".to_owned() };
    let named = Command { idempotency: Some(key), ..put("m") };
    let Outcome::Applied { index, .. } = nodes[1].store().propose(named.clone()).await.unwrap()
    else {
        panic!("it was new");
    };
    let again = nodes[2].store().propose(named).await.unwrap();
    assert_eq!(again, Outcome::Replayed { index });
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn death_of_the_leader_costs_nothing_that_was_acknowledged() {
    let mut nodes = cluster().await;
    applied(nodes[1].store(), "before").await;
    let old = wait_for_leader(&nodes).await;
    nodes[old].stop().await;
    let new = wait_for_leader(&nodes).await;
    applied(nodes[new].store(), "between").await;
    nodes[old].start().await;
    let back = nodes[old].store();
    wait_for("it has caught up", || has(back, "before") && has(back, "between")).await;
    applied(back, "after").await;
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_that_was_away_for_long_gets_a_snapshot() {
    let mut nodes = cluster().await;
    let away = (wait_for_leader(&nodes).await + 1) % 3;
    nodes[away].stop().await;
    let some = wait_for_leader(&nodes).await;
    for number in 0..120 {
        applied(nodes[some].store(), &format!("m{number}")).await;
    }
    nodes[away].start().await;
    let back = nodes[away].store();
    wait_for("it has caught up", || (0..120).all(|n| has(back, &format!("m{n}")))).await;
    let snapshots = nodes[away].directory.path().join("store/snapshots");
    assert!(std::fs::read_dir(snapshots).unwrap().count() > 0);
    // And from there over a restart.
    nodes[away].stop().await;
    nodes[away].start().await;
    wait_for("it is all there", || has(nodes[away].store(), "m119")).await;
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_a_write_is_refused_and_says_who_is_missing() {
    let mut nodes = cluster().await;
    applied(nodes[0].store(), "m").await;
    nodes[1].stop().await;
    nodes[2].stop().await;
    wait_for("it notices", || !nodes[0].store().status().has_quorum).await;
    match nodes[0].store().propose(put("n")).await {
        Err(ProposeError::NoQuorum { why }) => {
            assert!(why.contains("2 of the 3 voting nodes"), "{why}");
            assert!(why.contains("b (127.0.0.1:") && why.contains("c (127.0.0.1:"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(nodes[0].store().read_barrier().await, Err(ProposeError::NoQuorum { .. })));
    assert!(has(nodes[0].store(), "m"), "what is there can be read on");
    nodes[1].start().await;
    wait_for("the quorum is back", || nodes[0].store().status().has_quorum).await;
    assert!(!has(nodes[0].store(), "n"), "what was refused is not done later");
    applied(nodes[0].store(), "o").await;
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_node_is_out_for_good() {
    let mut nodes = cluster().await;
    let id = nodes[2].store().node_id();
    let outcome = nodes[0].store().remove_node("c", origin()).await.unwrap();
    assert!(matches!(outcome, Outcome::Applied { .. }));
    wait_for("two voters", || nodes[0].store().status().voters.len() == 2).await;
    let why = timeout(PATIENCE, nodes[2].store().failed()).await.unwrap();
    assert_eq!(why, StoreFailure::Removed);
    // Its certificate is refused from now on.
    let refused = nodes[2]
        .store()
        .peers()
        .call::<_, String>(nodes[0].store().node_id(), "echo", &"hello", PATIENCE)
        .await;
    assert!(matches!(refused, Err(PeerError::Refused { status: 403, .. })), "{refused:?}");
    // Even if it comes back, its campaigns disturb nobody.
    let term = nodes[0].store().status().term;
    nodes[2].stop().await;
    nodes[2].start().await;
    timeout(PATIENCE, nodes[2].store().failed()).await.unwrap();
    assert_eq!(nodes[0].store().status().term, term);
    applied(nodes[1].store(), "m").await;
    // Another takes its place, under another number.
    let d = joined_node(&nodes[0], "c", NodeRole::Witness).await;
    assert_ne!(d.store().node_id(), id);
    wait_for("three voters", || nodes[0].store().status().voters.len() == 3).await;
    nodes.push(d);
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_can_be_removed() {
    let nodes = cluster().await;
    let old = wait_for_leader(&nodes).await;
    let name = nodes[old].store().node_name().to_owned();
    nodes[old].store().remove_node(&name, origin()).await.unwrap();
    let others: Vec<&Node> =
        nodes.iter().enumerate().filter(|(at, _)| *at != old).map(|(_, node)| node).collect();
    wait_for("the others go on", || {
        others.iter().any(|node| {
            let status = node.store().status();
            status.state == "leader" && status.has_quorum && status.voters.len() == 2
        })
    })
    .await;
    applied(others[0].store(), "m").await;
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn join_token_works_once_and_only_for_its_cluster() {
    let (a, stranger) = (first_node().await, first_node().await);
    let token = a.store().create_join_token(NodeRole::Traffic, origin()).await.unwrap();
    let directory = TempDir::new().unwrap();
    let (_listener, address) = listen();
    let options = join_options("b", address);
    // Another cluster is not asked at all.
    let elsewhere = stranger.address.to_string();
    let wrong = identity::join(directory.path(), &token.text, &elsewhere, &options).await;
    assert!(matches!(wrong, Err(IdentityError::Peer { .. })), "{wrong:?}");
    let peer = a.address.to_string();
    identity::join(directory.path(), &token.text, &peer, &options).await.unwrap();
    let log_index = a.store().status().last_log_index;
    let other = TempDir::new().unwrap();
    let used = identity::join(other.path(), &token.text, &peer, &join_options("c", address)).await;
    assert!(matches!(used, Err(IdentityError::Refused { .. })), "{used:?}");
    assert_eq!(a.store().status().last_log_index, log_index, "a refusal costs no entry");
    let garbage = identity::join(other.path(), "garbage", &peer, &options).await;
    assert!(matches!(garbage, Err(IdentityError::NotAToken)));
    stop_all(vec![a, stranger]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_join_token_is_refused() {
    let a = first_node().await;
    let token = a.store().create_join_token(NodeRole::Traffic, origin()).await.unwrap();
    // The same ticket, made anew with an end that has passed.
    let ticket = a.store().snapshot().state.cluster.join_tickets[&token.id].clone();
    let body = CommandBody::CreateJoinTicket {
        id: token.id.clone(),
        secret_hash: ticket.secret_hash,
        role: ticket.role,
        expires_at_ms: 1,
    };
    a.store().propose(Command { at_ms: 0, ..command(body) }).await.unwrap();
    let directory = TempDir::new().unwrap();
    let (_listener, address) = listen();
    let peer = a.address.to_string();
    let joined =
        identity::join(directory.path(), &token.text, &peer, &join_options("b", address)).await;
    assert!(matches!(joined, Err(IdentityError::Refused { .. })), "{joined:?}");
    stop_all(vec![a]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_of_another_cluster_at_the_same_address_is_not_talked_to() {
    let (a, stranger) = (first_node().await, first_node().await);
    let mut b = joined_node(&a, "b", NodeRole::Traffic).await;
    b.store().read_barrier().await.unwrap();
    let a_address = a.address;
    // Another cluster's node 1 answers where ours was: the certificate gives it away.
    let mut nodes = [a];
    nodes[0].stop().await;
    let mut stranger = stranger;
    stranger.stop().await;
    stranger.address = a_address;
    stranger.start().await;
    let called =
        b.store().peers().call::<_, String>(1, "echo", &"hello", Duration::from_secs(5)).await;
    assert!(matches!(called, Err(PeerError::Unreachable { .. })), "{called:?}");
    b.stop().await;
    stranger.stop().await;
}

/// Once it knew them from the next change of the configuration only, and said "no node 1" until then.
#[tokio::test(flavor = "multi_thread")]
async fn restarted_node_reaches_the_others_before_anything_changes() {
    let mut nodes = cluster().await;
    applied(nodes[0].store(), "m").await;
    let leader = wait_for_leader(&nodes).await;
    let follower = (leader + 1) % 3;
    // What it has on its disk is then all there is: no entry comes after it.
    wait_for("it has everything", || has(nodes[follower].store(), "m")).await;
    nodes[follower].stop().await;
    nodes[follower].start().await;
    let index = nodes[leader].store().snapshot().index;
    for other in (0..3).filter(|other| *other != follower) {
        let (peers, id) = (nodes[follower].store().peers(), nodes[other].store().node_id());
        let mut looks = interval(LOOK_INTERVAL);
        let reached = timeout(PATIENCE, async {
            while peers.call::<_, String>(id, "echo", &"hello", PATIENCE).await.is_err() {
                looks.tick().await;
            }
        });
        reached.await.expect("a node that was there before is reached");
    }
    assert_eq!(nodes[leader].store().snapshot().index, index, "nothing was changed meanwhile");
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_call_each_others_routes() {
    let nodes = cluster().await;
    let id = nodes[0].store().node_id();
    for node in &nodes[1..] {
        let echo = node.store().peers().call::<_, String>(id, "/echo", &"hello", PATIENCE).await;
        assert_eq!(echo.unwrap(), "hello");
    }
    let unknown = nodes[0].store().peers().call::<_, String>(99, "echo", &"", PATIENCE).await;
    assert!(matches!(unknown, Err(PeerError::UnknownNode(99))));
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_a_command_is_refused_and_a_large_one_reaches_all() {
    let nodes = cluster().await;
    let large = |count: usize| {
        let mut edits: Vec<_> = (0..count).map(|n| edit(&format!("m{n}"))).collect();
        for edit in &mut edits {
            if let ballast_model::EditAction::Put { draft, .. } = &mut edit.action
                && let AnyDraft::Monitor(draft) = draft.as_mut()
            {
                draft.description = "x".repeat(4_000);
            }
        }
        command(CommandBody::Edit { edits })
    };
    let refused = nodes[1].store().propose(large(9_000)).await;
    assert!(matches!(refused, Err(ProposeError::TooLarge { .. })), "{refused:?}");
    let term = nodes[0].store().status().term;
    let outcome = nodes[1].store().propose(large(1_000)).await.unwrap();
    assert!(matches!(outcome, Outcome::Applied { .. }));
    for node in &nodes {
        wait_for("it is there", || has(node.store(), "m999")).await;
        assert_eq!(node.store().snapshot().state.config.resources(Kind::Monitor).len(), 1_000);
    }
    assert_eq!(nodes[0].store().status().term, term, "the leader stays while it is on its way");
    stop_all(nodes).await;
}

fn files_below(directory: &Path, name: &str) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().ends_with(name)).collect()
}

async fn quarantined(damage: impl FnOnce(&Path)) {
    let mut node = first_node().await;
    for number in 0..60 {
        applied(node.store(), &format!("m{number}")).await;
    }
    let state_dir = node.directory.path().to_owned();
    let snapshots = state_dir.join("store/snapshots");
    wait_for("a snapshot", || files_below(&snapshots, ".snapshot").len() == 1).await;
    node.stop().await;
    damage(&state_dir);
    let error = open(&state_dir, node.address).await.err().expect("it opens damaged");
    let OpenError::Quarantined { quarantine, .. } = &error else { panic!("{error:?}") };
    assert!(error.to_string().contains("ballastd join"), "{error}");
    assert!(quarantine.join("identity/node.json").exists(), "nothing is deleted");
    // It does not come back under its number, and says why.
    let again = open(&state_dir, node.address).await.err().unwrap();
    assert!(matches!(again, OpenError::Identity(IdentityError::Quarantined { .. })), "{again:?}");
}

fn overwrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_database_is_quarantined() {
    quarantined(|state_dir| {
        overwrite(&state_dir.join("store/db"), |bytes| bytes.truncate(bytes.len() / 3));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vanished_database_is_quarantined() {
    quarantined(|state_dir| std::fs::remove_dir_all(state_dir.join("store")).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vanished_database_is_quarantined_though_its_flush_count_is_gone_too() {
    quarantined(|state_dir| {
        std::fs::remove_dir_all(state_dir.join("store")).unwrap();
        std::fs::remove_file(state_dir.join("store-sequence")).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_snapshot_is_quarantined() {
    quarantined(|state_dir| {
        let snapshots = files_below(&state_dir.join("store/snapshots"), ".snapshot");
        overwrite(&snapshots[0], |bytes| *bytes.last_mut().unwrap() ^= 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_database_is_quarantined() {
    quarantined(|state_dir| {
        // Every copy of an entry's text in the file: whichever is in use is damaged.
        overwrite(&state_dir.join("store/db"), |bytes| {
            let needle = b"uid-m59";
            let found: Vec<_> =
                bytes.windows(needle.len()).enumerate().filter(|(_, w)| w == needle).collect();
            let found: Vec<usize> = found.into_iter().map(|(at, _)| at).collect();
            assert!(!found.is_empty());
            found.into_iter().for_each(|at| bytes[at] ^= 1);
        });
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn store_in_use_is_left_alone() {
    let node = first_node().await;
    let (_listener, address) = listen();
    drop(_listener);
    let error = open(node.directory.path(), address).await.err().unwrap();
    assert!(matches!(error, OpenError::Storage(_)), "{error:?}");
    applied(node.store(), "m").await;
    stop_all(vec![node]).await;
}
