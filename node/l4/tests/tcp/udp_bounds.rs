//! Datagrams: addresses that are closed and opened again, and what sessions may take of the node.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::UdpSocket;

use crate::site::{Site, member};
use crate::udp::{ask, ask_patiently, client, named, udp};

#[tokio::test]
async fn address_that_was_closed_is_opened_again_while_its_sessions_last() {
    let mut site = Site::new();
    let (address, _one) = named("127.0.0.1:0", "m", 1).await;
    site.put_pool(|pool| pool.members = vec![member(address)]).await;
    let listen = site.put_server(udp(|_| {})).await;
    let old = client(listen).await;
    let before = ask(&old, "x").await;
    for _ in 0..3 {
        let elsewhere = [Ipv4Addr::new(127, 0, 0, 2).into()];
        site.put_server(udp(|spec| spec.addresses = elsewhere.to_vec())).await;
        assert_eq!(ask(&old, "x").await, before, "its session goes on");
        // Fails where the address can't be listened on.
        site.put_server(udp(|_| {})).await;
        // As many as let every worker have some.
        for _ in 0..16 {
            let new = client(listen).await;
            assert!(ask_patiently(&new, "y").await.ends_with('y'));
        }
        assert_eq!(ask(&old, "x").await, before, "its session still goes on");
    }
}

#[tokio::test]
async fn wildcard_serves_what_comes_to_an_address_whose_sessions_last() {
    let mut site = Site::new();
    let (address, _one) = named("127.0.0.1:0", "m", 1).await;
    site.put_pool(|pool| pool.members = vec![member(address)]).await;
    let listen = site.put_server(udp(|_| {})).await;
    let old = client(listen).await;
    let before = ask(&old, "x").await;
    site.put_server(udp(|spec| spec.addresses = vec![Ipv4Addr::UNSPECIFIED.into()])).await;
    for _ in 0..16 {
        let new = client(listen).await;
        assert!(ask_patiently(&new, "y").await.ends_with('y'));
    }
    let other = client(SocketAddr::from(([127, 0, 0, 3], listen.port()))).await;
    assert!(ask_patiently(&other, "z").await.ends_with('z'));
    assert_eq!(ask(&old, "x").await, before, "its session goes on");
}

#[tokio::test]
async fn session_that_nobody_answers_ends_soon() {
    let mut site = Site::new();
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    site.put_pool(|pool| pool.members = vec![member(silent.local_addr().unwrap())]).await;
    let listen = site.put_server(udp(|spec| spec.udp.idle_timeout_ms = 3_600_000)).await;
    client(listen).await.send(b"x").await.unwrap();
    site.until_status(|status| status.connections_total == 1).await;
    site.until_idle().await;
}

#[tokio::test]
async fn sessions_get_half_of_the_nodes_connections_and_no_more() {
    let mut site = Site::with_connection_max(6);
    let (address, _one) = named("127.0.0.1:0", "m", 1).await;
    site.put_pool(|pool| pool.members = vec![member(address)]).await;
    let listen = site.put_server(udp(|spec| spec.udp.idle_timeout_ms = 2_000)).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let client = client(listen).await;
        assert!(ask(&client, "x").await.ends_with('x'));
        held.push(client);
    }
    let refused = client(listen).await;
    refused.send(b"x").await.unwrap();
    site.until_reason("overload").await;
    // Once the others have ended.
    assert!(ask_patiently(&refused, "x").await.ends_with('x'));
}
