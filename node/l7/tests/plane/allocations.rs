//! Once connections are there and buffers have been lent, a request takes nothing from the heap.

use std::sync::atomic::Ordering;

use ballast_model::HttpSettings;

use crate::harness::*;

/// Requests that find the way, and those that are counted then.
const WARM_UP_COUNT: usize = 50;
const REQUEST_COUNT: usize = 200;

/// What so many requests of that form take from the heap.
async fn allocations(request: &str, adjust: impl FnOnce(&mut HttpSettings)) -> u64 {
    let origin = Origin::answering(|_| ok("answer")).await;
    let site = Site::start_with(&[origin.address], |server, _| adjust(&mut server.http)).await;
    let mut client = site.connect().await;
    let mut before = 0;
    for number in 0..WARM_UP_COUNT + REQUEST_COUNT {
        if number == WARM_UP_COUNT {
            before = site.allocation_count.load(Ordering::SeqCst);
        }
        client.send(request).await;
        assert_eq!(client.message().await.unwrap().text(), "answer");
    }
    assert!(before > 0, "the counter counts");
    site.allocation_count.load(Ordering::SeqCst) - before
}

#[tokio::test]
async fn a_request_on_a_kept_connection_takes_nothing_from_the_heap() {
    let request = "GET /a?b=c HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: test\r\n\r\n";
    assert_eq!(allocations(request, |_| {}).await, 0);
}

#[tokio::test]
async fn a_request_with_content_takes_nothing_from_the_heap() {
    let request = "POST / HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(allocations(request, |_| {}).await, 0);
}

#[tokio::test]
async fn a_request_without_an_identifier_takes_nothing_from_the_heap() {
    let request = "GET / HTTP/1.1\r\nHost: www.example.com\r\nCookie: a=b; c=d\r\n\r\n";
    assert_eq!(allocations(request, |http| http.request_id.enabled = false).await, 0);
}
