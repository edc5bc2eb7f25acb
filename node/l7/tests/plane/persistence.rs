//! Clients that the pool remembers: by source, header field and the application's cookie.

use std::net::SocketAddr;

use ballast_balance::PersistenceTable;
use ballast_model::explain::ExplainRequest;
use ballast_model::{AdminState, Algorithm, PersistenceTableSettings};
use serde_json::{Value, json};

use crate::harness::*;

/// Origins that answer with their number; a request for `/login` gets a session cookie too.
async fn origins() -> Vec<Origin> {
    let mut origins = Vec::new();
    for number in 0..3 {
        let origin = Origin::answering(move |request| {
            if !request.head.starts_with("GET /login/") {
                return ok(&number.to_string());
            }
            let user = request.head.split(['/', ' ']).nth(3).unwrap();
            format!(
                "HTTP/1.1 200 OK\r\nSet-Cookie: theme=dark\r\nSet-Cookie: SID={user}{number}; Path=/\r\n\
                 Content-Length: 1\r\n\r\n{number}"
            )
        });
        origins.push(origin.await);
    }
    origins
}

async fn site(origins: &[Origin], persistence: Value) -> Site {
    let members: Vec<SocketAddr> = origins.iter().map(|origin| origin.address).collect();
    Site::start_with(&members, |server, pool| {
        server.persistence = serde_json::from_value(persistence).unwrap();
        pool.algorithm = Algorithm::RoundRobin;
    })
    .await
}

fn with(field: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n")
}

/// What the pool of that site remembers.
fn with_table<T>(site: &Site, look: impl FnOnce(&PersistenceTable) -> T) -> T {
    let pools = site.plane.pools();
    let pools = pools.borrow();
    look(pools["origin"].persistence_table())
}

#[tokio::test]
async fn a_header_leads_back_to_the_member() {
    let origins = origins().await;
    let site = site(&origins, json!({"type": "header", "name": "X-User"})).await;
    let mut client = site.connect().await;
    let mut first = Vec::new();
    for user in 0..30 {
        first.push(client.ask(&with(&format!("X-User: u{user}"))).await.text());
    }
    assert!(["0", "1", "2"].iter().all(|number| first.iter().any(|text| text == number)));
    let mut other_connection = site.connect().await;
    for user in (0..30).rev() {
        let again = other_connection.ask(&with(&format!("x-user:  u{user} "))).await;
        assert_eq!(again.text(), first[user]);
        assert_eq!(again.field("set-cookie"), None);
    }
    assert_eq!(with_table(&site, |table| table.counts().entry_count), 30);
    // Who brings nothing belongs nowhere.
    let mut nobody = Vec::new();
    for _ in 0..3 {
        nobody.push(client.ask(&with("X-User:")).await.text());
    }
    nobody.sort();
    assert_eq!(nobody, ["0", "1", "2"]);
}

#[tokio::test]
async fn a_source_leads_back_to_the_member_also_by_http2() {
    let origins = origins().await;
    let site = site(&origins, json!({"type": "source"})).await;
    let first = site.connect().await.get("/").await.text();
    for _ in 0..6 {
        assert_eq!(site.connect().await.get("/").await.text(), first);
    }
    let (mut h2, connection) = h2::client::handshake(site.connect().await.stream).await.unwrap();
    let _connection = tokio::spawn(connection);
    for _ in 0..3 {
        let request = http::Request::get("http://a/").body(()).unwrap();
        let (response, _) = h2.send_request(request, true).unwrap();
        let mut body = response.await.unwrap().into_body();
        assert_eq!(&*body.data().await.unwrap().unwrap(), first.as_bytes());
    }
    assert_eq!(with_table(&site, |table| table.counts().entry_count), 1);
}

#[tokio::test]
async fn the_applications_cookie_leads_back_to_the_member_that_gave_it() {
    let origins = origins().await;
    let site = site(&origins, json!({"type": "application_cookie", "name": "SID"})).await;
    let mut client = site.connect().await;
    let mut sessions = Vec::new();
    for user in 0..12 {
        let answer = client.get(&format!("/login/u{user}")).await;
        sessions.push((format!("u{user}{}", answer.text()), answer.text()));
    }
    for (cookie, member) in sessions.iter().rev() {
        for _ in 0..2 {
            let answer = client.ask(&with(&format!("Cookie: theme=x; SID={cookie}"))).await;
            assert_eq!(answer.text(), *member);
        }
    }
    assert_eq!(with_table(&site, |table| table.counts().entry_count), 12);
    // One that is not known (all tables were lost, say) stays where it is served first.
    let stranger = client.ask(&with("Cookie: SID=stranger")).await.text();
    for _ in 0..3 {
        assert_eq!(client.ask(&with("Cookie: SID=stranger")).await.text(), stranger);
    }
}

