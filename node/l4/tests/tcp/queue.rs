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
