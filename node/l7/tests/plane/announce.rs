//! The PROXY protocol on both sides of HTTP.

use std::net::Ipv4Addr;

use ballast_model::{AcceptProxyProtocol, Algorithm, MemberSpec, ProxyProtocolVersion};

use crate::harness::*;

fn trusting(network: &str) -> AcceptProxyProtocol {
    AcceptProxyProtocol::from(vec![network.parse().unwrap()])
}

#[tokio::test]
async fn announced_client_is_in_the_field_for_it_and_decides_the_member() {
    let members = [Origin::echo().await, Origin::echo().await, Origin::echo().await];
    let addresses = members.each_ref().map(|origin| origin.address);
    let site = Site::start_with(&addresses, |server, pool| {
        server.accept_proxy_protocol = Some(trusting("127.0.0.0/8"));
        pool.algorithm = Algorithm::SourceHash;
    })
    .await;
    for host in 0..40 {
        let mut client = site.connect().await;
        client.send(format!("PROXY TCP4 198.51.100.{host} 192.0.2.1 1000 80\r\n")).await;
        let response = client.get("/").await;
        let text = response.text();
        assert!(text.contains(&format!("X-Forwarded-For: 198.51.100.{host}\r\n")), "{text}");
    }
    assert!(members.iter().all(|origin| origin.connections() > 0), "one address, three members");
}

#[tokio::test]
async fn header_comes_before_the_tls_handshake() {
    let origin = Origin::echo().await;
    let mut site = Site::start(&[origin.address]).await;
    let authority = crate::tls::make_https(&mut site).await;
    site.server.accept_proxy_protocol = Some(trusting("127.0.0.0/8"));
    site.apply().await;
    let mut client = site.connect().await;
    client.send("PROXY TCP6 2001:db8::9 2001:db8::1 1000 443\r\n").await;
    let mut client = authority.handshake(client.stream).await;
    let text = client.get("/").await.text();
    assert!(text.contains("X-Forwarded-For: 2001:db8::9\r\n"), "{text}");
}

#[tokio::test]
async fn members_learn_of_each_client_on_a_connection_of_its_own() {
    let origin = Origin::start(|_, mut io| async move {
        let mut header = Vec::new();
        while !header.ends_with(b"\r\n") {
            header.extend(io.exactly(1).await);
        }
        let header = String::from_utf8(header).unwrap();
        while io.message().await.is_some() {
            io.send(ok(&header)).await;
        }
    })
    .await;
    let mut site = Site::start_with(&[origin.address], |_, pool| {
        pool.send_proxy_protocol = Some(ProxyProtocolVersion::V1);
    })
    .await;
    for _ in 0..2 {
        let mut client = site.connect().await;
        let port = client.stream.local_addr().unwrap().port();
        let to = site.address.port();
        let expected = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} {to}\r\n");
        for _ in 0..2 {
            assert_eq!(client.get("/").await.text(), expected);
        }
    }
    // Without the header connections are shared again, and those with one are not among them.
    let echo = Origin::echo().await;
    site.pool.send_proxy_protocol = None;
    site.pool.members = vec![MemberSpec::new(echo.address)];
    site.apply().await;
    for _ in 0..3 {
        assert_eq!(site.connect().await.get("/").await.status(), 200);
    }
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn members_learn_which_address_was_reached_where_every_one_is_listened_on() {
    let origin = Origin::start(|_, mut io| async move {
        let mut header = Vec::new();
        while !header.ends_with(b"\r\n") {
            header.extend(io.exactly(1).await);
        }
        let request = io.message().await.unwrap();
        io.send(ok(&format!("{}{}", String::from_utf8(header).unwrap(), request.head))).await;
    })
    .await;
    let site = Site::start_with(&[origin.address], |server, pool| {
        server.addresses = vec![Ipv4Addr::UNSPECIFIED.into()];
        pool.send_proxy_protocol = Some(ProxyProtocolVersion::V1);
    })
    .await;
    let to = site.address.port();
    // One of loopback that the listener does not name either.
    let mut client = Io::connect((Ipv4Addr::new(127, 0, 0, 9), to).into()).await;
    let port = client.stream.local_addr().unwrap().port();
    let text = client.ask("GET / HTTP/1.0\r\n\r\n").await.text();
    let header = format!("PROXY TCP4 127.0.0.1 127.0.0.9 {port} {to}\r\n");
    assert!(text.starts_with(&header), "{text}");
    assert!(text.contains(&format!("\r\nHost: 127.0.0.9:{to}\r\n")), "{text}");
}
