use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// Gives each request the answer that `answer` has for its number; the URL, and how many came.
async fn issuer(answer: impl Fn(usize) -> String + Send + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys?v=1", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /keys?v=1 HTTP/1.1\r\n"));
            let text = answer(seen.fetch_add(1, Ordering::SeqCst));
            let _gone = stream.write_all(text.as_bytes()).await;
        }
    });
    (url, count)
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn slot(url: &str) -> Arc<ProviderSlot> {
    Arc::new(ProviderSlot::declared("login", "uid", 1, &JwtProviderSpec::by_url(url)))
}

fn map(slot: &Arc<ProviderSlot>) -> ProviderMap {
    Arc::new([(slot.name.clone(), Arc::clone(slot))].into())
}

async fn until(holds: impl Fn() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "it did not happen in time");
        looks.tick().await;
    }
}

#[tokio::test]
async fn keys_are_fetched_and_a_failure_is_told_and_tried_again() {
    let (url, count) = issuer(|number| match number {
        0 => "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_owned(),
        _ => ok(KEYS),
    })
    .await;
    let slot = slot(&url);
    let (sender, receiver) = watch::channel(map(&slot));
    let stop = CancellationToken::new();
    let task = tokio::spawn(follow(receiver, stop.clone()));
    until(|| slot.facts().error.is_some()).await;
    assert_eq!(slot.facts().error.unwrap(), "the answer has status 500, not 200");
    assert!(slot.verifier().is_none());
    until(|| slot.verifier().is_some()).await;
    let facts = slot.facts();
    assert_eq!((facts.key_count, facts.error), (1, None));
    assert!(facts.fetched_at_ms.is_some());
    assert_eq!(count.load(Ordering::SeqCst), 2);
    sender.send_replace(ProviderMap::default());
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn what_is_no_key_set_or_too_long_is_refused_and_old_keys_stay() {
    for (answer, says) in [
        (ok("{}"), "the keys are no JSON Web Key Set"),
        (ok(&" ".repeat(256 * 1024 + 1)), "the keys are longer than 262144 bytes"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_owned(), "the answer broke off"),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://other/\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "the answer has status 302, not 200",
        ),
    ] {
        let (url, _) = issuer(move |_| answer.clone()).await;
        let slot = slot(&url);
        slot.fetched(1, KEYS.as_bytes(), 1).unwrap();
        let (_sender, receiver) = watch::channel(map(&slot));
        let task = tokio::spawn(follow(receiver, CancellationToken::new()));
        until(|| slot.facts().error.is_some()).await;
        assert_eq!(slot.facts().error.unwrap(), says);
        assert!(slot.verifier().is_some(), "the last good keys stay");
        task.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_keys_cause_an_early_fetch_but_not_many() {
    let (url, count) = issuer(|_| ok(KEYS)).await;
    let slot = slot(&url);
    let (_sender, receiver) = watch::channel(map(&slot));
    let task = tokio::spawn(follow(receiver, CancellationToken::new()));
    until(|| slot.verifier().is_some()).await;
    let start = Instant::now();
    for _ in 0..1_000 {
        slot.note_unknown_key();
    }
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    while count.load(Ordering::SeqCst) < 2 {
        assert!(start.elapsed() < Duration::from_secs(60), "no early fetch");
        looks.tick().await;
    }
    assert!(start.elapsed() > Duration::from_secs(8), "{:?}", start.elapsed());
    assert!(count.load(Ordering::SeqCst) <= 3);
    task.abort();
}
