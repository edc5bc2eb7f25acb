//! Reading and writing resources.

use axum::http::Method;
use serde_json::{Value, json};

use super::harness::{As, Node, certificate, pool};

#[tokio::test]
async fn resource_lives_from_put_to_delete() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let path = "/api/v1/pools/web";
    let created = node.put(&admin, path, pool(&["10.0.0.1:80"])).await;
    created.expect(201);
    assert_eq!(created.header("location"), path);
    let etag = created.header("etag").to_owned();
    assert_eq!(etag, format!("\"{}\"", created.json()["revision"]));

    let read = node.get(&admin, path).await;
    assert_eq!((read.expect(200).json(), read.header("etag")), (created.json(), etag.as_str()));
    let unchanged = node.send(&admin, Method::GET, path, &[("if-none-match", &etag)], None).await;
    unchanged.expect(304);

    // What was read is accepted back, and is no change: nothing enters the log.
    let index = node.snapshot().index;
    let again = node.put(&admin, path, read.json()).await;
    assert_eq!(again.expect(200).header("etag"), etag);
    assert_eq!(node.snapshot().index, index);

    let patch = json!({ "spec": { "algorithm": "p2c" }, "labels": { "team": "shop" } });
    let patched = node.send(&admin, Method::PATCH, path, &[], Some(patch)).await;
    assert_eq!(patched.expect(200).json()["spec"]["algorithm"], "p2c");
    assert_ne!(patched.header("etag"), etag);
    let unlabel = json!({ "labels": { "team": null } });
    let merge = [("content-type", "application/merge-patch+json")];
    let patched = node.send(&admin, Method::PATCH, path, &merge, Some(unlabel)).await;
    assert_eq!(patched.expect(200).json().get("labels"), None);

    node.delete(&admin, path).await.expect(204);
    node.get(&admin, path).await.expect_problem(404, "not_found");
    node.delete(&admin, path).await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn preconditions_hold_or_fail_with_412() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let path = "/api/v1/pools/web";
    let send = async |method: Method, name: &str, value: &str| {
        let body = (method == Method::PUT).then(|| pool(&["10.0.0.2:80"]));
        node.send(&admin, method, path, &[(name, value)], body).await
    };
    send(Method::PUT, "if-match", "\"7\"").await.expect_problem(412, "revision_mismatch");
    send(Method::PUT, "if-match", "*").await.expect_problem(404, "not_found");
    let etag = send(Method::PUT, "if-none-match", "*").await.expect(201).header("etag").to_owned();
    send(Method::PUT, "if-none-match", "*").await.expect_problem(412, "already_exists");
    node.put(&admin, path, pool(&[])).await.expect(200);
    send(Method::PUT, "if-match", &etag).await.expect_problem(412, "revision_mismatch");
    send(Method::DELETE, "if-match", &etag).await.expect_problem(412, "revision_mismatch");
    send(Method::PUT, "if-match", "W/\"1\"").await.expect_problem(400, "invalid_parameter");
    let patch = Some(json!({ "description": "x" }));
    let stale = node.send(&admin, Method::PATCH, path, &[("if-match", &etag)], patch).await;
    stale.expect_problem(412, "revision_mismatch");
    let body = json!({ "name": "web", "spec": {} });
    node.post(&admin, "/api/v1/pools", body).await.expect_problem(409, "already_exists");
}

