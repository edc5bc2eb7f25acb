//! What rules do.

use ballast_model::Protocol;

use super::*;

#[tokio::test]
async fn a_redirect_sends_the_client_elsewhere_on_a_connection_that_is_kept() {
    let (site, _origins) = site(
        r#"[{"name": "hsts", "response_headers": {"set": {"Strict-Transport-Security": "max-age=63072000"}}},
            {"name": "to-https", "when": {"host": ["shop.example.com"]},
             "action": {"redirect": {"status": 308, "scheme": "https"}}},
            {"name": "moved", "when": {"path": {"prefix": "/old"}},
             "action": {"redirect": {"host": "new.example.com", "path": {"prefix": {"from": "/old", "to": "/new"}},
                                     "query": "drop"}}}]"#,
    )
    .await;
    for mut client in Speaker::each(&site).await {
        let answer = client.ask(&get("/a/b?c=d", "")).await;
        assert_eq!(answer.status(), 308);
        assert_eq!(answer.field("location"), Some("https://shop.example.com/a/b?c=d"));
        assert_eq!(answer.field("strict-transport-security"), Some("max-age=63072000"));
        assert_eq!(answer.field("content-length"), Some("0"));
        assert!(answer.field("connection").is_none());
        let answer = client.get("/old/x?y").await;
        assert_eq!(
            (answer.status(), answer.field("location")),
            (302, Some("http://new.example.com/new/x"))
        );
        let answer = client.get("/other").await;
        assert!(answer.text().starts_with("origin "));
        assert!(
            answer.field("strict-transport-security").is_some(),
            "a member's answer has it too"
        );
    }
    site.served(6).await;
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn a_fixed_response_is_whole_and_head_gets_no_body() {
    let (site, origins) = site(
        r#"[{"name": "r", "when": {"path": {"exact": "/robots.txt"}},
             "response_headers": {"set": {"Cache-Control": "max-age=60"}},
             "action": {"respond": {"status": 200, "body": "Disallow: /"}}},
            {"name": "gone", "action": {"respond": {"status": 204}}}]"#,
    )
    .await;
    let mut client = site.connect().await;
    let answer = client.get("/robots.txt").await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "Disallow: /"));
    assert_eq!(answer.field("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.field("cache-control"), Some("max-age=60"));
    client.send("HEAD /robots.txt HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let head = client.head().await.unwrap();
    assert!(head.contains("Content-Length: 11\r\n"), "{head}");
    let answer = client.get("/x").await;
    assert_eq!((answer.status(), answer.field("content-length")), (204, None));
    // A body that is there is read past; one that is not ends the connection.
    let post = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    assert_eq!(client.ask(post).await.status(), 204);
    assert_eq!(client.get("/x").await.status(), 204);
    client.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\nbo").await;
    let answer = client.message().await.unwrap();
    assert_eq!(answer.field("connection"), Some("close"));
    assert!(client.rest().await.is_empty());
    assert_eq!(origins[0].connections(), 0);
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn headers_are_removed_set_and_added_in_the_order_of_the_rules() {
    let (site, _origins) = site(
        r#"[{"name": "a", "request_headers": {"set": {"X-Colour": "red", "X-Client": "${client_address}"},
                          "remove": ["X-Secret", "X-Forwarded-Port"], "add": {"X-Tag": "one"}}},
            {"name": "b", "request_headers": {"set": {"x-colour": "blue"}, "add": {"X-Tag": "two"}},
             "response_headers": {"remove": ["Server"], "add": {"X-Served": "${method} ${path}"}}}]"#,
    )
    .await;
    for mut client in Speaker::each(&site).await {
        let fields = "X-Secret: 1\r\nx-colour: old\r\nX-Tag: zero\r\n";
        let answer = client.ask(&get("/a?b", fields)).await;
        let seen = answer.text().to_lowercase();
        for line in [
            "x-colour: blue\r\n",
            "x-client: 127.0.0.1\r\n",
            "x-tag: zero\r\n",
            "x-tag: one\r\n",
            "x-tag: two\r\n",
        ] {
            assert!(seen.contains(line), "{line} {seen}");
        }
        for gone in ["x-secret", "red", "old", "x-forwarded-port"] {
            assert!(!seen.contains(gone), "{gone} {seen}");
        }
        assert_eq!(answer.field("x-served"), Some("GET /a"));
    }
}

