use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::handshake;
use rustls_pki_types::ServerName;
use tempfile::TempDir;
use tokio_rustls::TlsConnector;

use super::*;
use crate::identity::Identity;
use crate::identity::authority::node_name;
use crate::identity::testing::first_node;
use crate::transport::tls;

struct Running {
    _directory: TempDir,
    identity: Identity,
    address: std::net::SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

async fn start(admission: Admission) -> Running {
    let directory = TempDir::new().unwrap();
    let identity = first_node(directory.path());
    let guard: Guard = Arc::new(move |_| Box::pin(async move { admission }));
    let guarded = Router::new()
        .route("/guarded", get(|| async { "in" }))
        .layer(axum::middleware::from_fn_with_state(guard, demand_node));
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let server = Server {
        tls: tls::server_config(&identity).unwrap(),
        cluster_uid: identity.cluster_uid().to_owned(),
        router: Router::new().route("/open", get(|| async { "in" })).merge(guarded),
        tasks: tasks.clone(),
        stop: stop.clone(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(server.run(listener));
    Running { _directory: directory, identity, address, stop, tasks }
}

impl Running {
    async fn get(&self, path: &str, with_certificate: bool) -> (StatusCode, Option<HeaderValue>) {
        let config = if with_certificate {
            tls::client_config(&self.identity).unwrap()
        } else {
            tls::joining_config(self.identity.ca_fingerprint_sha256().to_owned()).unwrap()
        };
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from(node_name(1, self.identity.cluster_uid())).unwrap();
        let stream = TlsConnector::from(config).connect(name, stream).await.unwrap();
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        let driver = tokio::spawn(connection);
        let request = hyper::Request::get(path).header("host", "x").body(Empty::<Bytes>::new());
        let response = sender.send_request(request.unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        body.collect().await.unwrap();
        drop(sender);
        driver.await.unwrap().unwrap();
        (head.status, head.headers.get(REFUSAL_HEADER).cloned())
    }

    async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[tokio::test]
async fn stranger_gets_nothing_but_what_is_open() {
    let server = start(Admission::Admitted).await;
    assert_eq!(server.get("/open", false).await.0, StatusCode::OK);
    assert_eq!(server.get("/guarded", false).await.0, StatusCode::FORBIDDEN);
    server.stop().await;
}

#[tokio::test]
async fn node_gets_what_is_guarded() {
    let server = start(Admission::Admitted).await;
    assert_eq!(server.get("/guarded", true).await.0, StatusCode::OK);
    server.stop().await;
}

#[tokio::test]
async fn removed_node_is_told_so() {
    let server = start(Admission::Removed).await;
    let (status, why) = server.get("/guarded", true).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(why.unwrap(), REFUSAL_REMOVED);
    server.stop().await;
}

#[tokio::test]
async fn unknown_node_is_refused_without_being_told_that_it_was_removed() {
    let server = start(Admission::Unknown).await;
    assert_eq!(server.get("/guarded", true).await, (StatusCode::FORBIDDEN, None));
    server.stop().await;
}

#[tokio::test]
async fn one_too_many_without_certificate_is_turned_away() {
    let server = start(Admission::Admitted).await;
    let fingerprint = server.identity.ca_fingerprint_sha256().to_owned();
    let connector = TlsConnector::from(tls::joining_config(fingerprint).unwrap());
    let name = ServerName::try_from("ballast.internal").unwrap();
    let connect = || async {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let stream = connector.connect(name.clone(), stream).await.unwrap();
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        let driver = tokio::spawn(connection);
        let request = hyper::Request::get("/open").header("host", "x").body(Empty::<Bytes>::new());
        let answered = sender.send_request(request.unwrap()).await.is_ok();
        (answered, sender, driver)
    };
    let mut kept = Vec::new();
    for number in 0..STRANGER_MAX_COUNT {
        let (answered, sender, driver) = connect().await;
        assert!(answered, "number {number}");
        kept.push((sender, driver));
    }
    assert!(!connect().await.0, "it is one too many");
    assert_eq!(
        server.get("/guarded", true).await.0,
        StatusCode::OK,
        "nodes are let in all the same"
    );
    server.stop().await;
}
