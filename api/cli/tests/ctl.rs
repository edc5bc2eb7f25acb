//! `ballastctl` itself, against the API of a node over TLS.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ballast_api::{Api, Applied, NodeView, TailFeed};
use ballast_model::NodeRole;
use ballast_model::event::EventBody;
use ballast_model::ha::{HaTransition, MoveReport};
use ballast_model::status::NodeStatus;
use ballast_model::tail::TailFilter;
use ballast_raft_store::identity::{self, InitOptions};
use ballast_raft_store::{Listen, Store, StoreConfig};
use futures_util::future::BoxFuture;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

const PASSWORD: &str = "correct horse battery";

/// A node that carries every configuration out at once.
struct View(std::sync::OnceLock<Store>, broadcast::Sender<EventBody>);

/// What is served while somebody watches; then the node ends.
struct OneRecord(Option<String>);

impl TailFeed for OneRecord {
    fn next(&mut self) -> BoxFuture<'_, Option<String>> {
        Box::pin(std::future::ready(self.0.take()))
    }

    fn take_left_out(&self) -> u64 {
        0
    }
}

impl NodeView for View {
    fn status(&self) -> NodeStatus {
        let store = self.0.get().unwrap();
        NodeStatus {
            dns: Vec::new(),
            jwt_providers: Vec::new(),
            certificates: Vec::new(),
            persistence_tables: Vec::new(),
            share_peers: Vec::new(),
            ha: None,
            name: store.node_name().to_owned(),
            node_id: store.node_id(),
            role: NodeRole::Traffic,
            version: "0.0.0".to_owned(),
            started_at_ms: 0,
            raft: store.status(),
            planes: Vec::new(),
            listeners: Vec::new(),
            members: Vec::new(),
            virtual_servers: Vec::new(),
        }
    }

    fn wait_applied(&self, _index: u64, _timeout: Duration) -> BoxFuture<'static, Applied> {
        Box::pin(std::future::ready(Applied { applied: true, errors: Vec::new() }))
    }

    fn explain(
        &self,
        request: ballast_model::explain::ExplainRequest,
    ) -> BoxFuture<'static, Result<ballast_model::explain::ExplainReport, String>> {
        let verdict = format!("{} {}", request.method, request.path);
        let steps = vec![ballast_model::explain::ExplainStep {
            policy: "shop".to_owned(),
            rule: "all".to_owned(),
            position: 0,
            matched: true,
            condition: None,
            why: None,
            does: vec!["sends it to pool web".to_owned()],
        }];
        Box::pin(async move {
            Ok(ballast_model::explain::ExplainReport { verdict, steps, ..Default::default() })
        })
    }

    fn tail(&self, filter: TailFilter) -> Result<Box<dyn TailFeed>, String> {
        let pool = filter.pool.unwrap_or_default();
        Ok(Box::new(OneRecord(Some(format!("{{\"uri\":\"/cart\",\"pool\":\"{pool}\"}}")))))
    }

    fn metrics(&self) -> String {
        String::new()
    }

    fn events(&self) -> broadcast::Receiver<EventBody> {
        self.1.subscribe()
    }

    fn ha_timeline(&self) -> Vec<HaTransition> {
        Vec::new()
    }

    fn move_group(&self, group: String, to: String) -> BoxFuture<'static, MoveReport> {
        let error = Some("this node has no high availability".to_owned());
        Box::pin(std::future::ready(MoveReport { group, to, error, ..MoveReport::default() }))
    }
}

struct Cluster {
    url: String,
    fingerprint: String,
    home: TempDir,
    shutdown: CancellationToken,
    server: tokio::task::JoinHandle<Result<(), ballast_api::ServeError>>,
    api: Api,
    store: Store,
}