#[tokio::test]
async fn invalid_input_is_answered_in_full_and_stays_out_of_the_log() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let index = node.snapshot().index;
    let body = json!({ "spec": {
        "protocol": "http", "addresses": ["224.0.0.1"], "ports": [0, 0], "pool": "nowhere",
    } });
    let reply = node.put(&admin, "/api/v1/virtual-servers/s%20s", body).await;
    let problem = reply.expect_problem(422, "invalid");
    let faults: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["pointer"].as_str().unwrap(), e["code"].as_str().unwrap()))
        .collect();
    for fault in [
        ("/name", "invalid_name"),
        ("/spec/addresses/0", "invalid_address"),
        ("/spec/ports/0", "out_of_range"),
        ("/spec/ports/1", "duplicate"),
        ("/spec/pool", "unknown_reference"),
    ] {
        assert!(faults.contains(&fault), "{fault:?} is not in {faults:?}");
    }
    for (body, pointer, code) in [
        (
            json!({ "spec": { "members": [{ "address": "x", "port": 1 }] } }),
            "/spec/members/0/address",
            "invalid_type",
        ),
        (json!({ "spec": { "members": [{ "address": "::1" }] } }), "/spec/members/0", "required"),
        (json!({ "spec": { "colour": 1 } }), "/spec/colour", "unknown_field"),
        (json!({ "spec": { "algorithm": "best" } }), "/spec/algorithm", "unknown_value"),
        (json!({ "name": "other", "spec": {} }), "/name", "name_mismatch"),
    ] {
        let problem =
            node.put(&admin, "/api/v1/pools/p", body).await.expect_problem(422, "invalid");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
        assert_eq!(problem["errors"][0]["code"], code, "{problem}");
    }
    assert_eq!(node.snapshot().index, index);
}

#[tokio::test]
async fn bodies_that_are_no_json_say_where() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let json_type = [("content-type", "application/json; charset=utf-8")];
    let send = async |headers: &[(&str, &str)], body: &str| {
        node.send_text(&admin, Method::PUT, "/api/v1/pools/p", headers, body.to_owned()).await
    };
    let problem = send(&json_type, "{\n  \"spec\": }").await.expect_problem(400, "malformed_json");
    assert!(problem["detail"].as_str().unwrap().starts_with("line 2, column 11"), "{problem}");
    send(&[("content-type", "text/plain")], "{}")
        .await
        .expect_problem(415, "unsupported_media_type");
    send(&[], "{}").await.expect_problem(415, "unsupported_media_type");
    let limit = 1024 * 1024;
    send(&json_type, &" ".repeat(limit)).await.expect_problem(400, "malformed_json");
    send(&json_type, &" ".repeat(limit + 1)).await.expect_problem(413, "body_too_large");
}

#[tokio::test]
async fn dry_run_answers_as_the_write_would_and_writes_nothing() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let index = node.snapshot().index;
    let reply = node.put(&admin, "/api/v1/pools/p?dry_run=true", pool(&["10.0.0.1:80"])).await;
    assert_eq!(reply.expect(200).json()["name"], "p");
    let reply = node.put(&admin, "/api/v1/pools/p?dry_run=maybe", pool(&[])).await;
    reply.expect_problem(400, "invalid_parameter");
    node.delete(&admin, "/api/v1/pools/p?dry_run=true").await.expect_problem(404, "not_found");
    assert_eq!(node.snapshot().index, index);
    node.get(&admin, "/api/v1/pools/p").await.expect(404);
}

#[tokio::test]
async fn what_is_in_use_is_not_deleted() {
    let node = Node::start().await;
    let admin = node.admin().await;
    node.put(&admin, "/api/v1/pools/web", pool(&[])).await.expect(201);
    let server = json!({ "spec": {
        "protocol": "http", "addresses": ["127.0.0.1"], "ports": [8080], "pool": "web",
    } });
    node.put(&admin, "/api/v1/virtual-servers/shop", server).await.expect(201);
    let problem = node.delete(&admin, "/api/v1/pools/web").await.expect_problem(409, "referenced");
    assert_eq!(problem["referrers"], json!([{ "kind": "virtual-server", "name": "shop" }]));
}

#[tokio::test]
async fn idempotency_key_makes_a_write_happen_once() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let key = [("idempotency-key", "k1")];
    let create = async |body: Value| {
        node.send(&admin, Method::POST, "/api/v1/pools", &key, Some(body)).await
    };
    let body = json!({ "name": "p", "spec": {} });
    create(body.clone()).await.expect(201);
    let index = node.snapshot().index;
    let again = create(body).await;
    assert_eq!(again.expect(200).header("idempotency-replayed"), "true");
    assert_eq!(node.snapshot().index, index);
    let other = create(json!({ "name": "q", "spec": {} })).await;
    other.expect_problem(422, "idempotency_key_reused");
}

