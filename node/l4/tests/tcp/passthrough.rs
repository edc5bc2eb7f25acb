//! TLS that is passed on unopened, by the name that the client asks for.

use std::net::SocketAddr;

use ballast_model::{Protocol, SniRoute, TlsPassthrough, UnmatchedName, VirtualServerSpec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::site::{Server, Site, assert_reset, member, within};

/// The first message of a client, as OpenSSL would cut it: `name` in a record of `size` bytes each.
fn hello(name: Option<&str>, alpn: Option<&str>, size: usize) -> Vec<u8> {
    let vector16 = |content: &[u8]| [&(content.len() as u16).to_be_bytes(), content].concat();
    let mut extensions = Vec::new();
    if let Some(name) = name {
        let list = vector16(&[&[0][..], &vector16(name.as_bytes())].concat());
        extensions.extend([&[0, 0][..], &vector16(&list)].concat());
    }
    if let Some(alpn) = alpn {
        let list = vector16(&[&[alpn.len() as u8], alpn.as_bytes()].concat());
        extensions.extend([&[0, 16][..], &vector16(&list)].concat());
    }
    let mut body = [&[3, 3][..], &[7; 32], &[0], &vector16(&[0x13, 0x01]), &[1, 0]].concat();
    body.extend(vector16(&extensions));
    let mut message = vec![1];
    message.extend(&(body.len() as u32).to_be_bytes()[1..]);
    message.extend(body);
    message.chunks(size).flat_map(|part| [&[22, 3, 1][..], &vector16(part)].concat()).collect()
}

/// A member that sends its name, and then what it gets.
async fn named(name: &'static str) -> (SocketAddr, Server) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                let _reset = stream.read_to_end(&mut bytes).await;
                let _gone = stream.write_all(&[name.as_bytes(), b":", &bytes].concat()).await;
            });
        }
    });
    (address, Server::of(task))
}

async fn answer(listen: SocketAddr, pieces: &[&[u8]]) -> Vec<u8> {
    let mut client = TcpStream::connect(listen).await.unwrap();
    client.set_nodelay(true).unwrap();
    for piece in pieces {
        client.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    client.shutdown().await.unwrap();
    let mut answer = Vec::new();
    within(client.read_to_end(&mut answer)).await.unwrap();
    answer
}

fn route(names: &[&str], pool: &str) -> SniRoute {
    SniRoute {
        server_names: names.iter().map(|name| (*name).to_owned()).collect(),
        alpn_protocols: Vec::new(),
        pool: pool.to_owned(),
    }
}

fn passing(routes: Vec<SniRoute>) -> impl FnOnce(&mut VirtualServerSpec) {
    |spec| {
        spec.protocol = Protocol::TlsPassthrough;
        spec.tls_passthrough = Some(TlsPassthrough { routes, ..TlsPassthrough::default() });
    }
}

struct Two {
    site: Site,
    _members: [Server; 2],
}

/// The pool `pool` with a member "default", and the pool `one` with a member "one".
async fn two() -> Two {
    let mut site = Site::new();
    let (default, default_server) = named("default").await;
    let (one, one_server) = named("one").await;
    site.put_pool(|pool| pool.members = vec![member(default)]).await;
    site.put_pool_named("one", |pool| pool.members = vec![member(one)]).await;
    Two { site, _members: [default_server, one_server] }
}

#[tokio::test]
async fn name_chooses_the_pool_and_every_byte_arrives() {
    let Two { mut site, _members } = two().await;
    let routes = vec![route(&["One.example", "*.deep.example"], "one")];
    let listen = site.put_server(passing(routes)).await;
    for (name, served_by) in [
        (Some("one.example"), "one"),
        (Some("ONE.example"), "one"),
        (Some("a.deep.example"), "one"),
        (Some("a.b.deep.example"), "one"),
        (Some("deep.example"), "default"),
        (Some("two.example"), "default"),
        (None, "default"),
    ] {
        for size in [1, 50, 16_000] {
            let hello = hello(name, None, size);
            let (first, second) = hello.split_at(hello.len() / 2);
            let expected = [served_by.as_bytes(), b":", &hello, b"more"].concat();
            let answer = answer(listen, &[first, second, b"more"]).await;
            assert!(answer == expected, "{name:?} in records of {size}: {answer:x?}");
        }
    }
    site.until_idle().await;
    let records = site.records().await;
    assert_eq!(records[0]["host"], "one.example");
}

#[tokio::test]
async fn application_protocol_chooses_among_routes_of_one_name() {
    let Two { mut site, _members } = two().await;
    let mut acme = route(&["a.example"], "one");
    acme.alpn_protocols = vec!["acme-tls/1".to_owned()];
    let listen = site.put_server(passing(vec![acme, route(&["*.example"], "pool")])).await;
    for (alpn, served_by) in
        [(Some("acme-tls/1"), "one:"), (Some("h2"), "default:"), (None, "default:")]
    {
        let answer = answer(listen, &[&hello(Some("a.example"), alpn, 16_000)]).await;
        assert!(answer.starts_with(served_by.as_bytes()), "{alpn:?}");
    }
}

#[tokio::test]
async fn names_without_a_route_can_be_refused_and_routes_change_live() {
    let Two { mut site, _members } = two().await;
    let settings = |routes| TlsPassthrough {
        routes,
        unmatched: UnmatchedName::Refuse,
        ..TlsPassthrough::default()
    };
    let put = |routes: Vec<SniRoute>| {
        move |spec: &mut VirtualServerSpec| {
            spec.protocol = Protocol::TlsPassthrough;
            spec.tls_passthrough = Some(settings(routes));
        }
    };
    let listen = site.put_server(put(Vec::new())).await;
    let asked = hello(Some("a.example"), None, 16_000);
    assert_refused(listen, &asked).await;
    site.until_reason("unknown_server_name").await;
    site.put_server(put(vec![route(&["a.example"], "one")])).await;
    assert!(answer(listen, &[&asked]).await.starts_with(b"one:"));
    assert_refused(listen, &hello(None, None, 16_000)).await;
}

async fn assert_refused(listen: SocketAddr, bytes: &[u8]) {
    let exchange = async {
        let mut client = TcpStream::connect(listen).await?;
        client.write_all(bytes).await?;
        client.read(&mut [0]).await
    };
    let error = within(exchange).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn what_is_no_tls_and_who_says_nothing_are_turned_away() {
    let Two { mut site, _members } = two().await;
    let listen = site
        .put_server(|spec| {
            passing(Vec::new())(spec);
            spec.tls_passthrough.as_mut().unwrap().hello_timeout_ms = 100;
        })
        .await;
    assert_refused(listen, b"GET / HTTP/1.1\r\n\r\n").await;
    site.until_reason("client_hello").await;
    assert_refused(listen, &hello(Some("a"), None, 16_000)[..20]).await;
    assert_reset(listen).await;
    let status = site.until_status(|status| status.requests_total == 3).await;
    assert_eq!(status.failures_total, 3);
}