impl Cluster {
    async fn start() -> Self {
        let home = TempDir::new().unwrap();
        let state = home.path().join("state");
        let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (peers, listener) = (bind(), bind());
        let options = InitOptions {
            cluster_name: "test".to_owned(),
            node_name: "a".to_owned(),
            role: NodeRole::Traffic,
            cluster_address: peers.local_addr().unwrap().to_string(),
            api_addresses: vec![listener.local_addr().unwrap().to_string()],
            admin_password: Some(PASSWORD.to_owned()),
        };
        let fingerprint = identity::init(&state, &options).unwrap().ca_fingerprint_sha256;
        let identity = identity::load(&state).unwrap();
        let tls = tls(&identity);
        let view = Arc::new(View(std::sync::OnceLock::new(), broadcast::channel(4).0));
        let peer_routes = ballast_api::peer_router(Arc::<View>::clone(&view));
        let config = StoreConfig {
            identity,
            state_dir: state,
            listen: Listen::Bound(peers),
            snapshots: Default::default(),
        };
        let store = Store::open(config, peer_routes).await.unwrap();
        assert!(view.0.set(store.clone()).is_ok());
        let mut watch = store.watch();
        let made = watch.wait_for(|snapshot| !snapshot.state.cluster.uid.is_empty());
        tokio::time::timeout(Duration::from_secs(20), made).await.unwrap().unwrap();
        let shutdown = CancellationToken::new();
        let api = Api::start(store.clone(), view, shutdown.clone());
        let url = format!("https://{}", listener.local_addr().unwrap());
        let serving = ballast_api::serve(vec![listener], tls, api.router(), shutdown.clone());
        let server = tokio::spawn(serving);
        Self { url, fingerprint, home, shutdown, server, api, store }
    }

    async fn ctl(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ballastctl"));
        command.args(arguments).env("XDG_CONFIG_HOME", self.home.path().join("config"));
        for name in ["BALLAST_URL", "BALLAST_TOKEN", "BALLAST_CA_FINGERPRINT"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null());
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    async fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.ctl(arguments).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    async fn fails(&self, status: i32, arguments: &[&str]) -> String {
        let output = self.ctl(arguments).await;
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {errors}");
        errors
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        Path::to_str(&path).unwrap().to_owned()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.server.await.unwrap().unwrap();
        self.api.stop().await;
        self.store.shutdown().await;
    }
}

fn tls(identity: &identity::Identity) -> Arc<rustls::ServerConfig> {
    let certificate = identity.api_certificate(&["localhost".to_owned()]).unwrap();
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes()).collect();
    let mut chain = chain.unwrap();
    if chain.len() == 1 {
        chain.push(CertificateDer::from_pem_slice(identity.ca_pem().as_bytes()).unwrap());
    }
    let key = PrivateKeyDer::from_pem_slice(certificate.private_key_pem.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Arc::new(config)
}

const GROUPS: &str = r#"{
  "traffic_groups": [{ "name": "blue", "spec": {
    "virtual_router_id": 10, "addresses": [{ "address": "198.51.100.10" }]
  } }]
}"#;

