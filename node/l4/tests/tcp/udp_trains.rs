//! Datagrams that are read and sent many at once: to client and member they are the same ones, in their
//! order.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::site::{Server, Site, member, within};
use crate::udp::{client, udp};

/// Clients, and datagrams of each that are under way: all together fit into the room of one socket.
const CLIENT_COUNT: usize = 3;
const BURST_COUNT: usize = 10;

/// A member that sends back what it gets, one by one.
async fn echo() -> (SocketAddr, Server) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut buffer = vec![0; 65_535];
        loop {
            let Ok((count, peer)) = socket.recv_from(&mut buffer).await else { continue };
            socket.send_to(&buffer[..count], peer).await.unwrap();
        }
    });
    (address, Server::of(task))
}

/// Sends `content` as datagrams of `stride` bytes by one system call.
async fn send_train(socket: &UdpSocket, content: &[u8], stride: u16, to: Option<SocketAddr>) {
    let to = to.map(nix::sys::socket::SockaddrStorage::from);
    let sent = socket.async_io(Interest::WRITABLE, || {
        let control = [ControlMessage::UdpGsoSegments(&stride)];
        let content = [IoSlice::new(content)];
        Ok(sendmsg(socket.as_raw_fd(), &content, &control, MsgFlags::empty(), to.as_ref())?)
    });
    assert_eq!(sent.await.unwrap(), content.len());
}

async fn received(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_535];
    let count = within(socket.recv(&mut buffer)).await.unwrap();
    buffer.truncate(count);
    buffer
}

#[tokio::test]
async fn bursts_of_many_clients_and_sizes_come_back_as_they_were() {
    let mut site = Site::new();
    let (address, _echo) = echo().await;
    site.put_pool(|pool| pool.members = vec![member(address)]).await;
    let listen = site.put_server(udp(|_| {})).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENT_COUNT {
        clients.push(client(listen).await);
    }
    // Equal ones, ones that grow and shrink, empty ones, ones that no frame of Ethernet holds.
    let size = |round: usize, at: usize| match round % 5 {
        0 => 1_200,
        1 => at * 140,
        2 => 1_400 - at * 130,
        3 => [700, 700, 300, 0][at % 4],
        _ => 2_500 + at,
    };
    let content = |who: usize, round: usize, at: usize| {
        (0..size(round, at)).map(|byte| (who * 50 + round * 7 + at + byte) as u8).collect()
    };
    for round in 0..20 {
        for at in 0..BURST_COUNT {
            for (who, client) in clients.iter().enumerate() {
                let datagram: Vec<u8> = content(who, round, at);
                client.send(&datagram).await.unwrap();
            }
        }
        for (who, client) in clients.iter().enumerate() {
            for at in 0..BURST_COUNT {
                let expected: Vec<u8> = content(who, round, at);
                let came = received(client).await;
                assert!(came == expected, "client {who}, round {round}, datagram {at}");
            }
        }
    }
    let status = site.until_status(|status| status.connections_total == CLIENT_COUNT as u64).await;
    let bytes: usize =
        (0..20).flat_map(|round| (0..BURST_COUNT).map(move |at| size(round, at))).sum::<usize>()
            * clients.len();
    assert_eq!(status.received_bytes_total, bytes as u64);
    assert_eq!(status.sent_bytes_total, bytes as u64);
    assert_eq!(status.failures_total, 0);
}

#[tokio::test]
async fn trains_of_a_client_and_of_a_member_arrive_as_datagrams() {
    let mut site = Site::new();
    let member_socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = member_socket.local_addr().unwrap();
    site.put_pool(|pool| pool.members = vec![member(address)]).await;
    let listen = site.put_server(udp(|_| {})).await;
    let client = client(listen).await;
    for (stride, length) in [(500, 5_123), (1_000, 40_000), (1, 60), (1_400, 1_401)] {
        let content: Vec<u8> = (0..length).map(|byte| (byte / 3) as u8).collect();
        let expected: Vec<&[u8]> = content.chunks(stride.into()).collect();
        send_train(&client, &content, stride, None).await;
        let mut buffer = vec![0; 65_535];
        let mut peer = None;
        for expected in &expected {
            let (count, from) = within(member_socket.recv_from(&mut buffer)).await.unwrap();
            assert!(buffer[..count] == **expected, "{count} of a train of {stride}");
            peer = Some(from);
        }
        send_train(&member_socket, &content, stride, peer).await;
        for expected in &expected {
            let came = received(&client).await;
            assert!(came == *expected, "{} back of a train of {stride}", came.len());
        }
    }
}

#[tokio::test]
async fn of_a_train_as_many_answers_pass_as_were_asked_for() {
    let mut site = Site::new();
    let member_socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = member_socket.local_addr().unwrap();
    site.put_pool(|pool| pool.members = vec![member(address)]).await;
    let listen = site.put_server(udp(|spec| spec.udp.responses = Some(2))).await;
    let client = client(listen).await;
    for _ in 0..2 {
        client.send(b"question").await.unwrap();
        let mut buffer = [0; 64];
        let (_, peer) = within(member_socket.recv_from(&mut buffer)).await.unwrap();
        send_train(&member_socket, b"onetwotri", 3, Some(peer)).await;
        assert_eq!(received(&client).await, b"one");
        assert_eq!(received(&client).await, b"two");
        site.until_idle().await;
    }
    let status = site.until_status(|status| status.requests_total == 2).await;
    assert_eq!(status.sent_bytes_total, 12, "the third of each is nobody's");
}
