//! Keeping clients on TLS: redirects, HSTS, and what else stands in answers of our own.

use ballast_model::explain::ExplainRequest;
use ballast_model::{ClientAuthMode, ForceHttps, Hsts, ServerTls};
use ballast_telemetry::FailureReason;
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::client_auth::{asking, connector};
use crate::harness::*;
use crate::http2_client::{Client, request};
use crate::pki::*;
use crate::policy::declare;

const HSTS: &str = "Strict-Transport-Security";

async fn connect(site: &Site, ca: &Ca, shown: Option<&Leaf>) -> Io<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(site.address).await.unwrap();
    let name = ServerName::try_from("a.test").unwrap();
    Io::new(soon(connector(ca, shown, &[&TLS13]).connect(name, stream)).await.unwrap())
}

async fn tls_site(origin: &Origin, ca: &Ca, hsts: Option<Hsts>) -> Site {
    let mut site = crate::client_auth::site(origin, ca, ServerTls::default()).await;
    site.server.http.hsts = hsts;
    site.apply().await;
    site
}

fn hsts() -> Option<Hsts> {
    Some(Hsts { max_age_s: 600, include_subdomains: true, preload: false })
}

fn count(head: &str, name: &str) -> usize {
    head.lines()
        .filter(|line| line.to_ascii_lowercase().starts_with(&name.to_ascii_lowercase()))
        .count()
}

#[tokio::test]
async fn every_client_without_tls_is_sent_to_the_same_place_with_it() {
    let origin = Origin::echo().await;
    let mut site = Site::start_with(&[origin.address], |server, _| {
        server.http.force_https = Some(ForceHttps { status: 308, port: 8443 });
    })
    .await;
    let mut client = site.connect().await;
    for (request, location) in [
        ("GET /a?b=c HTTP/1.1\r\nHost: a.test:80\r\n\r\n", "https://a.test:8443/a?b=c"),
        ("POST /a HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 2\r\n\r\nhi", "https://[::1]:8443/a"),
        ("OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n", "https://a.test:8443/"),
        ("GET http://a.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n", "https://a.test:8443/x"),
    ] {
        let answer = client.ask(request).await;
        assert_eq!((answer.status(), answer.field("Location")), (308, Some(location)));
        assert_eq!(answer.field(HSTS), None, "it is worth nothing without TLS");
    }
    let mut http2 = Client::connect(&site).await;
    let answer = http2.ask(request(http::Method::GET, "/h2"), b"").await.unwrap();
    assert_eq!(answer.status, 308);
    assert!(answer.field("location").unwrap().ends_with(":8443/h2"), "{answer:?}");
    let old = site.connect().await.ask("GET /old HTTP/1.0\r\n\r\n").await;
    let here = site.address.ip();
    assert_eq!(old.field("Location"), Some(&*format!("https://{here}:8443/old")));
    assert_eq!(origin.connections(), 0, "no member was asked");
    assert_eq!(site.totals().failures_total(), 0);
    let asked: ExplainRequest =
        serde_json::from_str(r#"{"virtual_server": "site", "path": "/"}"#).unwrap();
    let report = site.plane.explain(asked).await.unwrap();
    assert!(report.verdict.contains("redirect 308 to port 8443"), "{report:?}");
    site.server.http.force_https = None;
    site.apply().await;
    assert_eq!(
        client.get("/").await.status(),
        200,
        "a change holds for connections that are there"
    );
}

#[tokio::test]
async fn hsts_stands_once_in_every_answer_over_tls() {
    let origin = Origin::answering(|request| {
        let own = if request.head.starts_with("GET /own") {
            "strict-transport-security: max-age=1\r\n"
        } else {
            ""
        };
        format!("HTTP/1.1 200 OK\r\n{own}Content-Length: 0\r\n\r\n")
    })
    .await;
    let ca = Ca::new("sites");
    let mut site = tls_site(&origin, &ca, None).await;
    let mut client = connect(&site, &ca, None).await;
    assert_eq!(client.get("/own").await.field(HSTS), Some("max-age=1"), "passed on as it is");
    site.server.http.hsts = hsts();
    site.apply().await;
    for target in ["/", "/own"] {
        let answer = client.get(target).await;
        assert_eq!(answer.field(HSTS), Some("max-age=600; includeSubDomains"), "{target}");
        assert_eq!(count(&answer.head, HSTS), 1, "{}", answer.head);
    }
    let refused = client.ask("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").await;
    assert_eq!((refused.status(), refused.field(HSTS).is_some()), (400, true));
}

#[tokio::test]
async fn a_policy_has_the_last_word_on_hsts() {
    let (origin, ca) = (Origin::echo().await, Ca::new("sites"));
    let mut site = tls_site(&origin, &ca, hsts()).await;
    declare(
        &mut site,
        r#"[
        {"name": "off", "when": {"path": {"prefix": "/off"}},
         "response_headers": {"remove": ["Strict-Transport-Security"]}},
        {"name": "other", "when": {"path": {"prefix": "/other"}},
         "response_headers": {"set": {"Strict-Transport-Security": "max-age=5"}}},
        {"name": "moved", "when": {"path": {"prefix": "/moved"}},
         "action": {"redirect": {"status": 301, "path": {"prefix": {"from": "/moved", "to": "/new"}}}}}
    ]"#,
    );
    site.server.policies = vec!["rules".to_owned()];
    site.apply().await;
    let mut client = connect(&site, &ca, None).await;
    for (target, expected) in [
        ("/off", None),
        ("/other", Some("max-age=5")),
        ("/moved", Some("max-age=600; includeSubDomains")),
        ("/", Some("max-age=600; includeSubDomains")),
    ] {
        let answer = client.get(target).await;
        assert_eq!(answer.field(HSTS), expected, "{target}");
        assert!(count(&answer.head, HSTS) <= 1, "{}", answer.head);
    }
}

