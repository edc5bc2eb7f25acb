//! Addresses that are about to go to another node.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ballast_workers::QUIESCE_MAX;
use tokio::sync::watch;

use crate::harness::*;

const MOVING: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));
const STAYING: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// A site on every address, whose origin holds the answers to `/hold` back until told otherwise.
async fn site() -> (Site, Origin, watch::Sender<bool>) {
    let (answer, wait) = watch::channel(false);
    let origin = Origin::start(move |_, mut io| {
        let mut wait = wait.clone();
        async move {
            while let Some(request) = io.message().await {
                if request.head.starts_with("GET /hold ") {
                    wait.wait_for(|go| *go).await.unwrap();
                }
                if io.try_send(ok("done")).await.is_err() {
                    break;
                }
            }
        }
    })
    .await;
    let site = Site::start_with(&[origin.address], |server, _| {
        server.addresses = vec![IpAddr::from([0, 0, 0, 0])];
    })
    .await;
    (site, origin, answer)
}

impl Site {
    async fn connect_at(&self, address: IpAddr) -> Io {
        Io::connect(SocketAddr::new(address, self.address.port())).await
    }
}

/// Whether a request is under way.
fn is_asked(site: &Site) -> bool {
    site.plane.pools().borrow()["origin"].members()[0].state.in_flight() == 1
}

#[tokio::test]
async fn idle_connections_of_the_address_end_and_no_others() {
    let (site, _origin, answer) = site().await;
    let mut idle = site.connect_at(MOVING).await;
    let mut other = site.connect_at(STAYING).await;
    let mut busy = site.connect_at(MOVING).await;
    for client in [&mut idle, &mut other, &mut busy] {
        assert_eq!(client.get("/").await.field("connection"), None);
    }
    busy.send("GET /hold HTTP/1.1\r\nHost: site\r\n\r\n").await;
    until(|| is_asked(&site)).await;
    let clients = async {
        assert!(idle.rest().await.is_empty());
        let mut late = site.connect_at(MOVING).await;
        let response = late.get("/").await;
        assert_eq!((response.status(), response.field("connection")), (200, Some("close")));
        assert_eq!(other.get("/").await.field("connection"), None);
        answer.send(true).unwrap();
        let response = busy.message().await.unwrap();
        assert_eq!(
            (response.text().as_str(), response.field("connection")),
            ("done", Some("close"))
        );
        assert!(busy.rest().await.is_empty());
    };
    let (left_count, ()) = tokio::join!(soon(site.plane.quiesce(&[MOVING], QUIESCE_MAX)), clients);
    assert_eq!(left_count, 0);
    assert_eq!(other.get("/").await.field("connection"), None);
    assert_eq!(site.totals().failures_total(), 0);
}

#[tokio::test]
async fn a_move_that_does_not_happen_costs_nothing() {
    let (site, _origin, answer) = site().await;
    let mut busy = site.connect_at(MOVING).await;
    busy.send("GET /hold HTTP/1.1\r\nHost: site\r\n\r\n").await;
    site.has_open(1).await;
    until(|| is_asked(&site)).await;
    let left_count = soon(site.plane.quiesce(&[MOVING], Duration::from_millis(50))).await;
    assert_eq!(left_count, 1);
    answer.send(true).unwrap();
    soon(async {
        // The worker of each connection takes its own time.
        while site.connect_at(MOVING).await.get("/").await.field("connection").is_some() {}
    })
    .await;
    let response = busy.message().await.unwrap();
    assert_eq!((response.text().as_str(), response.field("connection")), ("done", None));
    assert_eq!(busy.get("/").await.field("connection"), None);
}

#[tokio::test]
async fn clients_that_come_back_lose_no_request() {
    let (site, _origin, _answer) = site().await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let address = SocketAddr::new(MOVING, site.address.port());
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                let mut client = Io::connect(address).await;
                let (mut asked_count, mut is_fresh) = (0_u32, true);
                while !stop.load(Ordering::Relaxed) {
                    let sent = client.try_send("GET / HTTP/1.1\r\nHost: site\r\n\r\n").await;
                    let response = if sent.is_ok() { client.message().await } else { None };
                    let is_closed = match response {
                        Some(response) => {
                            assert_eq!(response.status(), 200);
                            asked_count += 1;
                            response.field("connection") == Some("close")
                        }
                        None => {
                            assert!(!is_fresh, "a connection ended before its first answer");
                            true
                        }
                    };
                    is_fresh = is_closed;
                    if is_closed {
                        client = Io::connect(address).await;
                    }
                }
                asked_count
            })
        })
        .collect();
    for round in 1..=10 {
        site.plane.quiesce(&[MOVING], Duration::from_millis(20)).await;
        until(|| site.totals().requests_total() >= round * 50).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(soon(client).await.unwrap() > 0);
    }
}

#[tokio::test]
async fn a_client_that_asks_one_thing_after_another_is_never_cut_off() {
    let (site, _origin, _answer) = site().await;
    let mut client = site.connect_at(MOVING).await;
    assert_eq!(client.get("/").await.field("connection"), None);
    let asking = async {
        // Its next request comes while its connection shall end already, and is told so.
        let mut answer = client.get("/").await;
        while answer.field("connection").is_none() {
            answer = client.get("/").await;
        }
        assert_eq!((answer.status(), answer.field("connection")), (200, Some("close")));
        assert!(client.rest().await.is_empty());
    };
    tokio::join!(soon(site.plane.quiesce(&[MOVING], QUIESCE_MAX)), asking);
    assert_eq!(site.totals().failures_total(), 0);
}
