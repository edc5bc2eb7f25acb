//! What is sent again is the request, and never what came to stand in its place.

use ballast_telemetry::FailureReason;
use tokio::sync::mpsc;

use crate::harness::*;

/// A member that closes once it has a head and a trailer section; tells the heads that it gets.
async fn closing(heads: mpsc::Sender<String>) -> Origin {
    Origin::start(move |_, mut io| {
        let heads = heads.clone();
        async move {
            let Some(head) = io.head().await else { return };
            heads.send(head).await.expect("somebody who listens");
            io.head().await;
        }
    })
    .await
}

/// The output to the member holds the head first, then the end of the body: by its length alone the one
/// can't be told from the other.
#[tokio::test]
async fn the_end_of_a_body_that_is_as_long_as_the_head_is_not_sent_in_its_place() {
    let (sender, mut heads) = mpsc::channel(8);
    let members = [closing(sender.clone()).await, closing(sender).await];
    let site = Site::start(&[members[0].address, members[1].address]).await;
    let mut client = site.connect().await;
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let head = soon(heads.recv()).await.expect("a head");
    let (start, end) = ("0\r\nX: ", "\r\n\r\n");
    let value = "p".repeat(head.len() - start.len() - end.len());
    client.send(format!("{start}{value}{end}")).await;
    assert_eq!(client.message().await.expect("an answer").status(), 502);
    site.failed(FailureReason::UpstreamClosedEarly, 1).await;
    assert_eq!(heads.try_recv().ok(), None, "no member got anything else");
}
