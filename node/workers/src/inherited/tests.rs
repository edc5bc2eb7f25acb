use std::net::{TcpListener, TcpStream, UdpSocket};

use super::*;

#[test]
fn sockets_are_known_by_where_they_are_bound() {
    let stream = TcpListener::bind("127.0.0.1:0").unwrap();
    let datagram = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = (stream.local_addr().unwrap(), datagram.local_addr().unwrap());
    let mut inherited = Inherited::default();
    inherited.insert(stream.into()).unwrap();
    inherited.insert(datagram.into()).unwrap();
    assert!(matches!(inherited.take((Transport::Tcp, at.0))[..], [ListenSocket::Stream(_)]));
    assert!(matches!(inherited.take((Transport::Udp, at.1))[..], [ListenSocket::Datagram(_)]));
    assert!(inherited.is_empty());
}

#[test]
fn what_is_no_listening_socket_is_refused() {
    let mut inherited = Inherited::default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert!(inherited.insert(client.into()).is_err());
    let (local, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    assert!(inherited.insert(local.into()).is_err());
    assert!(inherited.is_empty());
}

#[test]
fn what_is_left_over_is_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut inherited = Inherited::default();
    inherited.insert(listener.into()).unwrap();
    assert_eq!(inherited.close_all().collect::<Vec<_>>(), [(Transport::Tcp, address)]);
    assert!(TcpStream::connect(address).is_err());
}
