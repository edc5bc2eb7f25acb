use std::net::{Ipv4Addr, TcpListener, TcpStream};

use super::*;

fn tcp(address: SocketAddr) -> Listener {
    (Transport::Tcp, address)
}

fn address_of(socket: &ListenSocket) -> SocketAddr {
    match socket {
        ListenSocket::Stream(socket) => socket.local_addr().unwrap(),
        ListenSocket::Datagram(socket) => socket.local_addr().unwrap(),
    }
}

fn ephemeral() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn every_worker_gets_a_socket_on_the_same_port() {
    let address = ephemeral();
    let sockets = listen(tcp(address), 3).unwrap();
    assert_eq!(sockets.len(), 3);
    assert!(sockets.iter().all(|socket| address_of(socket) == address));
    TcpStream::connect(address).unwrap();
}

#[test]
fn a_port_that_another_process_shares_is_refused() {
    let foreign = listen(tcp(ephemeral()), 1).unwrap();
    let address = address_of(&foreign[0]);
    // A plain bind with SO_REUSEPORT succeeds, which is why there is a probe at all.
    assert!(listen(tcp(address), 1).is_ok());
    assert!(matches!(probe(tcp(address)), Err(ListenError::InUse { .. })));
    drop(foreign);
    probe(tcp(address)).unwrap();
}

#[test]
fn an_address_that_the_node_does_not_have_yet_can_be_bound() {
    let port = ephemeral().port();
    let v4 = SocketAddr::from((Ipv4Addr::new(198, 51, 100, 7), port));
    let v6: SocketAddr = format!("[2001:db8::7]:{port}").parse().unwrap();
    probe(tcp(v4)).unwrap();
    listen(tcp(v4), 2).unwrap();
    listen(tcp(v6), 2).unwrap();
}

#[test]
fn both_families_share_a_port() {
    let port = ephemeral().port();
    let _v6 = listen(tcp(SocketAddr::from(([0u16; 8], port))), 1).unwrap();
    let _v4 = listen(tcp(SocketAddr::from(([0u8; 4], port))), 1).unwrap();
}

#[test]
fn overlap_is_same_port_same_family_and_same_or_any_address() {
    let yes = |a: &str, b: &str| overlap(tcp(a.parse().unwrap()), tcp(b.parse().unwrap()));
    assert!(yes("0.0.0.0:80", "10.0.0.1:80"));
    assert!(yes("10.0.0.1:80", "10.0.0.1:80"));
    assert!(!yes("0.0.0.0:80", "10.0.0.1:81"));
    assert!(!yes("10.0.0.2:80", "10.0.0.1:80"));
    assert!(!yes("[::]:80", "10.0.0.1:80"));
}

#[test]
fn streams_and_datagrams_share_a_port_and_datagrams_are_guarded_too() {
    let address = ephemeral();
    let _streams = listen(tcp(address), 1).unwrap();
    let udp = (Transport::Udp, address);
    probe(udp).unwrap();
    let sockets = listen(udp, 2).unwrap();
    assert!(sockets.iter().all(|socket| address_of(socket) == address));
    assert!(matches!(probe(udp), Err(ListenError::InUse { .. })));
    assert!(!overlap(tcp(address), udp));
}

#[test]
fn what_clients_have_not_taken_is_bounded_on_connections_of_every_listener() {
    let address = ephemeral();
    let own = listen(tcp(address), 1).unwrap();
    let given = TcpListener::bind("127.0.0.1:0").unwrap();
    make_ready(&given, Transport::Tcp).unwrap();
    let ListenSocket::Stream(own) = &own[0] else { panic!("a listener of streams") };
    for listener in [own, &given] {
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = std::iter::repeat_with(|| accept(listener)).find_map(Result::ok).unwrap().0;
        let socket = SockRef::from(&accepted);
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), UNSENT_MAX_BYTES);
        assert!(socket.tcp_nodelay().unwrap());
    }
}
