//! Prints what evaluating a policy costs with 10 and with 10,000 host rules, and with other shapes:
//! `cargo run --release -p ballast-policy --example host_rules`. Hosts are asked for in an order that
//! the caches don't know, but for the row that says so: what that row lacks is what memory costs.

use std::hint::black_box;
use std::net::IpAddr;
use std::time::Instant;

use ballast_model::spec::policy::{Action, Condition, PathMatch, PolicyRule, PolicySpec, Scheme};
use ballast_policy::{CompiledPolicy, Regions, Request, Scratch};

const ROUND_COUNT: usize = 7;
const REQUEST_COUNT: usize = 200_000;

fn host_rules(count: usize, pattern: &str) -> PolicySpec {
    let rule = |i: usize| {
        let when = Condition::Host(vec![pattern.replace('#', &i.to_string())]);
        PolicyRule::new(format!("r{i}"), Some(when)).then(Action::Pool(format!("p{}", i % 100)))
    };
    PolicySpec { rules: (0..count).map(rule).collect() }
}

fn regex_rules(count: usize) -> PolicySpec {
    let rule = |i: usize| {
        let when = Condition::Path(PathMatch::Regex(format!("^/n{i}(/|$)")));
        PolicyRule::new(format!("r{i}"), Some(when)).then(Action::Pool("p".to_owned()))
    };
    PolicySpec { rules: (0..count).map(rule).collect() }
}

/// The least time of several rounds, in ns per request.
fn measure(spec: &PolicySpec, host: &str, path: &str) -> f64 {
    let count = spec.rules.len();
    let number = |i: usize| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % count;
    // Made first, so that they lie in memory alike whatever the policy is.
    let texts: Vec<_> = (0..512)
        .map(|i| [host, path].map(|text| text.replace('#', &number(i).to_string())))
        .collect();
    let policy = match CompiledPolicy::compile(spec, &Regions::default()) {
        Ok(policy) => policy,
        Err(error) => panic!("{error}"),
    };
    let mut scratch = Scratch::default();
    let mut round = || {
        let start = Instant::now();
        for i in 0..REQUEST_COUNT {
            let [authority, path] = &texts[i % texts.len()];
            let request = Request {
                method: b"GET",
                scheme: Scheme::Https,
                authority: authority.as_bytes(),
                path: path.as_bytes(),
                query: None,
                source: IpAddr::from([192, 0, 2, 1]),
                request_id: b"",
                headers: &[],
            };
            let decision = policy.evaluate(black_box(&request), &mut scratch);
            black_box(decision.pool(0));
        }
        start.elapsed().as_nanos() as f64 / REQUEST_COUNT as f64
    };
    (0..ROUND_COUNT).map(|_| round()).fold(f64::INFINITY, f64::min)
}

fn main() {
    println!("{:<28}{:>10}{:>12}", "ns per request", "10 rules", "10,000 rules");
    for (what, pattern, host) in [
        ("exact hosts", "h#.example.com", "h#.example.com"),
        ("one exact host, always", "h#.example.com", "h7.example.com"),
        ("wildcard hosts", "*.h#.example.com", "www.h#.example.com"),
        ("hosts that no rule has", "h#.example.com", "x#.example.com"),
    ] {
        let [few, many] = [10, 10_000].map(|n| measure(&host_rules(n, pattern), host, "/a/b"));
        println!("{what:<28}{few:>10.1}{many:>12.1}");
    }
    let [few, many] = [10, 1_000].map(|n| measure(&regex_rules(n), "a", "/n#/x"));
    println!("{:<28}{few:>10.1}{many:>12.1}", "path regexes, 10 and 1,000");
}
