//! A node with a real store and an API, and requests to it.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use ballast_model::event::EventBody;
use ballast_model::ha::{HaStatus, HaTransition, MoveReport};
use ballast_model::status::{NodeStatus, PlaneStatus};
use ballast_model::tail::TailFilter;
use ballast_model::{NodeRole, Snapshot};
use ballast_raft_store::identity::{self, InitOptions};
use ballast_raft_store::{Listen, Store, StoreConfig};
use futures_util::future::BoxFuture;
use http_body_util::BodyExt as _;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::{Api, Applied, NodeView, TailFeed};

pub(super) const PASSWORD: &str = "correct horse battery";
/// How long a store of one node may take to be ready to write.
const READY_LIMIT: Duration = Duration::from_secs(20);

pub(super) struct Node {
    pub(super) store: Store,
    pub(super) view: Arc<FakeView>,
    pub(super) router: Router,
    pub(super) setup_code: Option<String>,
    pub(super) shutdown: CancellationToken,
    _api: Api,
    _directory: TempDir,
}

pub(super) struct FakeView {
    store: std::sync::OnceLock<Store>,
    events: broadcast::Sender<EventBody>,
    /// What it says of high availability.
    pub(super) ha: std::sync::Mutex<Option<HaStatus>>,
    /// What became of its traffic groups.
    pub(super) timeline: std::sync::Mutex<Vec<HaTransition>>,
    /// Moves that it was asked for, as group and target.
    pub(super) moves: std::sync::Mutex<Vec<(String, String)>>,
    /// What a plane can't carry out.
    pub(super) errors: std::sync::Mutex<Vec<String>>,
    /// Who watches its records, and with what filter.
    pub(super) readers: std::sync::Mutex<Vec<(TailFilter, mpsc::Sender<String>)>>,
}

/// What a reader of a [`FakeView`] gets; one record is left out for each that reads `more`.
struct FakeFeed(mpsc::Receiver<String>, std::sync::atomic::AtomicU64);

impl TailFeed for FakeFeed {
    fn next(&mut self) -> BoxFuture<'_, Option<String>> {
        Box::pin(async {
            let record = self.0.recv().await?;
            if record.contains("more") {
                self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            Some(record)
        })
    }

    fn take_left_out(&self) -> u64 {
        self.1.swap(0, std::sync::atomic::Ordering::Relaxed)
    }
}

pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

/// Who asks.
#[derive(Clone)]
pub(super) enum As {
    Nobody,
    Bearer(String),
    Cookie { session: String, csrf_token: Option<String> },
}

impl NodeView for FakeView {
    fn status(&self) -> NodeStatus {
        let store = self.store.get().unwrap();
        let plane = |plane: &str| PlaneStatus {
            plane: plane.to_owned(),
            applied_index: store.snapshot().index,
            error: None,
        };
        NodeStatus {
            dns: Vec::new(),
            jwt_providers: Vec::new(),
            certificates: Vec::new(),
            persistence_tables: Vec::new(),
            share_peers: Vec::new(),
            ha: self.ha.lock().unwrap().clone(),
            name: store.node_name().to_owned(),
            node_id: store.node_id(),
            role: NodeRole::Traffic,
            version: "0.0.0".to_owned(),
            started_at_ms: 0,
            raft: store.status(),
            planes: vec![plane("proxy"), plane("health")],
            listeners: Vec::new(),
            members: Vec::new(),
            virtual_servers: Vec::new(),
        }
    }

    fn wait_applied(&self, index: u64, timeout: Duration) -> BoxFuture<'static, Applied> {
        let mut watch = self.store.get().unwrap().watch();
        let errors = self.errors.lock().unwrap().clone();
        Box::pin(async move {
            let reached = watch.wait_for(|snapshot| snapshot.index >= index);
            let applied = tokio::time::timeout(timeout, reached).await.is_ok();
            Applied { applied, errors }
        })
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

    fn metrics(&self) -> String {
        "ballast_up 1\n".to_owned()
    }

    fn tail(&self, filter: TailFilter) -> Result<Box<dyn TailFeed>, String> {
        let mut readers = self.readers.lock().unwrap();
        if readers.len() == 2 {
            return Err("2 readers watch this node already".to_owned());
        }
        let (sender, receiver) = mpsc::channel(16);
        readers.push((filter, sender));
        Ok(Box::new(FakeFeed(receiver, Default::default())))
    }

    fn events(&self) -> broadcast::Receiver<EventBody> {
        self.events.subscribe()
    }

    fn ha_timeline(&self) -> Vec<HaTransition> {
        self.timeline.lock().unwrap().clone()
    }

    fn move_group(&self, group: String, to: String) -> BoxFuture<'static, MoveReport> {
        self.moves.lock().unwrap().push((group.clone(), to.clone()));
        let is_refused = group == "stuck";
        let error = is_refused.then(|| "b did not take it".to_owned());
        let report = MoveReport { group, to, error, moved_ms: 7, ..MoveReport::default() };
        Box::pin(std::future::ready(report))
    }
}

impl FakeView {
    pub(super) fn happens(&self, event: EventBody) {
        self.events.send(event).unwrap();
    }
}

