use super::*;
use crate::codec::head::{HeadScanner, Scan};
use crate::codec::request::{Method, RequestLimits};
use crate::identity::RequestId;

fn facts() -> ClientFacts {
    let (address, local) = ("192.0.2.7".parse().unwrap(), "198.51.100.1:443".parse().unwrap());
    ClientFacts::new(address, local, "https", ClientIdentity::Unasked)
}

fn length_and_count(text: &str) -> (usize, usize) {
    match HeadScanner::default().advance(text.as_bytes()).unwrap() {
        Scan::Complete { length, field_count } => (length, field_count),
        other => panic!("{other:?}"),
    }
}

/// What a member gets of a request.
fn forwarded(text: &str, forwarded_for: ForwardedFor) -> String {
    identified(text, forwarded_for, &mut Identity::default())
}

fn identified(text: &str, forwarded_for: ForwardedFor, identity: &mut Identity) -> String {
    let (length, field_count) = length_and_count(text);
    let limits =
        RequestLimits { header_max_count: 64, uri_max_bytes: 1_000, body_max_bytes: u64::MAX };
    let (raw, mut fields) = (&text.as_bytes()[..length], Vec::new());
    let head = RequestHead::parse(raw, field_count, &limits, &mut fields).unwrap();
    let mut output = Buffer::default();
    write_request(&mut output, raw, &head, &fields, (&facts(), forwarded_for), None, identity);
    String::from_utf8(output.data().to_vec()).unwrap()
}

/// What a client gets of a response.
fn answered(text: &str, plan: ResponsePlan) -> String {
    let (length, field_count) = length_and_count(text);
    let (raw, mut fields) = (&text.as_bytes()[..length], Vec::new());
    let head = ResponseHead::parse(raw, field_count, Method::Get, true, &mut fields).unwrap();
    let mut output = Buffer::default();
    write_response(&mut output, raw, &head, &fields, plan, OwnFields::default());
    String::from_utf8(output.data().to_vec()).unwrap()
}

const PLAN: ResponsePlan = ResponsePlan {
    frames: Frames::Plain,
    has_body: true,
    keeps_alive: true,
    is_http_10: false,
    tells_request_id: false,
};

#[test]
fn end_to_end_fields_stay_and_hop_by_hop_fields_go() {
    let text = "GET /x HTTP/1.1\r\nHost: a\r\nAccept:  b \r\nConnection: keep-alive, X-Hop\r\n\
        Keep-Alive: timeout=5\r\nX-Hop: 1\r\nTE: gzip\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\
        Proxy-Connection: close\r\nCookie: c=d\r\n\r\n";
    assert_eq!(
        forwarded(text, ForwardedFor::Off),
        "GET /x HTTP/1.1\r\nHost: a\r\nAccept:  b \r\nCookie: c=d\r\n\r\n"
    );
}

#[test]
fn a_client_that_takes_trailers_is_vouched_for() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nTE: deflate, Trailers\r\nConnection: te\r\n\r\n";
    assert_eq!(
        forwarded(text, ForwardedFor::Off),
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: te\r\nTE: trailers\r\n\r\n"
    );
}

#[test]
fn a_client_cannot_nominate_host_or_framing_away() {
    let text = "POST / HTTP/1.1\r\nHost: a\r\nConnection: host, content-length\r\nContent-Length: 3\r\n\r\n";
    assert_eq!(
        forwarded(text, ForwardedFor::Off),
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"
    );
}

#[test]
fn the_clients_address_is_appended_to_what_came() {
    let text = "GET / HTTP/1.1\r\nX-Forwarded-For: 10.0.0.1\r\nHost: a:8443\r\n\
        x-forwarded-for: 10.0.0.2, 10.0.0.3\r\nX-Forwarded-Proto: gopher\r\n\r\n";
    assert_eq!(
        forwarded(text, ForwardedFor::Append),
        "GET / HTTP/1.1\r\nHost: a:8443\r\n\
         X-Forwarded-For: 10.0.0.1, 10.0.0.2, 10.0.0.3, 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Port: 443\r\nX-Forwarded-Host: a:8443\r\n\r\n"
    );
}

#[test]
fn replace_forgets_what_came_and_off_passes_it_on() {
    let text =
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1\r\nforwarded: for=10.0.0.1\r\n\r\n";
    for way in [ForwardedFor::Append, ForwardedFor::Replace] {
        assert!(!forwarded(text, way).contains("for=10.0.0.1"), "{way:?}");
    }
    assert!(forwarded(text, ForwardedFor::Replace).contains("X-Forwarded-For: 192.0.2.7\r\n"));
    assert_eq!(forwarded(text, ForwardedFor::Off), text);
}

#[test]
fn framing_is_written_from_what_was_understood() {
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding:   CHUNKED\r\n\r\n";
    assert!(forwarded(chunked, ForwardedFor::Off).ends_with("Transfer-Encoding: chunked\r\n\r\n"));
    let exact = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0007\r\n\r\n";
    assert!(forwarded(exact, ForwardedFor::Off).ends_with("Content-Length: 7\r\n\r\n"));
}

#[test]
fn an_old_client_is_passed_on_as_http_11_with_a_host() {
    let text = "GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(
        forwarded(text, ForwardedFor::Off),
        "GET / HTTP/1.1\r\nHost: 198.51.100.1:443\r\n\r\n"
    );
    let absolute = "GET http://b HTTP/1.0\r\n\r\n";
    assert_eq!(forwarded(absolute, ForwardedFor::Off), "GET / HTTP/1.1\r\nHost: b\r\n\r\n");
}

