//! Connections that wait for a member with room.

use ballast_model::{MemberSpec, QueueSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::site::{Site, echo, member, within};

/// Long enough that no test ends by it.
const LONG: QueueSettings = QueueSettings { max_count: 100, timeout_ms: 600_000 };

fn limited(address: std::net::SocketAddr, limit: u32) -> MemberSpec {
    MemberSpec { connection_limit: Some(limit), ..member(address) }
}

async fn exchange(client: &mut TcpStream) {
    client.write_all(b"x").await.unwrap();
    assert_eq!(within(client.read_u8()).await.unwrap(), b'x');
}

#[tokio::test]
async fn who_waits_is_served_by_members_that_are_added_meanwhile() {
    let mut site = Site::new();
    let ((first, _echo_1), (second, _echo_2)) = (echo().await, echo().await);
    site.put_pool(|pool| {
        pool.members = vec![limited(first, 1)];
        pool.queue = Some(LONG);
    })
    .await;
    let listen = site.put_server(|_| {}).await;
    let mut holder = TcpStream::connect(listen).await.unwrap();
    exchange(&mut holder).await;
    let mut waiting = Vec::new();
    for count in 1..=4 {
        waiting.push(TcpStream::connect(listen).await.unwrap());
        site.until_waiting(count).await;
    }
    // One at a time: the room that each leaves goes to the next in line.
    site.put_pool(|pool| {
        pool.members = vec![limited(first, 1), limited(second, 1)];
        pool.queue = Some(LONG);
    })
    .await;
    for (served, mut client) in waiting.into_iter().enumerate() {
        site.until_waiting(3 - served).await;
        client.write_all(b"x").await.unwrap();
        client.shutdown().await.unwrap();
        let mut back = Vec::new();
        within(client.read_to_end(&mut back)).await.unwrap();
        assert_eq!(back, b"x");
    }
    assert_eq!(site.member_status(1).requests_total, 4);
    exchange(&mut holder).await;
    drop(holder);
    site.until_idle().await;
}

#[tokio::test]
async fn connection_of_higher_priority_gets_room_first_and_makes_it_in_a_full_queue() {
    let mut site = Site::new();
    let (address, _echo) = echo().await;
    site.put_pool(|pool| {
        pool.members = vec![limited(address, 1)];
        pool.queue = Some(QueueSettings { max_count: 2, ..LONG });
    })
    .await;
    let listen = site.put_server(|_| {}).await;
    let mut busy = TcpStream::connect(listen).await.unwrap();
    exchange(&mut busy).await;
    let mut old = TcpStream::connect(listen).await.unwrap();
    site.until_waiting(1).await;
    let mut young = TcpStream::connect(listen).await.unwrap();
    site.until_waiting(2).await;
    site.put_server(|server| server.queue_priority = 1).await;
    let mut high = TcpStream::connect(listen).await.unwrap();
    assert!(within(young.read(&mut [0])).await.is_err(), "it is reset");
    site.until_reason("queue_full").await;
    site.until_waiting(2).await;
    drop(busy);
    exchange(&mut high).await;
    site.until_waiting(1).await;
    drop(high);
    exchange(&mut old).await;
}

#[tokio::test]
async fn client_waits_for_its_own_member() {
    let mut site = Site::new();
    let ((one, _echo_1), (other, _echo_2)) = (echo().await, echo().await);
    let put_members = |members: Vec<MemberSpec>| {
        move |pool: &mut ballast_model::PoolSpec| {
            pool.members = members;
            pool.queue = Some(LONG);
        }
    };
    site.put_pool(put_members(vec![limited(one, 1)])).await;
    let source = serde_json::from_str(r#"{"type": "source"}"#).unwrap();
    let listen = site.put_server(|server| server.persistence = source).await;
    let mut first = TcpStream::connect(listen).await.unwrap();
    exchange(&mut first).await;
    site.put_pool(put_members(vec![limited(one, 1), limited(other, 1)])).await;
    let mut second = TcpStream::connect(listen).await.unwrap();
    site.until_waiting(1).await;
    drop(first);
    exchange(&mut second).await;
    assert_eq!(
        (site.member_status(0).requests_total, site.member_status(1).requests_total),
        (2, 0)
    );
}
