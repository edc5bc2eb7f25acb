//! Every protocol of clients with every protocol of members: what is asked and answered is the same.

use std::sync::Arc;

use ballast_model::{MemberProtocol, PoolTls, Protocol};
use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, SendResponse};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use rustls::pki_types::ServerName;
use rustls::{ALL_VERSIONS, ClientConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::harness::*;
use crate::http2_client::{self, Client};
use crate::http2_origin::{self, Both, answer, read_all};
use crate::pki::*;

const LARGE_BYTES: usize = 4 * 1024 * 1024;
const UPLOAD_BYTES: usize = 1024 * 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Spoken {
    is_http2: bool,
    is_tls: bool,
}

const H1: Spoken = Spoken { is_http2: false, is_tls: false };
const H1_TLS: Spoken = Spoken { is_http2: false, is_tls: true };
const H2C: Spoken = Spoken { is_http2: true, is_tls: false };
const H2_TLS: Spoken = Spoken { is_http2: true, is_tls: true };

/// What an origin answers.
#[derive(Default)]
struct Reply {
    status: u16,
    body: Vec<u8>,
    /// Where the length is not told in advance.
    trailers: Option<Vec<(String, String)>>,
    /// `Content-Length` without a body.
    said_length: Option<usize>,
}

/// What every origin does, whatever it speaks.
fn reply(method: &str, target: &str, body: Vec<u8>, trailers: &[(String, String)]) -> Reply {
    match (method, target) {
        ("HEAD", _) => Reply { status: 200, said_length: Some(5), ..Reply::default() },
        (_, "/hello") => Reply { status: 200, body: b"hello".to_vec(), ..Reply::default() },
        (_, "/304") => Reply { status: 304, ..Reply::default() },
        (_, "/204") => Reply { status: 204, ..Reply::default() },
        (_, "/error") => Reply { status: 503, body: b"broken".to_vec(), ..Reply::default() },
        (_, "/large") => Reply { status: 200, body: pattern(LARGE_BYTES), ..Reply::default() },
        (_, "/trailers") => {
            Reply { status: 200, body, trailers: Some(trailers.to_vec()), ..Reply::default() }
        }
        _ => Reply { status: 200, body, ..Reply::default() },
    }
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i / 7) as u8).collect()
}

fn is_bodiless(status: u16) -> bool {
    matches!(status, 204 | 304)
}

async fn serve_http1(mut io: Io<Box<dyn Both>>) {
    while let Some(request) = io.message().await {
        let mut start = request.head.split(' ');
        let (method, target) = (start.next().unwrap(), start.next().unwrap());
        let trailers: Vec<_> = request.trailer.iter().filter_map(|line| pair(line)).collect();
        let reply = reply(method, target, request.body, &trailers);
        let mut bytes = format!("HTTP/1.1 {} Whatever\r\nX-Origin: here\r\n", reply.status);
        match (&reply.trailers, reply.said_length) {
            _ if is_bodiless(reply.status) => bytes.push_str("\r\n"),
            (Some(_), _) => bytes.push_str("Transfer-Encoding: chunked\r\n\r\n"),
            (None, Some(length)) => bytes.push_str(&format!("Content-Length: {length}\r\n\r\n")),
            (None, None) => {
                bytes.push_str(&format!("Content-Length: {}\r\n\r\n", reply.body.len()));
            }
        }
        let mut bytes = bytes.into_bytes();
        match reply.trailers {
            None => bytes.extend(reply.body),
            Some(trailers) => {
                if !reply.body.is_empty() {
                    bytes.extend(format!("{:x}\r\n", reply.body.len()).bytes());
                    bytes.extend(reply.body);
                    bytes.extend(b"\r\n");
                }
                bytes.extend(b"0\r\n");
                for (name, value) in trailers {
                    bytes.extend(format!("{name}: {value}\r\n").bytes());
                }
                bytes.extend(b"\r\n");
            }
        }
        if io.try_send(bytes).await.is_err() {
            return;
        }
    }
}

async fn serve_http2(request: Request<RecvStream>, respond: SendResponse<Bytes>) {
    let (method, target) = (request.method().clone(), request.uri().path().to_owned());
    let (body, trailers) = read_all(request.into_body()).await;
    let trailers: Vec<_> = trailers.iter().flatten_fields().collect();
    let reply = reply(method.as_str(), &target, body, &trailers);
    let mut head = Response::builder().status(reply.status).header("x-origin", "here");
    match (&reply.trailers, reply.said_length) {
        _ if is_bodiless(reply.status) => {}
        (Some(_), _) => {}
        (None, Some(length)) => head = head.header("content-length", length),
        (None, None) => head = head.header("content-length", reply.body.len()),
    }
    let trailers = reply.trailers.map(|trailers| fields(&trailers));
    answer(respond, head.body(()).unwrap(), &reply.body, trailers).await;
}

