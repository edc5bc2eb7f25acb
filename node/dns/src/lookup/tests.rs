use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Mutex;

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::*;

/// What a name server of the tests has, by lower-case name and record type: what stands in each
/// record after its length.
pub(crate) type Zone = BTreeMap<(String, u16), Vec<Vec<u8>>>;

pub(crate) const A: u16 = 1;
pub(crate) const AAAA: u16 = 28;
pub(crate) const SRV: u16 = 33;

/// A name server on a port of its own.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    pub(crate) zone: Arc<Mutex<Zone>>,
    /// The response code; none: no answer at all.
    pub(crate) code: Arc<Mutex<Option<u8>>>,
    /// The response code to questions for records of that type; none: no answer to them.
    pub(crate) code_of: Arc<Mutex<BTreeMap<u16, Option<u8>>>>,
    pub(crate) ttl_s: Arc<Mutex<u32>>,
    task: JoinHandle<()>,
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl NameServer {
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let zone = Arc::new(Mutex::new(Zone::new()));
        let code = Arc::new(Mutex::new(Some(0)));
        let ttl_s = Arc::new(Mutex::new(60));
        let by_type = Arc::new(Mutex::new(BTreeMap::new()));
        let (zone_of, code_of, ttl_of) = (Arc::clone(&zone), Arc::clone(&code), Arc::clone(&ttl_s));
        let types = Arc::clone(&by_type);
        let task = tokio::spawn(async move {
            let mut query = [0; 1_500];
            loop {
                let (count, from) = socket.recv_from(&mut query).await.unwrap();
                let of_type = types.lock().unwrap().get(&record_type(&query[..count])).copied();
                let Some(code) = of_type.unwrap_or(*code_of.lock().unwrap()) else { continue };
                let ttl_s = *ttl_of.lock().unwrap();
                let response = respond(&query[..count], &zone_of.lock().unwrap(), code, ttl_s);
                socket.send_to(&response, from).await.unwrap();
            }
        });
        Self { address, zone, code, code_of: by_type, ttl_s, task }
    }

    pub(crate) fn set(&self, name: &str, record: u16, data: Vec<Vec<u8>>) {
        self.zone.lock().unwrap().insert((name.to_owned(), record), data);
    }

    pub(crate) fn set_ipv4(&self, name: &str, lasts: impl IntoIterator<Item = u8>) {
        let data = lasts.into_iter().map(|last| vec![10, 0, 0, last]);
        self.set(name, A, data.collect());
    }

    pub(crate) fn member(&self, host: &str) -> DnsMember {
        DnsMember { resolvers: vec![self.address], ttl_min_s: 1, ..DnsMember::new(host, 80) }
    }
}

/// What a query asks for.
fn record_type(query: &[u8]) -> u16 {
    let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap();
    u16::from_be_bytes([query[end + 1], query[end + 2]])
}

/// The response to one query (RFC 1035 §4.1), without compression.
fn respond(query: &[u8], zone: &Zone, code: u8, ttl_s: u32) -> Vec<u8> {
    let mut at = 12;
    let mut labels = Vec::new();
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
        at = end;
    }
    let record = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let question = &query[12..at + 5];
    let name = labels.join(".");
    let is_known = zone.keys().any(|(known, _)| *known == name);
    let none = Vec::new();
    let data = zone.get(&(name, record)).filter(|_| code == 0).unwrap_or(&none);
    let code = if code == 0 && !is_known { 3 } else { code };
    let mut response = query[..2].to_vec();
    response.extend([0x81, 0x80 | code, 0, 1]);
    response.extend((data.len() as u16).to_be_bytes());
    response.extend([0; 4]);
    response.extend(question);
    for data in data {
        response.extend(&question[..question.len() - 4]);
        response.extend(record.to_be_bytes());
        response.extend(1_u16.to_be_bytes());
        response.extend(ttl_s.to_be_bytes());
        response.extend((data.len() as u16).to_be_bytes());
        response.extend(data);
    }
    response
}

/// What stands in an SRV record.
fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Vec<u8> {
    let mut data: Vec<u8> =
        [priority, weight, port].into_iter().flat_map(u16::to_be_bytes).collect();
    for label in target.split('.').filter(|label| !label.is_empty()) {
        data.push(label.len() as u8);
        data.extend(label.bytes());
    }
    data.push(0);
    data
}

fn ipv4(last: u8, port: u16) -> SocketAddr {
    (Ipv4Addr::new(10, 0, 0, last), port).into()
}

async fn asked(spec: DnsMember) -> Result<Answer, String> {
    by_name_server()(spec).await
}

