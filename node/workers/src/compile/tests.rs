use ballast_model::{AnyDraft, Draft, Edit, Kind, PoolSpec};

use super::*;

/// A configuration that is edited step by step, and its compiler.
struct Bench {
    config: Config,
    index: u64,
    compiler: Compiler,
}

impl Bench {
    fn new() -> Self {
        let compiler = Compiler::new(
            1,
            PersistenceKey::new(&[0; 32]),
            Arc::new(CounterRegistry::new(1)),
            Arc::new(|_| Err("sealed".to_owned())),
        );
        let mut bench = Self { config: Config::default(), index: 0, compiler };
        bench.edit(&[pool("p"), server("a", 80, |_| {})]);
        bench
    }

    fn edit(&mut self, edits: &[Edit]) -> Outcome {
        self.index += 1;
        self.config = self.config.edited(edits, self.index, 0).unwrap();
        self.compiler.compile(&self.config, 0)
    }

    fn slot(&self, name: &str) -> Arc<VirtualServerSlot> {
        Arc::clone(self.compiler.slot(&format!("{name}-uid")).expect(name))
    }
}

fn pool(name: &str) -> Edit {
    Edit::put(AnyDraft::Pool(Draft::new(name, PoolSpec::default())), format!("{name}-uid"))
}

fn server(name: &str, port: u16, adjust: impl FnOnce(&mut VirtualServerSpec)) -> Edit {
    let listen = ([10, 0, (port >> 8) as u8, port as u8], port).into();
    let mut spec = VirtualServerSpec::new(Protocol::Http, listen, "p");
    adjust(&mut spec);
    Edit::put(AnyDraft::VirtualServer(Draft::new(name, spec)), format!("{name}-uid"))
}

#[test]
fn an_edit_replaces_the_content_of_the_slot_and_not_the_slot() {
    let mut bench = Bench::new();
    let before = bench.slot("a");
    let outcome = bench.edit(&[server("a", 81, |spec| spec.connection_limit = Some(7))]);
    let after = bench.slot("a");
    assert!(Arc::ptr_eq(&before, &after));
    assert_eq!(before.current().load_full().unwrap().connection_limit, 7);
    assert!(outcome.retired.is_empty());
}

#[test]
fn only_what_changed_is_compiled() {
    let mut bench = Bench::new();
    let others: Vec<_> = (0..10_000).map(|n| server(&format!("s{n}"), 1_000 + n, |_| {})).collect();
    assert_eq!(bench.edit(&others).compiled_count, 10_000);
    assert_eq!(
        bench
            .edit(&[server("s77", 1_077, |spec| spec.http.access_log.enabled = false)])
            .compiled_count,
        1
    );
    assert_eq!(bench.edit(&[pool("q")]).compiled_count, 0);
    assert_eq!(bench.edit(&[]).compiled_count, 0);
}

#[test]
fn a_change_of_the_pool_reaches_the_virtual_server_without_compiling_it() {
    let mut bench = Bench::new();
    let server = bench.slot("a").current().load_full().unwrap();
    let spec = PoolSpec { connect_timeout_ms: 77, ..PoolSpec::default() };
    let outcome = bench.edit(&[Edit::put(AnyDraft::Pool(Draft::new("p", spec)), "unused")]);
    assert_eq!(outcome.compiled_count, 0);
    assert_eq!(server.pool.current().load().spec().connect_timeout_ms, 77);
}

#[test]
fn disabling_and_deleting_retire_the_slot() {
    let mut bench = Bench::new();
    let first = bench.slot("a");
    let outcome = bench.edit(&[server("a", 80, |spec| spec.enabled = false)]);
    assert!(Arc::ptr_eq(&outcome.retired[0], &first));
    assert!(bench.compiler.slot("a-uid").is_none());
    bench.edit(&[server("a", 80, |_| {})]);
    let second = bench.slot("a");
    assert_ne!(first.id, second.id);
    assert!(Arc::ptr_eq(&first.counters, &second.counters), "what was counted stays");
    let outcome = bench.edit(&[Edit::delete(Kind::VirtualServer, "a")]);
    assert!(Arc::ptr_eq(&outcome.retired[0], &second));
}