#[tokio::test]
async fn wait_applied_answers_when_the_planes_have_it() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let path = "/api/v1/pools/p?wait=applied&wait_timeout_ms=5000";
    let reply = node.put(&admin, path, pool(&[])).await;
    assert_eq!(reply.expect(201).header("x-ballast-not-applied"), "");
    let reply = node.put(&admin, "/api/v1/pools/p?wait=forever", pool(&[])).await;
    reply.expect_problem(400, "invalid_parameter");
}

#[tokio::test]
async fn lists_are_paged_sorted_and_filtered() {
    let node = Node::start().await;
    let admin = node.admin().await;
    for i in [3, 1, 2, 5, 4] {
        let mut body = pool(&[]);
        body["labels"] = json!({ "parity": if i % 2 == 0 { "even" } else { "odd" } });
        body["description"] = json!(format!("Pool Number {i}"));
        node.put(&admin, &format!("/api/v1/pools/p{i}"), body).await.expect(201);
    }
    let names = async |query: &str| {
        let page = node.get(&admin, &format!("/api/v1/pools?{query}")).await.expect(200).json();
        let items = page["items"].as_array().unwrap().clone();
        let names = items.iter().map(|item| item["name"].as_str().unwrap().to_owned());
        (names.collect::<Vec<_>>().join(" "), page)
    };
    assert_eq!(names("").await.0, "p1 p2 p3 p4 p5");
    assert_eq!(names("sort=-name").await.0, "p5 p4 p3 p2 p1");
    assert_eq!(names("sort=revision").await.0, "p3 p1 p2 p5 p4");
    assert_eq!(names("sort=-updated_at_ms").await.0.len(), 14);
    assert_eq!(names("label=parity=even").await.0, "p2 p4");
    assert_eq!(names("q=number%204").await.0, "p4");
    let (first, page) = names("limit=2&sort=-name").await;
    assert_eq!((first.as_str(), &page["total"]), ("p5 p4", &json!(5)));
    let cursor = page["next_cursor"].as_str().unwrap().to_owned();
    // What comes or goes meanwhile moves no page.
    node.delete(&admin, "/api/v1/pools/p4").await.expect(204);
    let (second, page) = names(&format!("limit=2&sort=-name&cursor={cursor}")).await;
    assert_eq!(second, "p3 p2");
    let cursor = page["next_cursor"].as_str().unwrap();
    let (last, page) = names(&format!("limit=2&sort=-name&cursor={cursor}")).await;
    assert_eq!((last.as_str(), page.get("next_cursor")), ("p1", None));
    for query in ["limit=0", "limit=501", "sort=size", "label=x", "cursor=!", "colour=red"] {
        let reply = node.get(&admin, &format!("/api/v1/pools?{query}")).await;
        reply.expect_problem(400, "invalid_parameter");
    }
    let wrong = format!("cursor={cursor}");
    let reply = node.get(&admin, &format!("/api/v1/pools?{wrong}")).await;
    reply.expect_problem(400, "invalid_parameter");
}