fn pair(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.to_ascii_lowercase(), value.trim().to_owned()))
}

fn fields(pairs: &[(String, String)]) -> HeaderMap {
    let pairs = pairs.iter().map(|(name, value)| {
        (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
    });
    pairs.collect()
}

/// Fields as pairs of text.
trait Fields<'a> {
    fn flatten_fields(self) -> impl Iterator<Item = (String, String)>;
}

impl<'a, I: Iterator<Item = &'a HeaderMap>> Fields<'a> for I {
    fn flatten_fields(self) -> impl Iterator<Item = (String, String)> {
        self.flatten().map(|(name, value)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
    }
}

/// An origin that speaks that.
async fn origin(spoken: Spoken, leaf: &Leaf) -> Origin {
    let config = spoken.is_tls.then(|| leaf.server(ALL_VERSIONS, None));
    if spoken.is_http2 {
        return http2_origin::start(config, Builder::new(), |_, (request, respond)| {
            serve_http2(request, respond)
        })
        .await;
    }
    match config {
        None => Origin::start(|_, io: Io| serve_http1(io.boxed())).await,
        Some(config) => {
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
            Origin::start(move |_, io: Io| {
                let acceptor = acceptor.clone();
                async move {
                    if let Ok(stream) = acceptor.accept(io.stream).await {
                        serve_http1(Io::new(stream).boxed()).await;
                    }
                }
            })
            .await
        }
    }
}

/// A client, whatever it speaks.
enum AnyClient {
    Http1(Io<Box<dyn Both>>),
    Http2(Client),
}

/// What came back, whatever was spoken.
struct Got {
    status: u16,
    body: Vec<u8>,
    trailers: Vec<(String, String)>,
    length: Option<String>,
    origin: Option<String>,
}

impl AnyClient {
    async fn connect(site: &Site, spoken: Spoken, ca: &Ca) -> Self {
        let stream = TcpStream::connect(site.address).await.unwrap();
        let stream: Box<dyn Both> = if spoken.is_tls {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let mut config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(ca.roots())
                .with_no_client_auth();
            let alpn: &[u8] = if spoken.is_http2 { b"h2" } else { b"http/1.1" };
            config.alpn_protocols = vec![alpn.to_vec()];
            let name = ServerName::try_from("site.test").unwrap();
            let connector = TlsConnector::from(Arc::new(config));
            Box::new(soon(connector.connect(name, stream)).await.unwrap())
        } else {
            Box::new(stream)
        };
        if spoken.is_http2 {
            Self::Http2(Client::on(stream, h2::client::Builder::new()).await)
        } else {
            Self::Http1(Io::new(stream))
        }
    }

    async fn ask(&mut self, method: &str, target: &str, body: &[u8]) -> Got {
        match self {
            Self::Http1(io) => {
                let length = body.len();
                let head = format!("{method} {target} HTTP/1.1\r\nHost: site.test\r\n");
                let framing = match method {
                    "POST" => format!("Content-Length: {length}\r\n\r\n"),
                    _ => "\r\n".to_owned(),
                };
                let bytes = [head.as_bytes(), framing.as_bytes(), body].concat();
                io.send(bytes).await;
                got_http1(io, method).await
            }
            Self::Http2(client) => {
                let method = method.parse::<Method>().unwrap();
                let request = http2_client::request(method, target);
                got_http2(client.ask(request, body).await.unwrap())
            }
        }
    }

    /// Sends content whose length is not told, and a trailer behind it.
    async fn ask_with_trailers(&mut self, target: &str, content: &[u8]) -> Got {
        match self {
            Self::Http1(io) => {
                let head = format!(
                    "POST {target} HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\
                     Connection: te\r\nTE: trailers\r\n\r\n"
                );
                let (one, two) = content.split_at(content.len() / 2);
                let mut bytes = head.into_bytes();
                for part in [one, two] {
                    bytes.extend(format!("{:x}\r\n", part.len()).bytes());
                    bytes.extend(part);
                    bytes.extend(b"\r\n");
                }
                bytes.extend(b"0\r\nX-Sum: 42\r\n\r\n");
                io.send(bytes).await;
                got_http1(io, "POST").await
            }
            Self::Http2(client) => {
                let mut request = http2_client::request(Method::POST, target);
                request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
                let (response, mut send) = client.begin(request, false).await;
                let content = Bytes::copy_from_slice(content);
                http2_client::send_all(&mut send, content, false).await.unwrap();
                send.send_trailers(fields(&[("x-sum".to_owned(), "42".to_owned())])).unwrap();
                got_http2(http2_client::read(response).await.unwrap())
            }
        }
    }
}

