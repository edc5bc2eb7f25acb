//! Datagrams: sessions, their bounds and their ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ballast_model::{AdminState, Protocol, SourceLimits, VirtualServerSpec};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::site::{Server, Site, member, within};

/// How long a client waits before it asks again.
const RETRY: Duration = Duration::from_millis(50);

/// A member that answers each datagram with its name, the port that it came from, and the datagram;
/// `answer_count` times.
pub(crate) async fn named(
    at: &str,
    name: &'static str,
    answer_count: usize,
) -> (SocketAddr, Server) {
    let socket = UdpSocket::bind(at).await.unwrap();
    let address = socket.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut buffer = vec![0; 65_535];
        loop {
            // An error tells of an answer that nobody waited for.
            let Ok((count, peer)) = socket.recv_from(&mut buffer).await else { continue };
            let head = format!("{name} {} ", peer.port());
            let answer = [head.as_bytes(), &buffer[..count]].concat();
            for _ in 0..answer_count {
                socket.send_to(&answer, peer).await.unwrap();
            }
        }
    });
    (address, Server::of(task))
}

pub(crate) fn udp(
    change: impl FnOnce(&mut VirtualServerSpec),
) -> impl FnOnce(&mut VirtualServerSpec) {
    |spec| {
        spec.protocol = Protocol::Udp;
        change(spec);
    }
}

/// A client that hears from the address that it sends to, and from no other.
pub(crate) async fn client(listen: SocketAddr) -> UdpSocket {
    let any = if listen.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await.unwrap();
    socket.connect(listen).await.unwrap();
    socket
}

async fn answer(client: &UdpSocket) -> String {
    let mut buffer = vec![0; 65_535];
    let count = within(client.recv(&mut buffer)).await.unwrap();
    String::from_utf8(buffer[..count].to_vec()).unwrap()
}

pub(crate) async fn ask(client: &UdpSocket, question: &str) -> String {
    client.send(question.as_bytes()).await.unwrap();
    answer(client).await
}

/// Asks again and again, as clients of datagrams do.
pub(crate) async fn ask_patiently(client: &UdpSocket, question: &str) -> String {
    within(async {
        loop {
            client.send(question.as_bytes()).await.unwrap();
            if let Ok(answer) = timeout(RETRY, answer(client)).await {
                return answer;
            }
        }
    })
    .await
}

#[tokio::test]
async fn session_keeps_its_member_and_ends_by_silence() {
    let mut site = Site::new();
    let (one, _one) = named("127.0.0.1:0", "one", 1).await;
    let (two, _two) = named("127.0.0.1:0", "two", 1).await;
    site.put_pool(|pool| pool.members = vec![member(one), member(two)]).await;
    let listen = site.put_server(udp(|spec| spec.udp.idle_timeout_ms = 300)).await;
    let (first, second) = (client(listen).await, client(listen).await);
    let (to_first, to_second) = (ask(&first, "x").await, ask(&second, "x").await);
    for _ in 0..5 {
        assert_eq!(ask(&first, "x").await, to_first, "one session, one member, one port");
        assert_eq!(ask(&second, "x").await, to_second);
    }
    assert_ne!(to_first, to_second);
    let status = site.until_status(|status| status.requests_total == 2).await;
    assert_eq!((status.connections_total, status.failures_total), (2, 0));
    assert_eq!(status.received_bytes_total, 12);
    assert_eq!(status.sent_bytes_total as usize, 6 * (to_first.len() + to_second.len()));
    site.until_idle().await;
    let records = site.records_of(2).await;
    assert_eq!(records[0]["received_bytes"], 6);
    assert_ne!(ask(&first, "x").await, to_first, "another session, from another port");
}

#[tokio::test]
async fn session_ends_with_its_last_answer() {
    let mut site = Site::new();
    let (one, _one) = named("127.0.0.1:0", "one", 2).await;
    let (two, _two) = named("127.0.0.1:0", "two", 2).await;
    site.put_pool(|pool| pool.members = vec![member(one), member(two)]).await;
    let listen = site.put_server(udp(|spec| spec.udp.responses = Some(2))).await;
    let client = client(listen).await;
    let mut ports = Vec::new();
    for number in 0..8 {
        let question = number.to_string();
        let first = ask(&client, &question).await;
        assert_eq!(answer(&client).await, first, "the second answer");
        assert!(first.ends_with(&question));
        ports.push(first.split(' ').nth(1).unwrap().to_owned());
        site.until_status(|status| status.requests_total == number + 1).await;
    }
    let number = ports.len();
    ports.sort();
    ports.dedup();
    assert_eq!(ports.len(), number, "a session for each question");
    site.until_idle().await;
    let served = [0, 1].map(|index| site.member_status(index).requests_total);
    assert!(served.iter().all(|count| *count > 0), "{served:?}");
}