#[tokio::test]
async fn certificates_keep_their_key_to_themselves() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let path = "/api/v1/certificates/shop";
    let (chain, key) = certificate("shop.example");
    let body = json!({ "spec": { "chain_pem": chain, "private_key_pem": key } });
    let created = node.put(&admin, path, body.clone()).await;
    let spec = created.expect(201).json()["spec"].clone();
    assert_eq!(spec["fingerprint_sha256"].as_str().unwrap().len(), 64);
    assert_no_secret(&created.text, &key);
    let index = node.snapshot().index;
    node.put(&admin, path, body).await.expect(200);
    node.put(&admin, path, created.json()).await.expect(200);
    assert_eq!(node.snapshot().index, index, "the same key again is no change");
    let stored = node.snapshot().state.config.certificates.get("shop").unwrap().spec.clone();
    assert_eq!(
        node.store.keys().open(&stored.private_key_sealed.unwrap()).unwrap(),
        key.as_bytes()
    );
    assert_eq!(stored.private_key_pem, None);
    for read in ["/api/v1/certificates", path, "/api/v1/export"] {
        assert_no_secret(&node.get(&admin, read).await.text, &key);
    }

    let (other_chain, other_key) = certificate("other.example");
    let fault = async |spec: Value| {
        let reply = node.put(&admin, path, json!({ "spec": spec })).await;
        assert_no_secret(&reply.text, &key);
        let error = reply.expect_problem(422, "invalid")["errors"][0].clone();
        (error["pointer"].as_str().unwrap().to_owned(), error["code"].as_str().unwrap().to_owned())
    };
    let at = |pointer: &str, code: &str| (pointer.to_owned(), code.to_owned());
    let mismatch = at("/spec/private_key_pem", "key_mismatch");
    assert_eq!(fault(json!({ "chain_pem": chain, "private_key_pem": other_key })).await, mismatch);
    assert_eq!(fault(json!({ "chain_pem": other_chain })).await, mismatch);
    let broken = chain.replacen("MI", "!!", 1);
    let pem = at("/spec/chain_pem", "invalid_pem");
    assert_eq!(fault(json!({ "chain_pem": broken, "private_key_pem": key })).await, pem);
    let sealed = json!({ "key_id": 1, "nonce": "", "ciphertext": "" });
    let refused = at("/spec/private_key_sealed", "server_only_field");
    assert_eq!(fault(json!({ "chain_pem": chain, "private_key_sealed": sealed })).await, refused);
}

#[tokio::test]
async fn authorities_that_cannot_be_read_are_refused_where_they_stand() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let (good, _) = certificate("ca.example");
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let path = "/api/v1/pools/shop";
    let body = |pem: &str| json!({ "spec": { "tls": { "ca_pem": pem } } });
    let problem = node.put(&admin, path, body(nonsense)).await.expect_problem(422, "invalid");
    assert_eq!(problem["errors"][0]["pointer"], "/spec/tls/ca_pem");
    assert_eq!(problem["errors"][0]["code"], "invalid_certificate");
    node.put(&admin, path, body(&good)).await.expect(201);
    let (_, key) = certificate("ca.example");
    let secret = node.put(&admin, path, body(&format!("{good}{key}"))).await;
    assert_no_secret(&secret.text, &key);
    let problem = secret.expect_problem(422, "invalid");
    assert_eq!(problem["errors"][0]["code"], "secret_key");
    // A list of revoked certificates that can't be read must not mean that nobody is asked.
    let lists = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    let auth = json!({ "mode": "required", "ca_pem": good, "crl_pem": lists });
    let server = json!({ "spec": {
        "protocol": "https", "addresses": ["127.0.0.1"], "ports": [1], "pool": "shop",
        "tls": { "client_auth": auth },
    } });
    let reply = node.put(&admin, "/api/v1/virtual-servers/shop", server).await;
    let problem = reply.expect_problem(422, "invalid");
    let faults = problem["errors"].as_array().unwrap();
    let of_list = |fault: &Value| fault["pointer"] == "/spec/tls/client_auth/crl_pem";
    assert!(faults.iter().any(of_list), "{problem}");
}

#[tokio::test]
async fn users_and_tokens_show_no_hash() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let body = json!({ "spec": { "role": "viewer", "password": "another long one" } });
    let created = node.put(&admin, "/api/v1/users/ann", body.clone()).await;
    created.expect(201);
    let index = node.snapshot().index;
    node.put(&admin, "/api/v1/users/ann", body).await.expect(200);
    assert_eq!(node.snapshot().index, index, "the same password again is no change");
    let token =
        node.post(&admin, "/api/v1/tokens", json!({ "name": "ci", "spec": { "role": "viewer" } }));
    let token = token.await;
    let secret = token.expect(201).json()["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("blst_") && secret.len() == 48, "{secret}");
    node.get(&As::Bearer(secret.clone()), "/api/v1/pools").await.expect(200);
    for path in ["/api/v1/users", "/api/v1/users/ann", "/api/v1/tokens", "/api/v1/tokens/ci"] {
        let reply = node.get(&admin, path).await;
        for field in ["password", "argon2", "secret_hash", "\"secret\"", &secret] {
            assert!(!reply.text.contains(field), "{path} shows {field}: {}", reply.text);
        }
    }
    let weak = json!({ "spec": { "role": "viewer", "password": "short" } });
    let problem = node.put(&admin, "/api/v1/users/bob", weak).await.expect_problem(422, "invalid");
    assert_eq!(problem["errors"][0]["pointer"], "/spec/password");
    let hash = json!({ "spec": { "role": "admin", "password_hash": "$argon2id$x" } });
    let problem = node.put(&admin, "/api/v1/users/bob", hash).await.expect_problem(422, "invalid");
    assert!(problem.to_string().contains("server_only_field"), "{problem}");
    let state = serde_json::to_string(&node.snapshot().state).unwrap();
    assert!(!state.contains("another long one") && !state.contains(&secret));
    let last = node.delete(&admin, "/api/v1/users/admin").await;
    last.expect_problem(409, "last_administrator");
}

