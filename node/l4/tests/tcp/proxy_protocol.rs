//! The PROXY protocol on both sides of TCP.

use std::net::SocketAddr;

use ballast_model::{
    AcceptProxyProtocol, OtherSources, ProxyProtocolVersion, SourceLimits, VirtualServerSpec,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::site::{Site, assert_reset, echo, member, within};

fn trusting(network: &str) -> AcceptProxyProtocol {
    AcceptProxyProtocol::from(vec![network.parse().unwrap()])
}

fn accepting(network: &str) -> impl FnOnce(&mut VirtualServerSpec) {
    let settings = trusting(network);
    |spec| spec.accept_proxy_protocol = Some(settings)
}

/// What comes back of `bytes`, once as much has come.
async fn echoed(listen: SocketAddr, bytes: &[u8], count: usize) -> std::io::Result<Vec<u8>> {
    within(async {
        let mut client = TcpStream::connect(listen).await?;
        client.write_all(bytes).await?;
        let mut back = vec![0; count];
        client.read_exact(&mut back).await?;
        Ok(back)
    })
    .await
}

#[tokio::test]
async fn announced_client_is_the_client_and_the_header_goes_no_further() {
    let mut site = Site::new();
    let (address, _echo) = echo().await;
    site.put_pool(|pool| pool.members = vec![member(address)]).await;
    let listen = site.put_server(accepting("127.0.0.0/8")).await;
    let v1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\nhello";
    assert_eq!(echoed(listen, v1, 5).await.unwrap(), b"hello");
    site.records_of(1).await;
    let v2 = [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x2a"[..],
        &[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
        &[0; 16],
        &[0, 1, 0, 2],
        &[0x03, 0, 3, 1, 2, 3],
        b"hello",
    ]
    .concat();
    assert_eq!(echoed(listen, &v2, 5).await.unwrap(), b"hello");
    site.records_of(2).await;
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0hello";
    assert_eq!(echoed(listen, local, 5).await.unwrap(), b"hello");
    site.records_of(3).await;
    let records = site.records_of(3).await;
    let clients: Vec<_> = records.iter().map(|record| record["client"].as_str().unwrap()).collect();
    assert_eq!(clients[0], "192.0.2.7:56324");
    assert_eq!(clients[1], "[2001:db8::9]:1");
    assert!(clients[2].starts_with("127.0.0.1:"), "{}", clients[2]);
}

#[tokio::test]
async fn header_may_come_in_pieces_but_not_late_or_wrong() {
    let mut site = Site::new();
    let (address, _echo) = echo().await;
    site.put_pool(|pool| pool.members = vec![member(address)]).await;
    let listen = site
        .put_server(|spec| {
            accepting("127.0.0.1")(spec);
            spec.accept_proxy_protocol.as_mut().unwrap().timeout_ms = 1_000;
        })
        .await;
    let mut client = TcpStream::connect(listen).await.unwrap();
    client.set_nodelay(true).unwrap();
    for byte in b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\nx" {
        client.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut back = [0; 1];
    within(client.read_exact(&mut back)).await.unwrap();
    assert_eq!(&back, b"x");
    assert!(echoed(listen, b"GET / HTTP/1.1\r\n\r\n", 1).await.is_err());
    site.until_reason("proxy_protocol").await;
    assert_reset(listen).await;
    assert!(echoed(listen, b"PROXY TCP4 192.0.2.7", 1).await.is_err());
    let status = site.until_status(|status| status.failures_total == 3).await;
    assert_eq!(status.failures_total, 3);
}

#[tokio::test]
async fn others_are_refused_or_are_clients_of_their_own() {
    let mut site = Site::new();
    let (address, _echo) = echo().await;
    site.put_pool(|pool| pool.members = vec![member(address)]).await;
    let listen = site.put_server(accepting("192.0.2.0/24")).await;
    assert_reset(listen).await;
    site.until_reason("proxy_protocol_untrusted").await;
    site.put_server(|spec| {
        let other_sources = OtherSources::Direct;
        spec.accept_proxy_protocol =
            Some(AcceptProxyProtocol { other_sources, ..trusting("192.0.2.0/24") });
    })
    .await;
    let forged = b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n";
    assert_eq!(echoed(listen, forged, forged.len()).await.unwrap(), forged, "it is content");
    site.until_idle().await;
    let records = site.records_of(2).await;
    assert!(records[1]["client"].as_str().unwrap().starts_with("127.0.0.1:"));
}

#[tokio::test]
async fn limits_of_a_source_are_those_of_the_announced_client() {
    let mut site = Site::new();
    let (address, _echo) = echo().await;
    site.put_pool(|pool| pool.members = vec![member(address)]).await;
    let listen = site
        .put_server(|spec| {
            accepting("127.0.0.0/8")(spec);
            spec.source_limits =
                SourceLimits { connection_max_count: Some(1), ..SourceLimits::default() };
        })
        .await;
    let announce = |host: u8| format!("PROXY TCP4 192.0.2.{host} 192.0.2.1 1 2\r\nx").into_bytes();
    let mut held = TcpStream::connect(listen).await.unwrap();
    held.write_all(&announce(1)).await.unwrap();
    within(held.read_exact(&mut [0])).await.unwrap();
    assert!(echoed(listen, &announce(1), 1).await.is_err());
    site.until_reason("source_connection_limit").await;
    assert!(echoed(listen, &announce(2), 1).await.is_ok(), "another client of the same sender");
}

#[tokio::test]
async fn member_is_told_who_the_client_is_before_anything_else() {
    for version in [ProxyProtocolVersion::V1, ProxyProtocolVersion::V2] {
        let mut site = Site::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        site.put_pool(|pool| {
            pool.members = vec![member(address)];
            pool.send_proxy_protocol = Some(version);
        })
        .await;
        let listen = site.put_server(|_| {}).await;
        let client = TcpStream::connect(listen).await.unwrap();
        let (mut stream, _) = within(listener.accept()).await.unwrap();
        // Though the client has said nothing yet.
        let source = client.local_addr().unwrap();
        let expected = match version {
            ProxyProtocolVersion::V1 => {
                let (from, to) = (source.port(), listen.port());
                format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {to}\r\n").into_bytes()
            }
            ProxyProtocolVersion::V2 => [
                &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01"[..],
                &source.port().to_be_bytes(),
                &listen.port().to_be_bytes(),
            ]
            .concat(),
        };
        let mut header = vec![0; expected.len()];
        within(stream.read_exact(&mut header)).await.unwrap();
        assert_eq!(header, expected);
    }
}