#[test]
fn an_upgrade_is_asked_for_anew() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: x, upgrade\r\n\
        Sec-WebSocket-Key: k\r\n\r\n";
    assert_eq!(
        forwarded(text, ForwardedFor::Off),
        "GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: k\r\nConnection: upgrade\r\n\
         Upgrade: websocket\r\n\r\n"
    );
}

#[test]
fn a_response_is_framed_for_its_client() {
    let exact = "HTTP/1.0 200 Fine\r\nServer: s\r\nConnection: close\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(answered(exact, PLAN), "HTTP/1.1 200 Fine\r\nServer: s\r\nContent-Length: 5\r\n");
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n";
    let plan = ResponsePlan { frames: Frames::Chunked, ..PLAN };
    assert_eq!(
        answered(chunked, plan),
        "HTTP/1.1 200 OK\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n"
    );
    // To a client that gets no chunks it would announce what does not come.
    assert_eq!(answered(chunked, PLAN), "HTTP/1.1 200 OK\r\n");
}

#[test]
fn the_client_is_told_what_becomes_of_its_connection() {
    let text = "HTTP/1.1 204 No Content\r\n\r\n";
    let close = ResponsePlan { keeps_alive: false, ..PLAN };
    assert!(answered(text, close).ends_with("Connection: close\r\n"));
    let old = ResponsePlan { is_http_10: true, ..PLAN };
    assert!(answered(text, old).ends_with("Connection: keep-alive\r\n"));
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    assert_eq!(answered(interim, close), "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n");
    let upgrade =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    assert_eq!(
        answered(upgrade, close),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
    );
}

#[test]
fn the_persistence_cookie_is_kept_from_scripts_and_other_sites() {
    let key = ballast_balance::PersistenceKey::new(&[7; 32]).member_key("pool", "a");
    let value = ballast_balance::CookieCodec::encode(key);
    let mut output = Buffer::default();
    let cookie = CookieName { name: "BALLAST", ttl_s: 60 };
    write_set_cookie(&mut output, cookie, &value, true);
    let expected = format!(
        "Set-Cookie: BALLAST={}; Path=/; HttpOnly; SameSite=Lax; Max-Age=60; Secure\r\n",
        value.as_str()
    );
    assert_eq!(output.data(), expected.as_bytes());
}

#[test]
fn identifiers_pass_like_any_other_field_where_nothing_is_set() {
    let text =
        "GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: a b\r\ntraceparent: x\r\ntracestate: y\r\n\r\n";
    assert_eq!(forwarded(text, ForwardedFor::Off), text);
    let response = "HTTP/1.1 200 OK\r\nX-Request-ID: z\r\nContent-Length: 0\r\n";
    assert_eq!(answered(&format!("{response}\r\n"), PLAN), response);
    let replaced = ResponsePlan { tells_request_id: true, ..PLAN };
    let kept = answered(&format!("{response}\r\n"), replaced);
    assert_eq!(kept, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n");
}

#[test]
fn an_identifier_of_ours_replaces_what_came_and_the_clients_cannot_be_nominated_away() {
    let text =
        "GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: mine\r\nConnection: x-request-id\r\n\r\n";
    let mut own = Identity { request_id: RequestId::Own(1), trace: None };
    assert_eq!(
        identified(text, ForwardedFor::Off, &mut own),
        "GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: 00000000-0000-0000-0000-000000000001\r\n\r\n"
    );
    let mut clients = Identity { request_id: RequestId::Client, trace: None };
    assert_eq!(
        identified(text, ForwardedFor::Off, &mut clients),
        "GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: mine\r\n\r\n"
    );
}

/// RFC 3875 §4.1.18: to many applications `_` and `-` are the same.
#[test]
fn names_that_applications_take_for_ours_do_not_pass_beside_ours() {
    let spoofed = "X_Forwarded_For: 10.0.0.1\r\nx_forwarded-proto: gopher\r\n\
        X-Forwarded_Port: 1\r\nX_FORWARDED_HOST: b\r\n";
    let others = "X_Forwarded: y\r\nX_Other: z\r\nUser_Agent: u\r\n";
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{spoofed}{others}\r\n");
    for way in [ForwardedFor::Append, ForwardedFor::Replace] {
        let sent = forwarded(&text, way);
        for value in ["10.0.0.1", "gopher", ": 1\r\n", ": b\r\n"] {
            assert!(!sent.contains(value), "{way:?} {value}: {sent}");
        }
        assert!(sent.contains(others), "{sent}");
    }
    assert_eq!(forwarded(&text, ForwardedFor::Off), text);
}

#[test]
fn an_identifier_that_applications_take_for_ours_does_not_pass_beside_it() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nX_Request_ID: mine\r\n\r\n";
    for request_id in [RequestId::Own(1), RequestId::Client] {
        let mut identity = Identity { request_id, trace: None };
        assert!(!identified(text, ForwardedFor::Off, &mut identity).contains("mine"));
    }
    assert_eq!(forwarded(text, ForwardedFor::Off), text);
}

/// RFC 9112 §3.2.4.
#[test]
fn options_of_a_host_as_a_whole_stays_that() {
    let text = "OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(forwarded(text, ForwardedFor::Off), "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    let path = "OPTIONS http://a/ HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(forwarded(path, ForwardedFor::Off), "OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n");
    let other = "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(forwarded(other, ForwardedFor::Off), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn a_date_passes_whatever_the_connection_says_of_it() {
    let text = "HTTP/1.1 200 OK\r\nDate: now\r\nConnection: date\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(answered(text, PLAN), "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 0\r\n");
    let request = "GET / HTTP/1.1\r\nHost: a\r\nDate: then\r\n\r\n";
    assert_eq!(forwarded(request, ForwardedFor::Off), request);
}