async fn got_http1(io: &mut Io<Box<dyn Both>>, method: &str) -> Got {
    let head = io.head().await.expect("a response");
    let head_only = Message { head: head.clone(), body: Vec::new(), trailer: Vec::new() };
    let (body, trailers) = if method == "HEAD" || is_bodiless(head_only.status()) {
        (Vec::new(), Vec::new())
    } else {
        io.body_and_trailer(&head).await
    };
    Got {
        status: head_only.status(),
        body,
        trailers: trailers.iter().filter_map(|line| pair(line)).collect(),
        length: head_only.field("content-length").map(str::to_owned),
        origin: head_only.field("x-origin").map(str::to_owned),
    }
}

fn got_http2(answer: http2_client::Answer) -> Got {
    Got {
        status: answer.status,
        length: answer.field("content-length").map(str::to_owned),
        origin: answer.field("x-origin").map(str::to_owned),
        trailers: answer.trailers.iter().flatten_fields().collect(),
        body: answer.body,
    }
}

async fn all_is_the_same(client: Spoken, member: Spoken) {
    let ca = Ca::new("everybody");
    let origin = origin(member, &ca.issue(&["127.0.0.1"])).await;
    let mut site = Site::start(&[origin.address]).await;
    site.edit(&[ca.issue(&["site.test"]).put("site")]);
    site.pool.tls =
        member.is_tls.then(|| PoolTls { ca_pem: Some(ca.pem.clone()), ..PoolTls::default() });
    if member.is_http2 {
        site.pool.protocol = MemberProtocol::Http2;
    }
    if client.is_tls {
        site.server.protocol = Protocol::Https;
        site.server.certificates = vec!["site".to_owned()];
    }
    site.apply().await;
    let mut client = AnyClient::connect(&site, client, &ca).await;
    let mut count = 0;
    // Twice: on a new connection to the member, and on kept ones.
    for _ in 0..2 {
        for (method, target, body, status, answered) in [
            ("GET", "/hello", &b""[..], 200, &b"hello"[..]),
            ("POST", "/echo", b"a body", 200, b"a body"),
            ("POST", "/echo", b"", 200, b""),
            ("HEAD", "/hello", b"", 200, b""),
            ("GET", "/304", b"", 304, b""),
            ("GET", "/204", b"", 204, b""),
            ("GET", "/error", b"", 503, b"broken"),
            ("POST", "/error", b"a body", 503, b"broken"),
        ] {
            let got = client.ask(method, target, body).await;
            assert_eq!((got.status, &got.body[..]), (status, answered), "{method} {target}");
            assert_eq!(got.origin.as_deref(), Some("here"), "{method} {target}");
            assert!(got.trailers.is_empty());
            match (method, status) {
                ("HEAD", _) => assert_eq!(got.length.as_deref(), Some("5")),
                (_, 204 | 304) => assert_eq!(got.length, None),
                _ => {
                    let length = answered.len().to_string();
                    assert_eq!(got.length, Some(length), "{method} {target}");
                }
            }
            count += 1;
        }
        let upload = pattern(UPLOAD_BYTES);
        let got = client.ask("POST", "/echo", &upload).await;
        assert!(got.status == 200 && got.body == upload, "an upload comes back as it was");
        let got = client.ask("GET", "/large", b"").await;
        assert!(got.status == 200 && got.body == pattern(LARGE_BYTES), "a large download");
        let got = client.ask_with_trailers("/trailers", b"in two pieces").await;
        assert_eq!((got.status, &got.body[..]), (200, &b"in two pieces"[..]));
        assert_eq!(got.trailers, [("x-sum".to_owned(), "42".to_owned())]);
        assert_eq!(got.length, None);
        count += 3;
    }
    site.served(count).await;
    assert_eq!(site.totals().failures_total(), 0);
}

macro_rules! matrix {
    ($($name:ident: $client:ident to $member:ident;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                all_is_the_same($client, $member).await;
            }
        )*
    };
}

matrix! {
    http1_to_http1: H1 to H1;
    http1_to_http1_tls: H1 to H1_TLS;
    http1_to_http2: H1 to H2C;
    http1_to_http2_tls: H1 to H2_TLS;
    http1_tls_to_http1: H1_TLS to H1;
    http1_tls_to_http1_tls: H1_TLS to H1_TLS;
    http1_tls_to_http2: H1_TLS to H2C;
    http1_tls_to_http2_tls: H1_TLS to H2_TLS;
    http2_to_http1: H2C to H1;
    http2_to_http1_tls: H2C to H1_TLS;
    http2_to_http2: H2C to H2C;
    http2_to_http2_tls: H2C to H2_TLS;
    http2_tls_to_http1: H2_TLS to H1;
    http2_tls_to_http1_tls: H2_TLS to H1_TLS;
    http2_tls_to_http2: H2_TLS to H2C;
    http2_tls_to_http2_tls: H2_TLS to H2_TLS;
}
