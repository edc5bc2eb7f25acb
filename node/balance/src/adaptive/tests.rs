use super::*;

/// Members that serve `capacity` requests at once in `service_us` each, and share the work where there are
/// more; clients that ask for all that is let through.
struct Simulation {
    gradient: Gradient,
    now_us: u64,
    capacity: f64,
    service_us: f64,
    /// When each request in flight is answered, and how long it takes.
    in_flight: Vec<(u64, u64)>,
    answered: u64,
    random: u64,
}

const TICK_US: u64 = 500;

impl Simulation {
    fn new(settings: AdaptiveConcurrency, capacity: f64, service_us: f64) -> Self {
        let gradient = Gradient::new(settings, 0);
        let in_flight = Vec::new();
        Self { gradient, now_us: 0, capacity, service_us, in_flight, answered: 0, random: 1 }
    }

    fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms * 1_000 / TICK_US {
            self.now_us += TICK_US;
            let now_us = self.now_us;
            let done: Vec<_> = self.in_flight.extract_if(.., |(at, _)| *at <= now_us).collect();
            for (_, took_us) in done {
                self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                self.gradient.sample(took_us, now_us / 1_000, self.random >> 33);
                self.answered += 1;
            }
            while self.in_flight.len() < self.gradient.limit() as usize {
                let load = (self.in_flight.len() + 1) as f64 / self.capacity;
                let took_us = (self.service_us * load.max(1.0)) as u64;
                self.in_flight.push((now_us + took_us, took_us));
            }
        }
    }

    /// Answers a second over `ms`.
    fn rate(&mut self, ms: u64) -> f64 {
        let before = self.answered;
        self.run_ms(ms);
        (self.answered - before) as f64 * 1_000.0 / ms as f64
    }

    fn assert_near_optimum(&mut self, what: &str) {
        let best = self.capacity * 1_000_000.0 / self.service_us;
        let rate = self.rate(2_000);
        assert!(rate > 0.9 * best, "{what}: {rate} a second, {best} could be");
        let limit = f64::from(self.gradient.limit());
        // 1.25 of tolerance, and the room of √limit.
        assert!((self.capacity..1.7 * self.capacity).contains(&limit), "{what}: {limit}");
    }
}

fn settings() -> AdaptiveConcurrency {
    AdaptiveConcurrency { min_rtt_interval_ms: 3_600_000, ..AdaptiveConcurrency::default() }
}

#[test]
fn it_finds_what_members_can_do_and_follows_when_that_changes() {
    let mut simulation = Simulation::new(settings(), 60.0, 10_000.0);
    simulation.run_ms(4_000);
    simulation.assert_near_optimum("from the beginning");
    simulation.capacity = 30.0;
    simulation.run_ms(4_000);
    simulation.assert_near_optimum("with half of the members");
    simulation.capacity = 120.0;
    simulation.run_ms(4_000);
    simulation.assert_near_optimum("with twice as many");
}

#[test]
fn it_recovers_when_members_have_become_slower_for_good() {
    let mut simulation = Simulation::new(settings(), 60.0, 10_000.0);
    simulation.run_ms(4_000);
    // The shortest time is too short now: down to the least, then measured anew.
    simulation.service_us = 40_000.0;
    simulation.run_ms(20_000);
    simulation.assert_near_optimum("when each takes four times as long");
}

#[test]
fn the_shortest_time_is_measured_anew_with_jitter() {
    let settings = AdaptiveConcurrency { min_rtt_interval_ms: 5_000, ..settings() };
    let mut simulation = Simulation::new(settings, 60.0, 10_000.0);
    let mut begun = Vec::new();
    let mut was_measuring = true;
    for at_ms in 0..60_000 {
        simulation.run_ms(1);
        let is_measuring = simulation.gradient.is_measuring();
        if is_measuring && !was_measuring {
            assert_eq!(simulation.gradient.limit(), settings.min_limit);
            begun.push(at_ms);
        }
        was_measuring = is_measuring;
    }
    let gaps: Vec<_> = begun.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // 5,000 ms, up to 15 % more, and the time that measuring takes.
    assert!(gaps.iter().all(|gap| (5_000..6_100).contains(gap)), "{gaps:?}");
    assert!(gaps.iter().any(|gap| *gap != gaps[0]), "{gaps:?}");
}

#[test]
fn the_limit_stays_within_the_settings() {
    let settings = AdaptiveConcurrency { min_limit: 5, max_limit: 20, ..settings() };
    let mut simulation = Simulation::new(settings, 60.0, 10_000.0);
    simulation.run_ms(4_000);
    assert_eq!(simulation.gradient.limit(), 20);
    simulation.capacity = 1.0;
    for _ in 0..4_000 {
        simulation.run_ms(1);
        assert!((5..=20).contains(&simulation.gradient.limit()));
    }
}
