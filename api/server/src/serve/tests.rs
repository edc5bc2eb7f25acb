use super::*;

#[tokio::test(start_paused = true)]
async fn connection_is_idle_once_nothing_was_under_way_for_long() {
    let under_way = Arc::new(watch::Sender::new(0));
    let started = tokio::time::Instant::now();
    let ended = tokio::spawn(idle(under_way.subscribe()));
    let stream = Counted::new(&under_way);
    // tidy: on virtual time, which passes at once.
    tokio::time::sleep(10 * H2_IDLE_TIMEOUT).await;
    assert!(!ended.is_finished(), "a stream of events is under way");
    drop(stream);
    ended.await.unwrap();
    assert_eq!(started.elapsed(), 11 * H2_IDLE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn connection_that_never_asks_is_idle() {
    let under_way = watch::Sender::new(0);
    let started = tokio::time::Instant::now();
    idle(under_way.subscribe()).await;
    assert_eq!(started.elapsed(), H2_IDLE_TIMEOUT);
}