#[tokio::test]
async fn what_the_member_is_asked_for_is_rewritten() {
    let (site, _origins) = site(
        r#"[{"name": "r", "when": {"path": {"prefix": "/v1"}},
             "rewrite": {"host": "inner.local", "path": {"regex": {"pattern": "^/v([0-9]+)/(.*)$", "to": "/$2/of/$1"}},
                         "query": {"set": "from=${host}"}}},
            {"name": "s", "when": {"path": {"prefix": "/api"}},
             "rewrite": {"path": {"prefix": {"from": "/api", "to": "/"}}}}]"#,
    )
    .await;
    for mut client in Speaker::each(&site).await {
        let seen = client.ask(&get("/v1/cats?x=1", "")).await.text();
        let line = "origin GET /cats/of/1?from=shop.example.com HTTP/1.1\r\n";
        assert!(seen.starts_with(line), "{seen}");
        assert!(seen.contains("Host: inner.local\r\n"), "{seen}");
        assert!(!seen.to_lowercase().contains("\r\nhost: shop"), "{seen}");
        assert!(seen.contains("X-Forwarded-Host: Shop.Example.com:8080\r\n"), "{seen}");
        let seen = client.ask(&get("/api/x?y=z", "")).await.text();
        assert!(seen.starts_with("origin GET /x?y=z HTTP/1.1\r\n"), "{seen}");
        assert!(seen.to_lowercase().contains("\r\nhost: shop.example.com:8080\r\n"), "{seen}");
        let seen = client.get("/plain//x").await.text();
        assert!(seen.starts_with("origin GET /plain//x HTTP/1.1\r\n"), "untouched: {seen}");
    }
}

#[tokio::test]
async fn a_split_is_stable_where_asked_and_fair() {
    let (site, _origins) = site(
        r#"[{"name": "r", "action": {"split": {"stable_by": {"cookie": "uid"},
             "pools": [{"pool": "origin", "percent": 70}, {"pool": "blue", "percent": 30}]}}}]"#,
    )
    .await;
    let mut clients = Speaker::each(&site).await;
    let mut blue_count = 0;
    for uid in 0..200 {
        let request = get("/", &format!("Cookie: uid=u{uid}\r\n"));
        let first = clients[0].ask(&request).await.text().starts_with("blue ");
        assert_eq!(clients[1].ask(&request).await.text().starts_with("blue "), first, "u{uid}");
        blue_count += u32::from(first);
    }
    assert!((30..=90).contains(&blue_count), "{blue_count} of 200, wanted about 60");
}

#[tokio::test]
async fn persistence_of_a_rule_replaces_that_of_the_virtual_server() {
    let (mut site, _origins) = site(
        r#"[{"name": "sticky", "when": {"path": {"prefix": "/s"}},
             "persistence": {"type": "cookie", "name": "STICKY", "ttl_s": 60}, "action": {"pool": "blue"}},
            {"name": "loose", "when": {"path": {"prefix": "/l"}}, "persistence": {"type": "none"}}]"#,
    )
    .await;
    site.server.persistence = serde_json::from_str(r#"{"type": "cookie"}"#).unwrap();
    site.apply().await;
    for mut client in Speaker::each(&site).await {
        let answer = client.get("/s").await;
        let cookie = answer.field("set-cookie").unwrap().to_owned();
        assert!(cookie.starts_with("STICKY=") && cookie.contains("Max-Age=60"), "{cookie}");
        let value = cookie.split(';').next().unwrap();
        let again = client.ask(&get("/s", &format!("Cookie: {value}\r\n"))).await;
        assert!(again.field("set-cookie").is_none(), "the member was found by it");
        assert!(client.get("/l").await.field("set-cookie").is_none());
        assert!(client.get("/").await.field("set-cookie").unwrap().starts_with("BALLAST="));
    }
}

