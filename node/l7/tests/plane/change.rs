//! Configuration changes, and the end.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ballast_model::MemberSpec;

use crate::harness::*;

#[tokio::test]
async fn no_request_is_lost_while_the_configuration_changes() {
    let origins = [Origin::echo().await, Origin::echo().await, Origin::echo().await];
    let mut site = Site::start(&[origins[0].address]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|n| {
            let (stop, address) = (Arc::clone(&stop), site.address);
            tokio::spawn(async move {
                let mut client = Io::connect(address).await;
                let mut count = 0;
                while !stop.load(Ordering::Relaxed) {
                    let response = client.get(&format!("/{n}/{count}")).await;
                    assert_eq!(response.status(), 200);
                    assert_eq!(response.field("connection"), None);
                    count += 1;
                }
                count
            })
        })
        .collect();
    for n in 0..40 {
        site.pool.members = vec![MemberSpec::new(origins[n % 3].address)];
        site.server.http.header_timeout_ms = 1_000 + n as u64;
        site.apply().await;
        until(|| site.totals().requests_total() >= 20 * (n as u64 + 1)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut total = 0;
    for client in clients {
        let count: u64 = client.await.unwrap();
        assert!(count > 0);
        total += count;
    }
    site.served(total).await;
    assert_eq!(site.totals().failures_total(), 0);
    assert_eq!(site.totals().connections_total, 8, "no connection was dropped");
}

#[tokio::test]
async fn a_change_of_the_pool_reaches_kept_connections() {
    let (one, other) = (Origin::answering(|_| ok("1")).await, Origin::answering(|_| ok("2")).await);
    let mut site = Site::start(&[one.address]).await;
    let mut client = site.connect().await;
    assert_eq!(client.get("/").await.text(), "1");
    site.pool.members = vec![MemberSpec::new(other.address)];
    site.apply().await;
    assert_eq!(client.get("/").await.text(), "2");
}

#[tokio::test]
async fn a_deleted_virtual_server_finishes_what_is_under_way() {
    let (answer, wait) = tokio::sync::watch::channel(false);
    let origin = Origin::start(move |_, mut io| {
        let mut wait = wait.clone();
        async move {
            io.head().await;
            wait.wait_for(|go| *go).await.unwrap();
            io.send(ok("done")).await;
            io.rest().await;
        }
    })
    .await;
    let mut site = Site::start(&[origin.address]).await;
    let mut idle = site.connect().await;
    let mut busy = site.connect().await;
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    site.has_open(2).await;
    site.delete().await;
    assert!(idle.rest().await.is_empty(), "an idle connection ends");
    assert!(tokio::net::TcpStream::connect(site.address).await.is_err(), "the port is closed");
    answer.send(true).unwrap();
    let response = busy.message().await.unwrap();
    assert_eq!((response.text().as_str(), response.field("connection")), ("done", Some("close")));
    assert!(busy.rest().await.is_empty());
}

#[tokio::test]
async fn a_disabled_virtual_server_can_be_enabled_again() {
    let origin = Origin::echo().await;
    let mut site = Site::start(&[origin.address]).await;
    site.server.enabled = false;
    site.apply().await;
    assert!(tokio::net::TcpStream::connect(site.address).await.is_err());
    assert_eq!(site.plane.listener_statuses(), []);
    site.server.enabled = true;
    site.apply().await;
    assert_eq!(site.connect().await.get("/").await.status(), 200);
}

#[tokio::test]
async fn draining_ends_idle_connections_and_waits_for_busy_ones() {
    let (answer, wait) = tokio::sync::watch::channel(false);
    let origin = Origin::start(move |_, mut io| {
        let mut wait = wait.clone();
        async move {
            io.head().await;
            wait.wait_for(|go| *go).await.unwrap();
            io.send(ok("done")).await;
            io.rest().await;
        }
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut idle = site.connect().await;
    let mut busy = site.connect().await;
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    site.has_open(2).await;
    let address = site.address;
    let client = async {
        assert!(idle.rest().await.is_empty());
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
        answer.send(true).unwrap();
        let response = busy.message().await.unwrap();
        assert_eq!(response.field("connection"), Some("close"));
        assert!(busy.rest().await.is_empty());
    };
    let (cut, ()) = tokio::join!(site.plane.drain(PATIENCE), client);
    assert_eq!(cut, 0);
    soon(site.plane.shutdown()).await;
}

#[tokio::test]
async fn a_first_request_is_answered_while_draining() {
    let origin = Origin::echo().await;
    let site = Site::start(&[origin.address]).await;
    let mut client = site.connect().await;
    site.has_open(1).await;
    let asks = async {
        // The port is closed: from here on the node drains.
        while tokio::net::TcpStream::connect(site.address).await.is_ok() {}
        let response = client.get("/").await;
        assert_eq!((response.status(), response.field("connection")), (200, Some("close")));
        assert!(client.rest().await.is_empty());
    };
    let (cut, ()) = tokio::join!(site.plane.drain(PATIENCE), asks);
    assert_eq!(cut, 0);
}

#[tokio::test]
async fn a_shutdown_cuts_a_drain_short() {
    let origin = Origin::start(|_, mut io| async move {
        io.rest().await;
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut busy = site.connect().await;
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    until(|| origin.connections() > 0).await;
    let ends = async {
        while tokio::net::TcpStream::connect(site.address).await.is_ok() {}
        site.plane.shutdown().await;
    };
    soon(async { tokio::join!(site.plane.drain(Duration::from_secs(3_600)), ends) }).await;
    assert!(busy.rest().await.is_empty());
}

#[tokio::test]
async fn what_has_not_ended_by_the_deadline_is_cut() {
    let origin = Origin::start(|_, mut io| async move {
        io.rest().await;
    })
    .await;
    let site = Site::start(&[origin.address]).await;
    let mut busy = site.connect().await;
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    site.has_open(1).await;
    until(|| origin.connections() > 0).await;
    assert_eq!(soon(site.plane.drain(Duration::from_millis(50))).await, 1);
    let answer = String::from_utf8(busy.rest().await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer:?}");
}

#[tokio::test]
async fn a_port_that_somebody_else_has_is_reported_and_taken_when_it_is_free() {
    let origin = Origin::echo().await;
    let foreign = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = foreign.local_addr().unwrap();
    let site = Site::start_with(&[origin.address], |server, _| {
        server.addresses = vec![address.ip()];
        server.ports = vec![address.port()];
    })
    .await;
    let [status] = site.plane.listener_statuses().try_into().unwrap();
    assert!(!status.listening);
    assert_eq!(status.error.unwrap(), format!("{address} is in use by another process"));
    drop(foreign);
    let mut applied = site.plane.applied();
    let is_up = applied.wait_for(|applied| applied.errors.is_empty());
    soon(is_up).await.unwrap();
    assert_eq!(Io::connect(address).await.get("/").await.status(), 200);
}
