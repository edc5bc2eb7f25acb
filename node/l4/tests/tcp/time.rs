//! How long connections live, and clients that don't wait.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::site::{Site, echo, member, refusing_address, reset, within};

#[tokio::test]
async fn busy_connection_ends_with_its_life() {
    let mut site = Site::new();
    let (address, _echo) = echo().await;
    site.put_pool(|pool| pool.members = vec![member(address)]).await;
    let listen = site.put_server(|spec| spec.tcp.lifetime_max_ms = Some(1_000)).await;
    let mut client = TcpStream::connect(listen).await.unwrap();
    let mut talk = tokio::time::interval(Duration::from_millis(20));
    let end = within(async {
        loop {
            talk.tick().await;
            if let Err(error) = client.write_all(b"x").await {
                break error;
            }
            if let Err(error) = client.read_exact(&mut [0]).await {
                break error;
            }
        }
    })
    .await;
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
    site.until_reason("lifetime_end").await;
}

#[tokio::test]
async fn silent_connection_ends_for_its_silence_though_its_life_is_bounded() {
    let mut site = Site::new();
    let (address, _echo) = echo().await;
    site.put_pool(|pool| pool.members = vec![member(address)]).await;
    let listen = site
        .put_server(|spec| {
            spec.tcp.idle_timeout_ms = 100;
            spec.tcp.lifetime_max_ms = Some(60_000);
            spec.tcp.keep_alive_s = Some(1);
        })
        .await;
    let mut client = TcpStream::connect(listen).await.unwrap();
    within(client.read(&mut [0])).await.unwrap_err();
    site.until_reason("idle_timeout").await;
}

#[tokio::test]
async fn client_that_is_gone_before_its_member_answers_is_not_waited_for() {
    let mut site = Site::new();
    // A backlog that is full: further connections wait until they are given up.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    shorten_backlog(&listener);
    let address = listener.local_addr().unwrap();
    let _filling: Vec<_> = (0..3)
        .map(|_| {
            let socket =
                socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _in_progress = socket.connect(&address.into());
            socket
        })
        .collect();
    site.put_pool(|pool| {
        pool.members = vec![member(address)];
        pool.connect_timeout_ms = 60_000;
    })
    .await;
    let listen = site.put_server(|_| {}).await;
    let client = TcpStream::connect(listen).await.unwrap();
    site.until_status(|status| status.connections == 1).await;
    reset(client);
    site.until_reason("client_closed").await;
    site.until_idle().await;
    assert_eq!(site.member_status(0).failures_total, 0, "not the member's fault");
}

/// Sets the backlog of a socket that listens already.
fn shorten_backlog(listener: &std::net::TcpListener) {
    socket2::SockRef::from(listener).listen(0).unwrap();
}

#[tokio::test]
async fn as_many_members_are_tried_as_the_settings_say() {
    let mut site = Site::new();
    let mut members = Vec::new();
    for _ in 0..5 {
        members.push(member(refusing_address().await));
    }
    site.put_pool(|pool| pool.members = members).await;
    for (attempts, number) in [(1, 1), (5, 2)] {
        let listen = site.put_server(|spec| spec.tcp.connect_attempt_max_count = attempts).await;
        crate::site::assert_reset(listen).await;
        let records = site.records_of(number).await;
        assert_eq!(records[number - 1]["attempts"], attempts);
    }
}