#[tokio::test]
async fn addresses_of_both_families_come_with_their_time_to_live() {
    let server = NameServer::start().await;
    server.set_ipv4("app.test", [1, 2]);
    let mut ipv6 = vec![0; 16];
    ipv6[0] = 0x20;
    ipv6[15] = 1;
    server.set("app.test", AAAA, vec![ipv6]);
    *server.ttl_s.lock().unwrap() = 77;
    let answer = asked(server.member("app.test")).await.unwrap();
    let ipv6: SocketAddr = "[2000::1]:80".parse().unwrap();
    assert_eq!(answer.found.keys().copied().collect::<Vec<_>>(), [ipv4(1, 80), ipv4(2, 80), ipv6]);
    assert_eq!(answer.ttl_s, 77);
    let only = |family| asked(DnsMember { family, ..server.member("app.test") });
    assert_eq!(only(AddressFamily::Ipv4).await.unwrap().found.len(), 2);
    assert_eq!(only(AddressFamily::Ipv6).await.unwrap().found.len(), 1);
}

#[tokio::test]
async fn one_family_is_enough_but_a_question_that_failed_is_not() {
    let server = NameServer::start().await;
    server.set_ipv4("app.test", [1]);
    assert_eq!(asked(server.member("app.test")).await.unwrap().found.len(), 1);
    let told = asked(server.member("other.test")).await.unwrap_err();
    assert_eq!(told, "there is no such name (NXDOMAIN)");
    server.set("none.test", SRV, Vec::new());
    assert_eq!(asked(server.member("none.test")).await.unwrap_err(), "it has no such records");
    *server.code.lock().unwrap() = Some(2);
    let told = asked(server.member("app.test")).await.unwrap_err();
    assert!(told.starts_with("it can't be resolved: "), "{told}");
}

/// As dnsmasq does for names that it knows IPv4 addresses of and nothing else: it refuses to say more.
#[tokio::test]
async fn family_that_is_refused_does_not_hide_the_other() {
    const REFUSED: u8 = 5;
    let server = NameServer::start().await;
    server.set_ipv4("app.test", [1]);
    server.code_of.lock().unwrap().insert(AAAA, Some(REFUSED));
    let answer = asked(server.member("app.test")).await.unwrap();
    assert_eq!(answer.found.into_keys().collect::<Vec<_>>(), [ipv4(1, 80)]);
    assert_eq!(answer.unanswered.ipv4, None);
    let why = answer.unanswered.ipv6.unwrap();
    assert!(why.starts_with("its AAAA records: it can't be resolved: "), "{why}");
    let only = DnsMember { family: AddressFamily::Ipv6, ..server.member("app.test") };
    assert!(asked(only).await.is_err());
    server.code_of.lock().unwrap().insert(A, Some(REFUSED));
    assert!(asked(server.member("app.test")).await.is_err());
}

#[tokio::test]
async fn family_without_an_answer_does_not_hide_the_other() {
    let server = NameServer::start().await;
    server.set_ipv4("app.test", [1]);
    server.code_of.lock().unwrap().insert(AAAA, None);
    let answer = asked(server.member("app.test")).await.unwrap();
    assert_eq!(answer.found.into_keys().collect::<Vec<_>>(), [ipv4(1, 80)]);
    assert!(answer.unanswered.ipv6.is_some());
}

#[tokio::test]
async fn addresses_of_no_host_are_left_out() {
    let server = NameServer::start().await;
    server.set("app.test", A, vec![vec![0; 4], vec![224, 0, 0, 1], vec![10, 0, 0, 1]]);
    let answer = asked(server.member("app.test")).await.unwrap();
    assert_eq!(answer.found.into_keys().collect::<Vec<_>>(), [ipv4(1, 80)]);
}

#[tokio::test]
async fn services_bring_ports_weights_and_priorities() {
    let server = NameServer::start().await;
    server.set_ipv4("one.test", [1]);
    server.set_ipv4("two.test", [2, 3]);
    server.set(
        "_http._tcp.test",
        SRV,
        vec![
            srv(20, 0, 8_003, "one.test"),
            srv(10, 60_000, 8_001, "one.test"),
            srv(10, 6, 8_002, "two.test"),
        ],
    );
    let spec = DnsMember {
        record: DnsRecord::Srv,
        port: None,
        priority: 5,
        weight: 9,
        ..server.member("_http._tcp.test")
    };
    let answer = asked(spec.clone()).await.unwrap();
    let expected = [
        (ipv4(1, 8_001), Shape { weight: 256, priority: 6 }),
        (ipv4(1, 8_003), Shape { weight: 9, priority: 5 }),
        (ipv4(2, 8_002), Shape { weight: 1, priority: 6 }),
        (ipv4(3, 8_002), Shape { weight: 1, priority: 6 }),
    ];
    assert_eq!(answer.found, expected.into());
    server.set("_http._tcp.test", SRV, vec![srv(0, 0, 0, "")]);
    assert!(asked(spec).await.unwrap_err().contains("not to be had"));
}

#[test]
fn levels_and_weights_stay_within_what_members_may_have() {
    assert_eq!(scaled(0, 0, 7), 7);
    assert_eq!(scaled(256, 256, 1), 256);
    assert_eq!(scaled(257, 257, 1), 256);
    assert_eq!(scaled(1, u16::MAX, 1), 1);
}
