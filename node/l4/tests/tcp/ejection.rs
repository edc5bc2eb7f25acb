//! Members that fail more often than others, and are left out for it.

use std::time::Duration;

use ballast_model::OutlierEjection;
use ballast_model::status::Health;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::interval;

use crate::site::{Site, echo, member, refusing_address, within};

#[tokio::test]
async fn member_that_fails_more_often_than_the_others_is_ejected() {
    let mut site = Site::new();
    let ((one, _echo_1), (other, _echo_2)) = (echo().await, echo().await);
    let refusing = refusing_address().await;
    site.put_pool(|pool| {
        pool.members = vec![member(refusing), member(one), member(other)];
        pool.outlier_ejection = Some(OutlierEjection {
            consecutive_failures: 0,
            success_rate_deviations_percent: 100,
            interval_ms: 1_000,
            min_requests: 10,
            ..OutlierEjection::default()
        });
    })
    .await;
    let listen = site.put_server(|_| {}).await;
    let connect = async || {
        let mut client = TcpStream::connect(listen).await.unwrap();
        client.write_all(b"x").await.unwrap();
        within(client.read_exact(&mut [0])).await.unwrap();
    };
    let mut pace = interval(Duration::from_millis(5));
    let ejected = within(async {
        loop {
            pace.tick().await;
            connect().await;
            let status = site.member_status(0);
            if status.health == Health::Down {
                return status;
            }
        }
    })
    .await;
    assert!(ejected.reason.contains("0.0 % of requests succeeded, "), "{}", ejected.reason);
    for _ in 0..10 {
        connect().await;
    }
    assert_eq!(site.member_status(0).requests_total, ejected.requests_total);
}