#[test]
fn nothing_is_kept_of_a_deleted_virtual_server_that_was_disabled_first() {
    let mut bench = Bench::new();
    let names = |bench: &Bench| {
        let all = bench.compiler.counters.all();
        all.iter().map(|counters| counters.name().to_string()).collect::<Vec<_>>()
    };
    bench.edit(&[server("a", 80, |spec| spec.enabled = false), server("b", 81, |_| {})]);
    assert_eq!(names(&bench), ["a", "b"]);
    bench.edit(&[Edit::delete(Kind::VirtualServer, "a")]);
    assert_eq!(names(&bench), ["b"]);
}

#[test]
fn a_deleted_pool_is_retired() {
    let mut bench = Bench::new();
    bench.edit(&[pool("q"), server("a", 80, |spec| spec.pool = "q".to_owned())]);
    let slot = Arc::clone(&bench.slot("a").current().load_full().unwrap().pool);
    assert!(!slot.is_retired());
    bench.edit(&[server("a", 80, |_| {}), Edit::delete(Kind::Pool, "q")]);
    assert!(slot.is_retired());
}

#[test]
fn another_protocol_needs_another_slot() {
    let mut bench = Bench::new();
    let first = bench.slot("a");
    let outcome = bench.edit(&[server("a", 80, |spec| spec.protocol = Protocol::Tcp)]);
    assert!(Arc::ptr_eq(&outcome.retired[0], &first));
    assert_ne!(bench.slot("a").id, first.id);
    assert!(first.current().load().is_some(), "emptied by who closes the listeners, not before");
}

/// What this thread has used of a CPU: others use this machine, too.
fn cpu_time() -> std::time::Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    std::time::Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// A certificate for one name, as an edit.
fn certificate(number: usize) -> Edit {
    let issued = rcgen::generate_simple_self_signed(vec![format!("site-{number}.test")]).unwrap();
    let spec = CertificateSpec {
        chain_pem: issued.cert.pem(),
        private_key_pem: Some(issued.signing_key.serialize_pem()),
        ..CertificateSpec::default()
    };
    let name = format!("c{number}");
    Edit::put(AnyDraft::Certificate(Draft::new(&name, spec)), format!("{name}-uid"))
}

#[test]
fn one_of_ten_thousand_certificates_is_replaced_in_a_tenth_of_a_second() {
    let mut bench = Bench::new();
    let count = ballast_model::limits::CERTIFICATE_MAX_COUNT;
    let mut edits: Vec<_> = (0..count).map(certificate).collect();
    edits.push(server("tls", 443, |spec| {
        spec.protocol = Protocol::Https;
        spec.certificates = (0..count).map(|number| format!("c{number}")).collect();
    }));
    bench.edit(&edits);
    assert_eq!(bench.compiler.error("tls-uid"), None);
    assert_eq!(bench.compiler.certificates().len(), count);
    let before = bench.compiler.certificates();
    let replace = |bench: &mut Bench, number: usize| {
        bench.index += 1;
        bench.config = bench.config.edited(&[certificate(number)], bench.index, 0).unwrap();
        let begin = cpu_time();
        bench.compiler.compile(&bench.config, 0);
        let after = bench.compiler.certificates();
        let took = cpu_time() - begin;
        let uid = format!("c{number}-uid");
        assert!(!Arc::ptr_eq(&before[&uid], &after[&uid]), "it is a new one");
        assert!(Arc::ptr_eq(&before["c9999-uid"], &after["c9999-uid"]), "others are not read anew");
        took
    };
    let best = (0..5).map(|number| replace(&mut bench, number)).min().unwrap();
    assert!(best.as_millis() <= 100, "{best:?}");
}