#[tokio::test]
async fn refusals_and_failures_have_the_header_that_policies_give_responses() {
    let mut site = Site::start(&[vacant()]).await;
    declare(
        &mut site,
        r#"[
        {"name": "cors", "response_headers": {
            "set": {"Access-Control-Allow-Origin": "*", "Retry-After": "77", "Content-Type": "text/x"}}},
        {"name": "limit", "when": {"path": {"prefix": "/limited"}},
         "rate_limits": [{"requests": 1, "interval_s": 3600}]}
    ]"#,
    );
    site.server.policies = vec!["rules".to_owned()];
    site.apply().await;
    let mut client = site.connect().await;
    for (target, status) in [("/", 502), ("/limited", 502), ("/limited", 429)] {
        let answer = client.get(target).await;
        assert_eq!(answer.status(), status, "{target}");
        for (name, value) in [
            ("Access-Control-Allow-Origin", "*"),
            ("Content-Type", "text/x"),
            ("Retry-After", "77"),
        ] {
            assert_eq!(answer.field(name), Some(value), "{}", answer.head);
            assert_eq!(count(&answer.head, name), 1, "{}", answer.head);
        }
    }
}

#[tokio::test]
async fn connections_that_new_rules_for_certificates_would_not_let_in_ask_no_more() {
    let (ca, clients, others) = (Ca::new("sites"), Ca::new("clients"), Ca::new("others"));
    let known = clients.issue(&["me"]);
    let origin = Origin::echo().await;
    let mut site = crate::client_auth::site(&origin, &ca, ServerTls::default()).await;
    let mut stranger = connect(&site, &ca, None).await;
    assert_eq!(stranger.get("/").await.status(), 200);
    site.server.tls = Some(asking(&clients, ClientAuthMode::Optional));
    site.apply().await;
    assert_eq!(stranger.get("/").await.status(), 200, "nobody has to show one");
    let mut member = connect(&site, &ca, Some(&known)).await;
    site.server.tls = Some(asking(&clients, ClientAuthMode::Required));
    site.apply().await;
    assert_eq!(member.get("/").await.status(), 200, "whoever would be let in goes on");
    let answer = stranger.get("/").await;
    assert_eq!((answer.status(), answer.field("Connection")), (421, Some("close")));
    assert_eq!(stranger.rest().await, b"");
    site.failed(FailureReason::ClientCertificate, 1).await;
    site.server.tls = Some(asking(&others, ClientAuthMode::Required));
    site.apply().await;
    assert_eq!(member.get("/").await.status(), 421, "its authority is trusted no more");
    site.failed(FailureReason::ClientCertificate, 2).await;
}