#[tokio::test]
async fn a_timeout_of_a_rule_replaces_that_of_the_virtual_server() {
    let silent = Origin::start(|_, mut io| async move {
        io.head().await;
        io.rest().await;
    })
    .await;
    let mut site = Site::start(&[silent.address]).await;
    declare(&mut site, r#"[{"name": "r", "timeouts": {"response_timeout_ms": 100}}]"#);
    site.server.policies = vec!["rules".to_owned()];
    site.server.protocol = Protocol::Http;
    site.apply().await;
    assert_eq!(site.connect().await.get("/").await.status(), 504);
    site.failed(FailureReason::ResponseTimeout, 1).await;
}

#[tokio::test]
async fn regions_are_denied() {
    let (site, origins) = site(
        r#"[{"name": "far", "deny_regions": ["moon"]},
            {"name": "near", "when": {"path": {"prefix": "/admin"}}, "deny_regions": ["here"]}]"#,
    )
    .await;
    let mut client = site.connect().await;
    let answer = client.get("/admin").await;
    assert_eq!((answer.status(), answer.text().as_str()), (403, "403 Forbidden: policy_denied\n"));
    site.failed(FailureReason::PolicyDenied, 1).await;
    assert_eq!(origins[0].connections(), 0);
    assert_eq!(client.get("/").await.status(), 200, "the connection lives on");
}

/// What a mirror pool's origin got, whole requests with their bodies.
async fn recorder() -> (Origin, tokio::sync::mpsc::Receiver<Message>) {
    let (sender, seen) = tokio::sync::mpsc::channel(16);
    let origin = Origin::start(move |_, mut io| {
        let sender = sender.clone();
        async move {
            if let Some(message) = io.message().await {
                let _gone = sender.send(message).await;
                let _gone = io.try_send(ok("thrown away")).await;
            }
        }
    })
    .await;
    (origin, seen)
}