impl Node {
    /// A node whose first user, `admin`, is there already.
    pub(super) async fn start() -> Self {
        Self::start_with(Some(PASSWORD.to_owned())).await
    }

    pub(super) async fn start_with(admin_password: Option<String>) -> Self {
        let directory = TempDir::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let options = InitOptions {
            cluster_name: "test".to_owned(),
            node_name: "a".to_owned(),
            role: NodeRole::Traffic,
            cluster_address: listener.local_addr().unwrap().to_string(),
            api_addresses: vec!["127.0.0.1:1".to_owned()],
            admin_password,
        };
        let report = identity::init(directory.path(), &options).unwrap();
        let view = Arc::new(FakeView {
            store: Default::default(),
            events: broadcast::channel(16).0,
            ha: Default::default(),
            timeline: Default::default(),
            moves: Default::default(),
            errors: Default::default(),
            readers: Default::default(),
        });
        let config = StoreConfig {
            identity: identity::load(directory.path()).unwrap(),
            state_dir: directory.path().to_owned(),
            listen: Listen::Bound(listener),
            snapshots: Default::default(),
        };
        let peer_routes = crate::peer_router(Arc::<FakeView>::clone(&view));
        let store = Store::open(config, peer_routes).await.unwrap();
        assert!(view.store.set(store.clone()).is_ok());
        let mut watch = store.watch();
        let made = watch.wait_for(|snapshot| !snapshot.state.cluster.uid.is_empty());
        tokio::time::timeout(READY_LIMIT, made).await.unwrap().unwrap();
        let shutdown = CancellationToken::new();
        let api = Api::start(store.clone(), Arc::<FakeView>::clone(&view), shutdown.clone());
        Self {
            router: api.router(),
            store,
            view,
            setup_code: report.setup_code,
            shutdown,
            _api: api,
            _directory: directory,
        }
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.store.snapshot()
    }

    /// Signs `admin` in.
    pub(super) async fn admin(&self) -> As {
        self.sign_in("admin", PASSWORD).await
    }

    pub(super) async fn sign_in(&self, username: &str, password: &str) -> As {
        let body = json!({ "username": username, "password": password });
        let reply = self.post(&As::Nobody, "/api/v1/sessions", body).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        As::Bearer(reply.session())
    }

    /// A token of that role.
    pub(super) async fn token(&self, admin: &As, role: &str) -> As {
        let body = json!({ "name": format!("t-{role}"), "spec": { "role": role } });
        let reply = self.post(admin, "/api/v1/tokens", body).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        As::Bearer(reply.json()["secret"].as_str().unwrap().to_owned())
    }

    pub(super) async fn get(&self, who: &As, path: &str) -> Reply {
        self.send(who, Method::GET, path, &[], None).await
    }

    pub(super) async fn post(&self, who: &As, path: &str, body: Value) -> Reply {
        self.send(who, Method::POST, path, &[], Some(body)).await
    }

    pub(super) async fn put(&self, who: &As, path: &str, body: Value) -> Reply {
        self.send(who, Method::PUT, path, &[], Some(body)).await
    }

    pub(super) async fn delete(&self, who: &As, path: &str) -> Reply {
        self.send(who, Method::DELETE, path, &[], None).await
    }

    pub(super) async fn send(
        &self,
        who: &As,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Reply {
        let text = body.map(|body| body.to_string());
        let mut all = headers.to_vec();
        if text.is_some() && !headers.iter().any(|(name, _)| *name == "content-type") {
            all.push(("content-type", "application/json"));
        }
        self.send_text(who, method, path, &all, text.unwrap_or_default()).await
    }

    pub(super) async fn send_text(
        &self,
        who: &As,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Reply {
        let response = self.response(who, method, path, headers, body).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Reply { status: parts.status, headers: parts.headers, text }
    }

    /// The answer with its body still to be read.
    pub(super) async fn response(
        &self,
        who: &As,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> axum::response::Response {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        match who {
            As::Nobody => {}
            As::Bearer(token) => {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            As::Cookie { session, csrf_token } => {
                request =
                    request.header("cookie", format!("x=1; __Host-ballast-session={session}"));
                if let Some(token) = csrf_token {
                    request = request.header("x-csrf-token", token);
                }
            }
        }
        self.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap()
    }
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn session(&self) -> String {
        let cookie = self.header("set-cookie");
        let value = cookie.strip_prefix("__Host-ballast-session=").unwrap();
        value.split(';').next().unwrap().to_owned()
    }

    /// Checks that it is a problem of this status and code, complete.
    #[track_caller]
    pub(super) fn expect_problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["request_id"], self.header("x-request-id"));
        assert!(!self.header("x-ballast-index").is_empty());
        problem
    }

    #[track_caller]
    pub(super) fn expect(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }
}

pub(super) fn pool(members: &[&str]) -> Value {
    let members = members.iter().map(|address| {
        let (ip, port) = address.rsplit_once(':').unwrap();
        json!({ "address": ip, "port": port.parse::<u16>().unwrap() })
    });
    json!({ "spec": { "members": members.collect::<Vec<_>>() } })
}

/// A certificate for `name` and its key, in PEM.
pub(super) fn certificate(name: &str) -> (String, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([name.to_owned()]).unwrap();
    (cert.pem(), signing_key.serialize_pem())
}