#[tokio::test]
async fn a_client_follows_its_member_as_with_a_cookie_of_ours() {
    let origins = origins().await;
    let mut site = site(&origins, json!({"type": "header", "name": "X-User"})).await;
    let mut client = site.connect().await;
    let first = client.ask(&with("X-User: a")).await.text();
    let index: usize = first.parse().unwrap();
    // Disabled: only those that belong to it.
    site.pool.members[index].admin_state = AdminState::Disabled;
    site.apply().await;
    for _ in 0..3 {
        assert_eq!(client.ask(&with("X-User: a")).await.text(), first);
        assert_ne!(client.ask(&with("X-Other: b")).await.text(), first);
    }
    // Offline: another one, and that one from then on.
    site.pool.members[index].admin_state = AdminState::ForcedOffline;
    site.apply().await;
    let second = client.ask(&with("X-User: a")).await.text();
    assert_ne!(second, first);
    site.pool.members[index].admin_state = AdminState::Enabled;
    site.apply().await;
    for _ in 0..3 {
        assert_eq!(client.ask(&with("X-User: a")).await.text(), second);
    }
    // Gone altogether.
    let gone: usize = second.parse().unwrap();
    site.pool.members.remove(gone);
    site.apply().await;
    let third = client.ask(&with("X-User: a")).await.text();
    assert_ne!(third, second);
    assert_eq!(client.ask(&with("X-User: a")).await.text(), third);
}

#[tokio::test]
async fn a_member_that_can_not_be_reached_loses_its_clients_to_the_one_that_serves_them() {
    let mut origins = origins().await;
    let site = site(&origins, json!({"type": "header", "name": "X-User"})).await;
    let mut client = site.connect().await;
    let first: usize = client.ask(&with("X-User: a")).await.text().parse().unwrap();
    let dead = origins.remove(first);
    drop(dead);
    let mut fresh = site.connect().await;
    let second = fresh.ask(&with("X-User: a")).await;
    assert_eq!(second.status(), 200);
    for _ in 0..4 {
        assert_eq!(fresh.ask(&with("X-User: a")).await.text(), second.text());
    }
}

#[tokio::test]
async fn a_full_table_counts_who_it_forgets_and_a_rule_may_choose_the_way() {
    let origins = origins().await;
    let mut site = site(&origins, json!({"type": "none"})).await;
    site.pool.persistence_table =
        Some(PersistenceTableSettings { entry_max_count: 10, ..Default::default() });
    let rules = r#"[{"name": "r", "when": {"path": {"prefix": "/"}},
        "persistence": {"type": "header", "name": "X-User", "idle_timeout_s": 60}}]"#;
    crate::policy::declare(&mut site, rules);
    site.server.policies = vec!["rules".to_owned()];
    site.apply().await;
    let mut client = site.connect().await;
    for user in 0..10 {
        client.ask(&with(&format!("X-User: u{user}"))).await;
    }
    let counts = with_table(&site, |table| table.counts());
    assert_eq!((counts.entry_count, counts.evicted_count), (10, 0));
    let last = client.ask(&with("X-User: u10")).await.text();
    let counts = with_table(&site, |table| table.counts());
    assert_eq!((counts.entry_count, counts.evicted_count), (10, 1));
    // Asking tells, and leaves no trace.
    let mut request: ExplainRequest = serde_json::from_value(
        json!({"virtual_server": "site", "host": "a", "source": "192.0.2.9"}),
    )
    .unwrap();
    request.headers.insert("X-User".to_owned(), "u10".to_owned());
    let report = soon(site.plane.explain(request)).await.unwrap();
    assert_eq!(report.why, "the pool's table, by the header X-User, names it");
    let address = origins[last.parse::<usize>().unwrap()].address.to_string();
    assert_eq!(report.member, Some(address));
    // The operator has them all forgotten; who comes then is remembered.
    let table = site.pool.persistence_table.as_mut().unwrap();
    table.forgotten_until_ms = Some(4_000_000_000_000);
    site.apply().await;
    assert_eq!(with_table(&site, |table| table.counts().entry_count), 0);
    client.ask(&with("X-User: u1")).await;
    assert_eq!(with_table(&site, |table| table.counts().entry_count), 1);
}