#[tokio::test]
async fn a_mirror_gets_copies_with_their_bodies_and_its_answers_go_nowhere() {
    let (shadow, mut seen) = recorder().await;
    let (mut site, _origins) = site("[]").await;
    declare_pool(&mut site, "shadow", &shadow);
    declare(
        &mut site,
        r#"[{"name": "m", "request_headers": {"set": {"X-Copy": "yes"}},
        "mirror": {"pool": "shadow"}}]"#,
    );
    site.wait_applied().await;
    let mut client = site.connect().await;
    assert!(client.get("/one").await.text().starts_with("origin "));
    let copy = soon(seen.recv()).await.unwrap();
    assert!(
        copy.head.starts_with("GET /one HTTP/1.1\r\n") && copy.head.contains("X-Copy: yes\r\n")
    );

    // A body that comes in parts, by length and in chunks.
    client.send("POST /two HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf").await;
    tokio::task::yield_now().await;
    client.send("half").await;
    assert!(client.message().await.unwrap().text().ends_with("halfhalf"));
    assert_eq!(soon(seen.recv()).await.unwrap().body, b"halfhalf");
    client
        .send("POST /three HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        .await;
    client.send("3\r\nend\r\n0\r\n\r\n").await;
    assert!(client.message().await.unwrap().text().ends_with("halfend"));
    assert_eq!(soon(seen.recv()).await.unwrap().body, b"halfend");
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn a_mirror_that_is_dead_or_silent_costs_nothing_and_large_bodies_are_not_copied() {
    let (shadow, mut seen) = recorder().await;
    let (mut site, _origins) = site("[]").await;
    let dead = PoolSpec { members: vec![MemberSpec::new(vacant())], ..PoolSpec::default() };
    site.edit(&[Edit::put(AnyDraft::Pool(Draft::new("dead", dead)), "uid-dead")]);
    declare(&mut site, r#"[{"name": "m", "mirror": {"pool": "dead"}}]"#);
    site.wait_applied().await;
    let mut client = site.connect().await;
    for _ in 0..100 {
        assert_eq!(client.get("/").await.status(), 200);
    }
    declare_pool(&mut site, "shadow", &shadow);
    declare(&mut site, r#"[{"name": "m", "mirror": {"pool": "shadow"}}]"#);
    site.wait_applied().await;
    for (length, is_copied) in [(64 * 1024, true), (64 * 1024 + 1, false)] {
        let body = "x".repeat(length);
        let request =
            format!("POST /{length} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}");
        assert_eq!(client.ask(&request).await.status(), 200);
        assert_eq!(client.get("/mark").await.status(), 200);
        let copy = soon(seen.recv()).await.unwrap();
        // Connections of their own: either may come first.
        let heads =
            if is_copied { vec![copy, soon(seen.recv()).await.unwrap()] } else { vec![copy] };
        assert_eq!(heads.iter().any(|copy| copy.body.len() == length), is_copied);
    }
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn a_path_that_members_may_take_for_another_does_not_pass_a_rule_by() {
    let rules = r#"[{"name": "guard", "when": {"path": {"prefix": "/admin"}},
        "action": {"respond": {"status": 403}}}]"#;
    let (mut site, _origins) = site(rules).await;
    for path in ["/admin/x", "/%61dmin", "/x/../admin", "/x/..;a/admin", "/admin;x=1/y"] {
        assert_eq!(site.connect().await.get(path).await.status(), 403, "{path}");
    }
    for path in ["/admin%2Fx", "/x/..%2fadmin", "/x/..%5Cadmin", "/admin%00"] {
        assert_eq!(site.connect().await.get(path).await.status(), 400, "{path}");
    }
    site.failed(FailureReason::AmbiguousPath, 4).await;
    site.server.http.allow_ambiguous_paths = true;
    site.apply().await;
    assert_eq!(site.connect().await.get("/a%2Fb").await.status(), 200);
}

/// To many applications `_` and `-` are the same (RFC 3875 §4.1.18).
#[tokio::test]
async fn a_field_that_a_policy_sets_or_removes_comes_under_no_name_like_it() {
    let (site, _origins) = site(
        r#"[{"name": "a", "request_headers": {"set": {"X-User": "nobody"}, "remove": ["X_Admin-Key"]},
             "response_headers": {"remove": ["X-Kept"]}}]"#,
    )
    .await;
    let text = site
        .connect()
        .await
        .ask("GET / HTTP/1.1\r\nHost: a\r\nX_User: admin\r\nx_USER: root\r\nX-Admin_Key: 1\r\nX_Usher: b\r\n\r\n")
        .await
        .text();
    assert!(text.contains("X-User: nobody\r\n") && text.contains("X_Usher: b\r\n"), "{text}");
    assert!(!text.contains("admin") && !text.contains("root") && !text.contains("Key"), "{text}");
}

#[tokio::test]
async fn a_date_that_a_policy_removes_or_sets_is_not_written_by_us() {
    let (site, _origins) = site(
        r#"[{"name": "none", "when": {"path": {"exact": "/none"}}, "response_headers": {"remove": ["Date"]}},
            {"name": "own", "when": {"path": {"exact": "/own"}}, "response_headers": {"set": {"Date": "then"}}}]"#,
    )
    .await;
    let mut client = site.connect().await;
    assert!(client.get("/").await.field("date").is_some_and(|date| date.ends_with(" GMT")));
    assert_eq!(client.get("/none").await.field("date"), None);
    let own = client.get("/own").await;
    assert_eq!((own.field("date"), own.head.matches("Date").count()), (Some("then"), 1));
}
