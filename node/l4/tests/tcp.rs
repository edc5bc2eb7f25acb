//! The TCP data plane over real sockets: a data plane of two workers, members that the tests play.

#[path = "tcp/ejection.rs"]
mod ejection;
#[path = "tcp/passthrough.rs"]
mod passthrough;
#[path = "tcp/proxy_protocol.rs"]
mod proxy_protocol;
#[path = "tcp/queue.rs"]
mod queue;
#[path = "tcp/site.rs"]
mod site;
#[path = "tcp/time.rs"]
mod time;
#[path = "tcp/udp.rs"]
mod udp;
#[path = "tcp/udp_bounds.rs"]
mod udp_bounds;
#[path = "tcp/udp_moved.rs"]
mod udp_moved;
#[path = "tcp/udp_trains.rs"]
mod udp_trains;

use std::time::Duration;

use ballast_model::{AdminState, Algorithm, MemberSpec, QueueSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use site::{PATIENCE, Site, assert_reset, echo, member, refusing_address, reset, within};

#[tokio::test]
async fn bytes_pass_both_ways_and_are_counted() {
    let mut site = Site::new();
    let (address, _echo) = echo().await;
    site.put_pool(|pool| pool.members = vec![member(address)]).await;
    let listen = site.put_server(|_| {}).await;
    let mut client = TcpStream::connect(listen).await.unwrap();
    let sent: Vec<u8> = (0..3_000_000_u32).map(|i| ((i * 31) >> 3) as u8).collect();
    let (mut reader, mut writer) = client.split();
    let mut received = Vec::new();
    let write = async {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    within(async { tokio::join!(write, reader.read_to_end(&mut received)).1.unwrap() }).await;
    assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
    let status = site.until_status(|status| status.requests_total == 1).await;
    assert_eq!((status.received_bytes_total, status.sent_bytes_total), (3_000_000, 3_000_000));
    assert_eq!((status.connections_total, status.failures_total), (1, 0));
    site.until_idle().await;
    let records = site.records().await;
    let record = &records[0];
    assert_eq!((&record["virtual_server"], &record["attempts"]), (&"tcp".into(), &1.into()));
    assert_eq!(record["member"], address.to_string());
    assert_eq!((&record["received_bytes"], record.get("reason")), (&3_000_000.into(), None));
}

#[tokio::test]
async fn client_that_has_said_all_still_gets_the_answer() {
    let mut site = Site::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    site.put_pool(|pool| pool.members = vec![member(listener.local_addr().unwrap())]).await;
    let listen = site.put_server(|_| {}).await;
    let mut client = TcpStream::connect(listen).await.unwrap();
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let (mut stream, _) = within(listener.accept()).await.unwrap();
    let mut question = String::new();
    within(stream.read_to_string(&mut question)).await.unwrap();
    assert_eq!(question, "question", "the client's FIN has arrived, and the connection lives");
    stream.write_all(b"answer").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    within(client.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "answer");
    assert_eq!(site.until_status(|status| status.requests_total == 1).await.failures_total, 0);
}

#[tokio::test]
async fn member_that_has_said_all_still_hears_the_client() {
    let mut site = Site::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    site.put_pool(|pool| pool.members = vec![member(listener.local_addr().unwrap())]).await;
    let listen = site.put_server(|_| {}).await;
    let mut client = TcpStream::connect(listen).await.unwrap();
    let (mut stream, _) = within(listener.accept()).await.unwrap();
    stream.write_all(b"banner").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut banner = String::new();
    within(client.read_to_string(&mut banner)).await.unwrap();
    assert_eq!(banner, "banner");
    client.write_all(b"more").await.unwrap();
    client.shutdown().await.unwrap();
    let mut more = String::new();
    within(stream.read_to_string(&mut more)).await.unwrap();
    assert_eq!(more, "more");
    assert_eq!(site.until_status(|status| status.requests_total == 1).await.failures_total, 0);
}

#[tokio::test]
async fn answer_to_a_client_that_is_not_heard_out_arrives() {
    let mut site = Site::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    site.put_pool(|pool| pool.members = vec![member(listener.local_addr().unwrap())]).await;
    let listen = site.put_server(|_| {}).await;
    let mut client = TcpStream::connect(listen).await.unwrap();
    let (mut stream, _) = within(listener.accept()).await.unwrap();
    client.write_all(b"x").await.unwrap();
    stream.read_exact(&mut [0]).await.unwrap();
    stream.write_all(b"too much").await.unwrap();
    drop(stream);
    let mut answer = String::new();
    within(client.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "too much");
}

#[tokio::test]
async fn reset_is_passed_on_as_a_reset() {
    let mut site = Site::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    site.put_pool(|pool| pool.members = vec![member(listener.local_addr().unwrap())]).await;
    let listen = site.put_server(|_| {}).await;
    let mut client = TcpStream::connect(listen).await.unwrap();
    let (mut stream, _) = within(listener.accept()).await.unwrap();
    // A byte that has passed shows that the connection is more than accepted by the kernel.
    client.write_all(b"x").await.unwrap();
    within(stream.read_exact(&mut [0])).await.unwrap();
    reset(stream);
    let error = within(client.read(&mut [0])).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    site.until_reason("upstream_closed_early").await;
    assert_eq!(site.member_status(0).failures_total, 1);

    let client = TcpStream::connect(listen).await.unwrap();
    let (mut stream, _) = within(listener.accept()).await.unwrap();
    reset(client);
    let error = within(stream.read(&mut [0])).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    site.until_reason("client_closed").await;
    assert_eq!(site.member_status(0).failures_total, 1, "not the member's fault");
    site.until_idle().await;
}

#[tokio::test]
async fn another_member_is_tried_where_one_refuses() {
    let mut site = Site::new();
    let (address, _echo) = echo().await;
    let refusing = refusing_address().await;
    site.put_pool(|pool| pool.members = vec![member(refusing), member(address)]).await;
    let listen = site.put_server(|_| {}).await;
    for _ in 0..10 {
        let mut client = TcpStream::connect(listen).await.unwrap();
        client.write_all(b"ping").await.unwrap();
        let mut pong = [0; 4];
        within(client.read_exact(&mut pong)).await.unwrap();
        assert_eq!(&pong, b"ping");
    }
    site.until_idle().await;
    let refused = site.member_status(0);
    assert!(refused.failures_total >= 4, "{refused:?}");
    assert_eq!(refused.requests_total, refused.failures_total);
    assert_eq!(site.member_status(1).requests_total, 10);
    assert_eq!(site.until_status(|status| status.requests_total == 10).await.failures_total, 0);
}

#[tokio::test]
async fn client_is_reset_where_nobody_takes_it() {
    let mut site = Site::new();
    site.put_pool(|_| {}).await;
    let listen = site.put_server(|_| {}).await;
    assert_reset(listen).await;
    site.until_reason("no_member").await;

    let mut members = Vec::new();
    for _ in 0..5 {
        members.push(member(refusing_address().await));
    }
    site.put_pool(|pool| pool.members = members).await;
    assert_reset(listen).await;
    site.until_reason("connect_refused").await;
    let attempts: u64 = (0..5).map(|index| site.member_status(index).requests_total).sum();
    assert_eq!(attempts, 3, "tries are bounded");
    site.until_idle().await;
}

#[tokio::test]
async fn silence_ends_a_connection_and_traffic_keeps_it() {
    let mut site = Site::new();
    let (address, _echo) = echo().await;
    site.put_pool(|pool| pool.members = vec![member(address)]).await;
    let listen = site.put_server(|server| server.tcp.idle_timeout_ms = 400).await;
    let mut client = TcpStream::connect(listen).await.unwrap();
    let begin = std::time::Instant::now();
    let mut interval = tokio::time::interval(Duration::from_millis(50));
    while begin.elapsed() < Duration::from_millis(1_000) {
        interval.tick().await;
        client.write_all(b"x").await.unwrap();
        within(client.read_exact(&mut [0])).await.unwrap();
    }
    let silent_since = std::time::Instant::now();
    assert!(within(client.read(&mut [0])).await.is_err());
    assert!(silent_since.elapsed() >= Duration::from_millis(300));
    site.until_reason("idle_timeout").await;
    site.until_idle().await;
}

#[tokio::test]
async fn connections_follow_what_the_operator_wants_of_the_member() {
    let mut site = Site::new();
    let ((first, _echo_1), (second, _echo_2)) = (echo().await, echo().await);
    let members = [member(first), member(second)];
    site.put_pool(|pool| pool.members = members.to_vec()).await;
    let listen = site.put_server(|_| {}).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = TcpStream::connect(listen).await.unwrap();
        client.write_all(b"x").await.unwrap();
        within(client.read_exact(&mut [0])).await.unwrap();
        clients.push(client);
    }
    let held = site.member_status(0).in_flight;
    assert_eq!(held + site.member_status(1).in_flight, 4);

    let mut changed = members.to_vec();
    changed[0].admin_state = AdminState::Disabled;
    changed[1].admin_state = AdminState::Disabled;
    site.put_pool(|pool| pool.members = changed.clone()).await;
    for client in &mut clients {
        client.write_all(b"y").await.unwrap();
        within(client.read_exact(&mut [0])).await.unwrap();
    }
    assert_reset(listen).await;

    changed[0].admin_state = AdminState::ForcedOffline;
    site.put_pool(|pool| pool.members = changed.clone()).await;
    site.until_member(0, |status| status.in_flight == 0).await;
    assert_eq!(site.member_status(1).in_flight, 4 - held);

    changed[1].admin_state = AdminState::Draining;
    changed[1].drain_until_ms = Some(1);
    site.put_pool(|pool| pool.members = changed.clone()).await;
    site.until_member(1, |status| status.in_flight == 0).await;
    for client in &mut clients {
        assert!(within(client.read(&mut [0])).await.is_err(), "a cut is no proper end");
    }
    site.until_reason("member_offline").await;
}

#[tokio::test]
async fn connections_survive_what_does_not_concern_them() {
    let mut site = Site::new();
    let (address, _echo) = echo().await;
    let (other, _other_echo) = echo().await;
    site.put_pool(|pool| pool.members = vec![member(address)]).await;
    let listen = site.put_server(|_| {}).await;
    let mut client = TcpStream::connect(listen).await.unwrap();
    let algorithms = [Algorithm::P2c, Algorithm::LeastConnections, Algorithm::SourceHash];
    for (round, algorithm) in algorithms.into_iter().enumerate() {
        client.write_all(&[round as u8]).await.unwrap();
        let mut back = [0xff];
        within(client.read_exact(&mut back)).await.unwrap();
        assert_eq!(back, [round as u8]);
        site.put_pool(|pool| {
            pool.algorithm = algorithm;
            pool.members = vec![member(address), member(other)];
        })
        .await;
        site.put_server(|server| server.tcp.idle_timeout_ms = 5_000 + round as u64).await;
    }
    // The member goes out of the pool: what is under way is finished.
    site.put_pool(|pool| pool.members = vec![member(other)]).await;
    client.write_all(b"z").await.unwrap();
    within(client.read_exact(&mut [0])).await.unwrap();

    site.put_server(|server| server.enabled = false).await;
    let ended = within(client.read(&mut [0])).await;
    assert!(ended.is_err(), "the operator asked for it: {ended:?}");
    site.until_reason("virtual_server_disabled").await;
}

#[tokio::test]
async fn drain_waits_for_connections_and_then_cuts_them() {
    let mut site = Site::new();
    let (address, _echo) = echo().await;
    site.put_pool(|pool| pool.members = vec![member(address)]).await;
    let listen = site.put_server(|_| {}).await;
    let mut client = TcpStream::connect(listen).await.unwrap();
    client.write_all(b"a").await.unwrap();
    within(client.read_exact(&mut [0])).await.unwrap();
    let plane = site.plane();
    let drain = tokio::spawn(async move { plane.drain(Duration::from_secs(1)).await });
    client.write_all(b"b").await.unwrap();
    within(client.read_exact(&mut [0])).await.unwrap();
    assert_eq!(timeout(PATIENCE, drain).await.unwrap().unwrap(), 1);
    assert!(within(client.read(&mut [0])).await.is_err());
    site.until_reason("shutdown").await;
}

#[tokio::test]
async fn many_connections_at_once_all_get_their_bytes_back() {
    let mut site = Site::new();
    let ((first, _echo_1), (second, _echo_2)) = (echo().await, echo().await);
    site.put_pool(|pool| {
        pool.algorithm = Algorithm::LeastConnections;
        pool.members = vec![member(first), member(second)];
    })
    .await;
    let listen = site.put_server(|_| {}).await;
    let clients: Vec<_> = (0..100_usize)
        .map(|i| {
            tokio::spawn(async move {
                let mut client = TcpStream::connect(listen).await.unwrap();
                let sent = vec![i as u8; 10_000 + i * 1_000];
                let (mut reader, mut writer) = client.split();
                let mut received = Vec::new();
                let write = async {
                    writer.write_all(&sent).await.unwrap();
                    writer.shutdown().await.unwrap();
                };
                tokio::join!(write, reader.read_to_end(&mut received)).1.unwrap();
                assert!(received == sent);
            })
        })
        .collect();
    for client in clients {
        within(client).await.unwrap();
    }
    site.until_idle().await;
    assert_eq!(site.until_status(|status| status.requests_total == 100).await.failures_total, 0);
    let (first, second) = (site.member_status(0), site.member_status(1));
    assert_eq!(first.requests_total + second.requests_total, 100);
    assert!(first.requests_total > 20 && second.requests_total > 20);
}

#[tokio::test]
async fn connections_beyond_a_members_limit_wait_their_turn() {
    let mut site = Site::new();
    let (address, _echo) = echo().await;
    site.put_pool(|pool| {
        pool.members = vec![MemberSpec { connection_limit: Some(1), ..member(address) }];
        pool.queue = Some(QueueSettings { max_count: 2, timeout_ms: 60_000 });
    })
    .await;
    let listen = site.put_server(|_| {}).await;
    let mut first = TcpStream::connect(listen).await.unwrap();
    first.write_all(b"1").await.unwrap();
    within(first.read_exact(&mut [0])).await.unwrap();
    let leaves = TcpStream::connect(listen).await.unwrap();
    site.until_waiting(1).await;
    let mut second = TcpStream::connect(listen).await.unwrap();
    second.write_all(b"2").await.unwrap();
    site.until_waiting(2).await;
    let refused = async { TcpStream::connect(listen).await?.read(&mut [0]).await };
    assert!(within(refused).await.is_err(), "one more than may wait");
    site.until_reason("queue_full").await;
    drop(leaves);
    site.until_waiting(1).await;
    assert_eq!(site.member_status(0).in_flight, 1);
    drop(first);
    let mut back = [0];
    within(second.read_exact(&mut back)).await.unwrap();
    assert_eq!(&back, b"2");
    drop(second);
    site.until_idle().await;
}

#[tokio::test]
async fn connection_that_waits_for_too_long_is_reset() {
    let mut site = Site::new();
    let (address, _echo) = echo().await;
    site.put_pool(|pool| {
        pool.members = vec![MemberSpec { connection_limit: Some(1), ..member(address) }];
        pool.queue = Some(QueueSettings { max_count: 9, timeout_ms: 50 });
    })
    .await;
    let listen = site.put_server(|_| {}).await;
    let mut first = TcpStream::connect(listen).await.unwrap();
    first.write_all(b"1").await.unwrap();
    within(first.read_exact(&mut [0])).await.unwrap();
    let refused = async { TcpStream::connect(listen).await?.read(&mut [0]).await };
    assert!(within(refused).await.is_err());
    site.until_reason("queue_timeout").await;
}

#[tokio::test]
async fn a_source_leads_back_to_its_member() {
    let mut site = Site::new();
    let (one, other) = (echo().await, echo().await);
    site.put_pool(|pool| {
        pool.members = vec![member(one.0), member(other.0)];
        pool.algorithm = Algorithm::RoundRobin;
    })
    .await;
    let source = serde_json::from_str(r#"{"type": "source"}"#).unwrap();
    let listen = site.put_server(|server| server.persistence = source).await;
    for _ in 0..6 {
        let mut client = TcpStream::connect(listen).await.unwrap();
        client.write_all(b"a").await.unwrap();
        assert_eq!(within(client.read_u8()).await.unwrap(), b'a');
    }
    let records = site.records_of(6).await;
    assert!(records.iter().all(|record| record["member"] == records[0]["member"]), "{records:?}");
    // Its member is taken offline: another one, and that one from then on.
    let first = usize::from(records[0]["member"] != one.0.to_string());
    site.put_pool(|pool| {
        pool.members = vec![member(one.0), member(other.0)];
        pool.members[first].admin_state = AdminState::ForcedOffline;
    })
    .await;
    for _ in 0..3 {
        let mut client = TcpStream::connect(listen).await.unwrap();
        client.write_all(b"b").await.unwrap();
        assert_eq!(within(client.read_u8()).await.unwrap(), b'b');
    }
    let records = site.records_of(9).await;
    assert!(records[6..].iter().all(|record| record["member"] != records[0]["member"]));
}
