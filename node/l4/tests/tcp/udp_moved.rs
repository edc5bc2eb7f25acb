//! Sessions of datagrams that are given to another process.

use crate::site::{Site, member, within};
use crate::udp::{ask, client, named, udp};

#[tokio::test]
async fn session_that_gets_lost_on_the_way_is_written_down_and_one_that_arrives_is_not() {
    let mut site = Site::new();
    let (address, _member) = named("127.0.0.1:0", "m", 1).await;
    site.put_pool(|pool| pool.members = vec![member(address)]).await;
    let listen = site.put_server(udp(|_| {})).await;
    for question in ["one", "three"] {
        ask(&client(listen).await, question).await;
    }
    let mut given = within(site.plane().give_sessions()).await;
    given.sort_by_key(|session| session.facts.received_bytes);
    assert_eq!(given.len(), 2);
    given.remove(0).delivery.confirm();
    assert_eq!(site.member_status(0).in_flight, 2, "nobody knows yet what becomes of the other");
    drop(given);
    site.until_member(0, |status| status.in_flight == 0).await;
    let status = site.until_status(|status| status.requests_total == 1).await;
    assert_eq!(status.failures_total, 1);
    site.until_reason("shutdown").await;
    let records = site.records().await;
    assert_eq!(records.len(), 1);
    assert_eq!(
        (&records[0]["received_bytes"], &records[0]["reason"]),
        (&5.into(), &"shutdown".into())
    );
}