#[tokio::test]
async fn large_and_empty_datagrams_pass() {
    let mut site = Site::new();
    let (address, _one) = named("127.0.0.1:0", "m", 1).await;
    site.put_pool(|pool| pool.members = vec![member(address)]).await;
    let listen = site.put_server(udp(|_| {})).await;
    let client = client(listen).await;
    for length in [0, 1, 1_472, 9_000, 65_000] {
        let question = "q".repeat(length);
        let answer = ask(&client, &question).await;
        assert!(answer.ends_with(&question) && answer.len() < length + 20, "{length} bytes");
    }
}

#[tokio::test]
async fn member_that_refuses_is_told_by_the_network_and_counted() {
    let mut site = Site::new();
    let (address, _one) = named("127.0.0.1:0", "alive", 1).await;
    let dead = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    site.put_pool(|pool| pool.members = vec![member(dead), member(address)]).await;
    let listen = site.put_server(udp(|_| {})).await;
    for _ in 0..4 {
        let client = client(listen).await;
        assert!(ask_patiently(&client, "x").await.starts_with("alive "));
    }
    site.until_reason("connect_refused").await;
    assert!(site.member_status(0).failures_total > 0);
    assert_eq!(site.member_status(1).failures_total, 0);
}

#[tokio::test]
async fn member_that_owes_answers_and_stays_silent_is_counted() {
    let mut site = Site::new();
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    site.put_pool(|pool| pool.members = vec![member(address)]).await;
    let listen = site
        .put_server(udp(|spec| {
            spec.udp.responses = Some(1);
            spec.udp.idle_timeout_ms = 100;
        }))
        .await;
    client(listen).await.send(b"x").await.unwrap();
    site.until_reason("response_timeout").await;
    site.until_member(0, |status| status.failures_total == 1).await;
}

#[tokio::test]
async fn sessions_are_limited_at_the_limit_and_not_below() {
    let mut site = Site::new();
    let (address, _one) = named("127.0.0.1:0", "m", 1).await;
    site.put_pool(|pool| pool.members = vec![member(address)]).await;
    let listen = site
        .put_server(udp(|spec| {
            spec.connection_limit = Some(2);
            spec.udp.idle_timeout_ms = 500;
        }))
        .await;
    let (first, second, third) = (client(listen).await, client(listen).await, client(listen).await);
    ask(&first, "x").await;
    ask(&second, "x").await;
    third.send(b"x").await.unwrap();
    site.until_reason("connection_limit").await;
    // Once the others have ended.
    assert!(ask_patiently(&third, "x").await.starts_with("m "));
    assert!(site.plane().totals().refused_total > 0);
}

#[tokio::test]
async fn sessions_of_one_source_are_limited() {
    let mut site = Site::new();
    let (address, _one) = named("127.0.0.1:0", "m", 1).await;
    site.put_pool(|pool| pool.members = vec![member(address)]).await;
    let listen = site
        .put_server(udp(|spec| {
            spec.source_limits =
                SourceLimits { connection_max_count: Some(1), ..SourceLimits::default() };
        }))
        .await;
    let (first, second) = (client(listen).await, client(listen).await);
    ask(&first, "x").await;
    second.send(b"x").await.unwrap();
    site.until_reason("source_connection_limit").await;
    ask(&first, "who is in stays in").await;
}

#[tokio::test]
async fn answers_leave_from_the_address_that_was_reached() {
    for (any, reached, at) in [
        ("0.0.0.0", "127.0.0.2", "127.0.0.1:0"),
        ("0.0.0.0", "127.0.0.1", "[::1]:0"),
        ("::", "::1", "[::1]:0"),
        ("::1", "::1", "127.0.0.1:0"),
    ] {
        let mut site = Site::new();
        let (address, _one) = named(at, "m", 1).await;
        site.put_pool(|pool| pool.members = vec![member(address)]).await;
        let listen = site.put_server(udp(|spec| spec.addresses = vec![any.parse().unwrap()])).await;
        let client = client(SocketAddr::new(reached.parse().unwrap(), listen.port())).await;
        for _ in 0..3 {
            assert!(ask(&client, "x").await.starts_with("m "), "{any}, {reached}");
        }
    }
}

