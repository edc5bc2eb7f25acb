use super::*;

fn loads(counts: &[u32]) -> Loads {
    let loads = Loads::new(counts.len());
    for (load, count) in loads.0.iter().zip(counts) {
        load.0.store(*count, Relaxed);
    }
    loads
}

#[test]
fn connection_goes_to_a_worker_that_has_clearly_fewer() {
    assert_eq!(loads(&[0]).choose(0), 0, "nobody else");
    assert_eq!(loads(&[0, 0]).choose(0), 0);
    assert_eq!(loads(&[1, 0]).choose(0), 1);
    assert_eq!(loads(&[1, 0]).choose(1), 1);
    assert_eq!(loads(&[3, 2, 1]).choose(0), 2, "the one with the fewest");
}

#[test]
fn among_many_a_small_difference_moves_nothing() {
    assert_eq!(loads(&[900, 800]).choose(0), 0, "an eighth");
    assert_eq!(loads(&[901, 800]).choose(0), 1);
}

#[test]
fn however_the_kernel_spreads_them_workers_end_up_even() {
    for accepts in [[0; 8], [1; 8], [0, 1, 1, 1, 1, 1, 1, 0]] {
        let loads = loads(&[0, 0]);
        for own in accepts {
            let worker = loads.choose(own);
            loads.change(worker, |load| {
                load.fetch_add(1, Relaxed);
            });
        }
        let counts: Vec<u32> = loads.0.iter().map(|load| load.0.load(Relaxed)).collect();
        assert_eq!(counts, [4, 4], "{accepts:?}");
    }
}

#[test]
fn connection_that_comes_back_is_counted_where_it_is_served() {
    let shared = Arc::new(Shared::new(2, 10));
    let counts = || [0, 1].map(|worker: usize| shared.loads.0[worker].0.load(Relaxed));
    shared.open_count.fetch_add(1, Relaxed);
    let mut guard = OpenGuard::new(&shared, 1);
    guard.move_to(1);
    assert_eq!(counts(), [0, 1]);
    guard.move_to(0);
    assert_eq!(counts(), [1, 0]);
    drop(guard);
    assert_eq!((counts(), shared.open_count.load(Relaxed)), ([0, 0], 0));
}