#[tokio::test]
async fn status_and_cluster_tell_what_is() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let status = node.get(&admin, "/api/v1/status").await.expect(200).json();
    assert_eq!(status["nodes"][0]["status"]["name"], "a");
    assert_eq!((&status["writable"], &status["leader"]), (&json!(true), &json!("a")));
    assert_eq!(status["problems"], json!([]));
    let cluster = node.get(&admin, "/api/v1/cluster").await.expect(200).json();
    assert_eq!(cluster["nodes"][0]["voter"], true);
    assert_eq!(cluster["ca_fingerprint_sha256"], node.store.identity().ca_fingerprint_sha256());
    let made = node.post(&admin, "/api/v1/cluster/join-tokens", json!({ "role": "witness" })).await;
    assert_eq!(made.expect(201).json()["role"], "witness");
    let pools = node.get(&admin, "/api/v1/nodes?status=true").await.expect(200).json();
    assert_eq!(pools["items"][0]["status"]["report"]["name"], "a");
    node.get(&As::Nobody, "/healthz").await.expect(200);
    node.get(&As::Nobody, "/readyz").await.expect(200);
    assert_eq!(node.get(&admin, "/metrics").await.expect(200).text, "ballast_up 1\n");
}

#[track_caller]
fn assert_no_secret(text: &str, key: &str) {
    let middle: String = key.lines().nth(1).unwrap().to_owned();
    for secret in ["PRIVATE KEY", "private_key_sealed", "ciphertext", &middle] {
        let is_pointer = text.contains("/spec/private_key_sealed");
        assert!(is_pointer || !text.contains(secret), "shows {secret}: {text}");
    }
}

#[tokio::test]
async fn node_that_can_not_carry_a_write_out_is_named() {
    let node = Node::start().await;
    let admin = node.admin().await;
    node.view.errors.lock().unwrap().push("virtual server s: address in use".to_owned());
    let reply = node.put(&admin, "/api/v1/pools/p?wait=applied", pool(&["10.0.0.1:80"])).await;
    reply.expect(201);
    assert_eq!(reply.header("x-ballast-not-applied"), "a=error");
}

#[tokio::test]
async fn of_two_who_make_a_token_at_once_one_gets_the_secret_and_it_works() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let body = json!({ "spec": { "role": "viewer" } });
    let put = || node.put(&admin, "/api/v1/tokens/t", body.clone());
    let (one, other) = tokio::join!(put(), put());
    let secrets = [one.json()["secret"].clone(), other.json()["secret"].clone()];
    let secrets: Vec<_> = secrets.iter().filter_map(|secret| secret.as_str()).collect();
    let [secret] = secrets[..] else { panic!("{} {}", one.text, other.text) };
    node.get(&As::Bearer(secret.to_owned()), "/api/v1/pools").await.expect(200);
}

#[tokio::test]
async fn last_node_stays() {
    let node = Node::start().await;
    let admin = node.admin().await;
    node.delete(&admin, "/api/v1/nodes/a").await.expect_problem(409, "last_node");
    node.delete(&admin, "/api/v1/nodes/b").await.expect_problem(404, "not_found");
}