#[tokio::test]
async fn sessions_survive_changes_that_do_not_concern_them() {
    let mut site = Site::new();
    let (one, _one) = named("127.0.0.1:0", "one", 1).await;
    let (two, _two) = named("127.0.0.1:0", "two", 1).await;
    site.put_pool(|pool| pool.members = vec![member(one)]).await;
    let listen = site.put_server(udp(|_| {})).await;
    let client = client(listen).await;
    let before = ask(&client, "x").await;
    for number in 0..5 {
        site.put_pool(|pool| {
            pool.members = vec![member(two), member(one)];
            pool.connect_timeout_ms = 1_000 + number;
        })
        .await;
        site.put_server(udp(|spec| spec.udp.idle_timeout_ms = 20_000 + number)).await;
        assert_eq!(ask(&client, "x").await, before);
    }
    site.put_pool(|pool| {
        pool.members = vec![member(two), member(one)];
        pool.members[1].admin_state = AdminState::ForcedOffline;
    })
    .await;
    site.until_reason("member_offline").await;
    assert!(ask_patiently(&client, "x").await.starts_with("two "));
    site.put_server(udp(|spec| spec.enabled = false)).await;
    site.until_reason("virtual_server_disabled").await;
    site.until_idle().await;
}

#[tokio::test]
async fn draining_node_serves_its_sessions_and_begins_no_more() {
    let mut site = Site::new();
    let (address, _one) = named("127.0.0.1:0", "m", 1).await;
    site.put_pool(|pool| pool.members = vec![member(address)]).await;
    let listen = site.put_server(udp(|spec| spec.udp.idle_timeout_ms = 1_000)).await;
    let old = client(listen).await;
    let before = ask(&old, "x").await;
    let plane = site.plane();
    let drain = tokio::spawn(async move { plane.drain(Duration::from_secs(60)).await });
    // Until nobody new is served, and a while longer.
    let mut refused_count = 0;
    while refused_count < 5 {
        let new = client(listen).await;
        new.send(b"x").await.unwrap();
        let mut buffer = [0; 64];
        let is_served = timeout(RETRY, new.recv(&mut buffer)).await.is_ok();
        refused_count += usize::from(!is_served);
        assert!(!is_served || refused_count == 0, "served after another was not");
        assert_eq!(ask(&old, "x").await, before);
    }
    assert_eq!(within(drain).await.unwrap(), 0, "the session ended by its silence");
}

#[tokio::test]
async fn thousand_clients_get_their_own_answers() {
    let mut site = Site::new();
    let (address, _one) = named("127.0.0.1:0", "m", 1).await;
    site.put_pool(|pool| pool.members = vec![member(address)]).await;
    let listen = site.put_server(udp(|spec| spec.udp.responses = Some(1))).await;
    let done = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..8)
        .map(|n| {
            let done = Arc::clone(&done);
            tokio::spawn(async move {
                for round in 0..125 {
                    let client = client(listen).await;
                    let question = format!("{n}-{round}");
                    assert!(ask_patiently(&client, &question).await.ends_with(&question));
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for client in clients {
        within(client).await.unwrap();
    }
    assert_eq!(done.load(Ordering::Relaxed), 1_000);
    site.until_idle().await;
}

#[tokio::test]
async fn sessions_of_one_source_have_one_member_where_the_pool_remembers_it() {
    let mut site = Site::new();
    let (one, _one) = named("127.0.0.1:0", "one", 1).await;
    let (two, _two) = named("127.0.0.1:0", "two", 1).await;
    site.put_pool(|pool| pool.members = vec![member(one), member(two)]).await;
    let source = serde_json::from_str(r#"{"type": "source"}"#).unwrap();
    let listen = site.put_server(udp(|spec| spec.persistence = source)).await;
    let mut names = Vec::new();
    for _ in 0..6 {
        let client = client(listen).await;
        names.push(ask(&client, "x").await.split(' ').next().unwrap().to_owned());
    }
    names.dedup();
    assert_eq!(names.len(), 1, "{names:?}");
}
