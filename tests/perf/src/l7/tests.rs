//! The bench measures its peers without failures; what it says of ballast is for the bench itself.

use super::*;
use crate::driver;

#[tokio::test]
async fn peers_answer_every_kind_of_request_and_their_costs_are_seen() -> Result<()> {
    let lab = Lab::loopback()?;
    let origin = Origin::start(&lab).await?;
    let certificate = Certificate::issue(&lab)?;
    for subject in [
        peers::haproxy(&lab, &origin, &certificate).await?,
        peers::nginx(&lab, &origin, &certificate).await?,
    ] {
        for listener in subject.listeners.keys().copied() {
            let before = Usage::of(subject.pid)?;
            let address = subject.address(listener);
            let scheme = if listener.is_tls() { "https" } else { "http" };
            let url = format!("{scheme}://{address}/");
            let outcome = match listener {
                Listener::Udp => {
                    let options = driver::udp::Options::once(address);
                    tokio::task::spawn_blocking(move || driver::udp::run(&options)).await??
                }
                Listener::Timed => {
                    let options = driver::open_loop::Options::once(address, 500.0);
                    let options = options.with_member(origin.timed);
                    tokio::task::spawn_blocking(move || driver::open_loop::run(&options)).await??
                }
                Listener::ByHeader => wrk::users(&lab, &url, 1).await?,
                Listener::Bulk => wrk::large(&lab, &url, 1).await?,
                Listener::Http2 => h2load::run(&lab, &url, 1).await?,
                Listener::HostRules => {
                    let host = format!("Host: {}", rule_host(HOST_RULE_COUNT - 1));
                    wrk::run(&lab, &url, &[host], 1).await?
                }
                _ => wrk::run(&lab, &url, &[format!("Cookie: {}", subject.cookie)], 1).await?,
            };
            let what = format!("{} {}", subject.name, listener.name());
            assert_eq!(outcome.failures, 0, "{what}");
            assert!(outcome.requests > 64, "{what}");
            assert!(Usage::of(subject.pid)?.since(before).cpu_us > 0.0, "{what}");
        }
        let syscalls = strace::count(&lab, &subject).await?;
        assert!((1.0..100.0).contains(&syscalls), "{}: {syscalls}", subject.name);
    }
    Ok(())
}

#[test]
fn users_differ_from_request_to_request() {
    // What the peers look a member up by is what the load sends.
    let text = wrk::users_script();
    assert!(text.contains("\"X-User\"") && text.contains("10000"), "{text}");
}
