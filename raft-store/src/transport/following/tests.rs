use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use futures_util::{StreamExt, stream};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::identity::testing::first_node;
use crate::store::contact::Contact;
use crate::transport::server::Server;
use crate::transport::tls;

const LIMIT: Duration = Duration::from_secs(30);

/// A node that answers with these pieces, then ends the answer or goes on without a word.
struct Talking {
    _directory: TempDir,
    peers: Peers,
    stop: CancellationToken,
    tasks: TaskTracker,
}

async fn talking(pieces: &[&'static [u8]], ends: bool) -> Talking {
    let directory = TempDir::new().unwrap();
    let identity = first_node(directory.path());
    let pieces: Vec<Bytes> = pieces.iter().copied().map(Bytes::from_static).collect();
    let answer = move || {
        let said = stream::iter(pieces.clone().into_iter().map(Ok::<_, Infallible>));
        let tail = if ends { stream::empty().boxed() } else { stream::pending().boxed() };
        let body = Body::from_stream(said.chain(tail));
        async move { body }
    };
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let server = Server {
        tls: tls::server_config(&identity).unwrap(),
        cluster_uid: identity.cluster_uid().to_owned(),
        router: Router::new().route("/peer/v1/talk", post(answer)),
        tasks: tasks.clone(),
        stop: stop.clone(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peers = Peers::new(&identity, Arc::new(Contact::default())).unwrap();
    peers.learn(1, &listener.local_addr().unwrap().to_string());
    tasks.spawn(server.run(listener));
    Talking { _directory: directory, peers, stop, tasks }
}

impl Talking {
    async fn follow(&self) -> Following {
        self.peers.follow(1, "talk", &(), LIMIT).await.unwrap()
    }

    async fn end_process(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn close(self) {
        self.peers.close().await;
        self.end_process().await;
    }
}

#[tokio::test]
async fn lines_come_one_by_one_however_they_were_cut() {
    let node = talking(&[b"1\n2", b"", b"2\n\"th", b"ree\"\n"], true).await;
    let mut following = node.follow().await;
    assert_eq!(following.next::<u32>(LIMIT).await.unwrap(), Some(1));
    assert_eq!(following.next::<u32>(LIMIT).await.unwrap(), Some(22));
    assert_eq!(following.next::<String>(LIMIT).await.unwrap().unwrap(), "three");
    assert_eq!(following.next::<u32>(LIMIT).await.unwrap(), None, "it ended as it meant to");
    drop(following);
    node.close().await;
}

#[tokio::test]
async fn end_of_the_process_is_told_from_an_end_of_the_answer() {
    let node = talking(&[b"1\n"], false).await;
    let mut following = node.follow().await;
    assert_eq!(following.next::<u32>(LIMIT).await.unwrap(), Some(1));
    node.end_process().await;
    let ended = following.next::<u32>(LIMIT).await;
    assert!(matches!(ended, Err(PeerError::Gone { node_id: 1 })), "{ended:?}");
    drop(following);
    node.close().await;
}

#[tokio::test]
async fn silence_is_no_end_of_the_process() {
    let node = talking(&[b"1\n"], false).await;
    let mut following = node.follow().await;
    assert_eq!(following.next::<u32>(LIMIT).await.unwrap(), Some(1));
    let silent = following.next::<u32>(Duration::from_millis(20)).await;
    assert!(matches!(silent, Err(PeerError::Timeout { .. })), "{silent:?}");
    drop(following);
    node.close().await;
}

#[tokio::test]
async fn endless_line_is_given_up() {
    const PIECE: &[u8] = &[b'1'; 64 * 1024];
    let node = talking(&[PIECE; 8], false).await;
    let mut following = node.follow().await;
    let refused = following.next::<u32>(LIMIT).await;
    assert!(matches!(refused, Err(PeerError::Format { .. })), "{refused:?}");
    assert!(following.rest.len() <= LINE_MAX_BYTES + PIECE.len());
    drop(following);
    node.close().await;
}

#[tokio::test]
async fn what_cannot_be_understood_is_an_error_of_that_line_alone() {
    let node = talking(&[b"{]\n7\n"], true).await;
    let mut following = node.follow().await;
    let refused = following.next::<u32>(LIMIT).await;
    assert!(matches!(refused, Err(PeerError::Format { .. })), "{refused:?}");
    assert_eq!(following.next::<u32>(LIMIT).await.unwrap(), Some(7));
    drop(following);
    node.close().await;
}
