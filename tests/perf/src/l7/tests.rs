//! The bench measures its peers without failures; what it says of ballast is for the bench itself.

use super::*;

#[tokio::test]
async fn peers_answer_every_request_and_their_costs_are_seen() -> Result<()> {
    let lab = Lab::loopback()?;
    let origin = Origin::start(&lab).await?;
    for subject in [Subject::haproxy(&lab, &origin).await?, Subject::nginx(&lab, &origin).await?] {
        let before = Usage::of(subject.pid)?;
        let result = wrk::run(&lab, &subject.url, 1).await?;
        assert_eq!(result.failures, 0, "{}", subject.name);
        assert!(result.requests > 64, "{}", subject.name);
        assert!(Usage::of(subject.pid)?.since(before).cpu_us > 0.0, "{}", subject.name);
        let syscalls = strace::count(&lab, &subject).await?;
        assert!((1.0..100.0).contains(&syscalls), "{}: {syscalls}", subject.name);
        eprintln!("{}: {syscalls:.2} system calls per request", subject.name);
    }
    Ok(())
}