const DECLARATION: &str = r#"{
  "pools": [{ "name": "web", "spec": { "members": [{ "address": "10.0.0.1", "port": 80 }] } }]
}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn automator_signs_in_applies_looks_and_leaves() {
    let cluster = Cluster::start().await;
    let password = cluster.file("password", &format!("{PASSWORD}\n"));
    let url = cluster.url.as_str();
    let as_admin = ["login", url, "--username", "admin", "--password-file", password.as_str()];

    assert!(cluster.fails(2, &["get", "pools"]).await.contains("not signed in"));
    let stranger = "00".repeat(32);
    let refused = [&as_admin[..], &["--ca-fingerprint", &stranger]].concat();
    cluster.fails(1, &refused).await;
    let unasked = cluster.fails(2, &as_admin).await;
    assert!(unasked.contains(&cluster.fingerprint), "{unasked}");
    let pinned = [&as_admin[..], &["--ca-fingerprint", &cluster.fingerprint]].concat();
    cluster.succeeds(&pinned).await;

    let file = cluster.file("site.json", DECLARATION);
    let dry = cluster.succeeds(&["apply", "-f", &file, "--dry-run"]).await;
    assert!(dry.starts_with("create pools/web\n") && dry.contains("dry run"), "{dry}");
    let applied = cluster.succeeds(&["apply", "-f", &file, "--wait"]).await;
    assert!(applied.contains("applied as index"), "{applied}");
    let again = cluster.succeeds(&["apply", "-f", &file]).await;
    assert!(again.contains("nothing changes"), "{again}");
    let wrong = cluster.file("wrong.json", &DECLARATION.replace("80", "0"));
    let errors = cluster.fails(1, &["apply", "-f", &wrong]).await;
    assert!(errors.contains("/pools/0/spec/members/0/port"), "{errors}");
    let broken = cluster.file("broken.json", "{");
    assert!(cluster.fails(2, &["apply", "-f", &broken]).await.contains("line 1 column 1"));

    cluster.succeeds(&["member", "drain", "web", "10.0.0.1:80", "--deadline-s", "60"]).await;
    let pool = cluster.succeeds(&["get", "pool", "web", "-o", "json"]).await;
    let pool: serde_json::Value = serde_json::from_str(&pool).unwrap();
    assert_eq!(pool["spec"]["members"][0]["admin_state"], "draining");
    assert!(cluster.succeeds(&["get", "pools"]).await.contains("round_robin"));
    assert!(cluster.succeeds(&["status"]).await.contains("all is as it should be"));
    assert!(cluster.succeeds(&["cluster", "status"]).await.contains("leader"));
    let token = cluster.succeeds(&["token", "create", "ci", "--role", "editor"]).await;
    let exported = cluster.succeeds(&["export"]).await;
    let exported = cluster.file("exported.json", &exported);

    cluster.succeeds(&["logout"]).await;
    cluster.fails(2, &["status"]).await;
    let token = cluster.file("token", &token);
    let by_token = ["login", url, "--token-file", &token, "--ca-fingerprint", &cluster.fingerprint];
    cluster.succeeds(&by_token).await;
    let again = cluster.succeeds(&["apply", "-f", &exported]).await;
    assert!(again.contains("nothing changes"), "{again}");
    let refused = cluster.fails(1, &["delete", "user", "admin"]).await;
    assert!(refused.contains("code: forbidden (403)"), "{refused}");
    cluster.succeeds(&["delete", "pool", "web"]).await;
    assert!(cluster.fails(1, &["get", "pool", "web"]).await.contains("code: not_found (404)"));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operator_watches_requests() {
    let cluster = Cluster::start().await;
    let password = cluster.file("password", &format!("{PASSWORD}\n"));
    let login = ["login", cluster.url.as_str(), "--username", "admin", "--password-file"];
    let pin = ["--ca-fingerprint", cluster.fingerprint.as_str()];
    cluster.succeeds(&[&login[..], &[password.as_str()], &pin[..]].concat()).await;
    let shown = cluster.succeeds(&["tail", "--pool", "blue", "--status", "5xx"]).await;
    assert!(shown.contains("a   /cart") && shown.contains("→ blue"), "{shown}");
    let json = cluster.succeeds(&["tail", "-o", "json"]).await;
    assert_eq!(json.trim_end(), r#"{"node":"a","pool":"","uri":"/cart"}"#);
    cluster.fails(2, &["tail", "--status", "6xx"]).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operator_looks_at_traffic_groups_and_puts_a_node_in_maintenance() {
    let cluster = Cluster::start().await;
    let password = cluster.file("password", &format!("{PASSWORD}\n"));
    let login = ["login", cluster.url.as_str(), "--username", "admin", "--password-file"];
    let pin = ["--ca-fingerprint", cluster.fingerprint.as_str()];
    cluster.succeeds(&[&login[..], &[password.as_str()], &pin[..]].concat()).await;
    let file = cluster.file("groups.json", GROUPS);
    assert!(cluster.succeeds(&["apply", "-f", &file]).await.contains("traffic-groups/blue"));

    let status = cluster.succeeds(&["ha", "status"]).await;
    assert!(status.contains("! nobody owns traffic group blue"), "{status}");
    let status = cluster.succeeds(&["ha", "status", "-o", "json"]).await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["groups"][0]["addresses"][0], "198.51.100.10");
    assert!(cluster.succeeds(&["ha", "preview", "--down", "a"]).await.contains("nobody"));
    assert!(cluster.fails(1, &["ha", "preview", "--down", "zoe"]).await.contains("zoe"));
    assert!(cluster.succeeds(&["ha", "events", "--group", "blue"]).await.contains("nothing"));
    assert!(cluster.fails(1, &["ha", "failover", "blue"]).await.contains("not_able"));
    assert!(cluster.fails(1, &["ha", "failover", "red"]).await.contains("not_found"));
    assert!(cluster.succeeds(&["ha", "standby", "a"]).await.contains("nothing to move"));
    for (command, state) in
        [("maintenance", "maintenance"), ("offline", "offline"), ("available", "available")]
    {
        let said = cluster.succeeds(&["ha", command, "a", "--wait"]).await;
        assert!(said.starts_with(&format!("a: {state}")), "{said}");
        let status = cluster.succeeds(&["ha", "status"]).await;
        assert!(status.contains(state), "{status}");
    }
    cluster.stop().await;
}
