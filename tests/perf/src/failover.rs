//! How long nobody answers on a virtual address when something dies or is moved: a pair of Ballast nodes
//! (with a witness) and a pair of keepalived with HAProxy, on labs of the same shape, with the same interval
//! of adverts, in alternated rounds.
//!
//! Faults fall evenly over the time between two adverts, at the same places for each pair.
//!
//! A client opens a new connection with a request every 5 ms; its longest time without an answer is the gap.
//! An observer asks by ARP every 20 ms who has the address; two answers to one question are a duplicate.
//!
//! "Process died" kills ballastd, and both keepalived and HAProxy: each is all of the product on its node.
//! keepalived has no command that moves addresses; the move lowers the active one's priority through a
//! tracked file, as its users do.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ballast_test_support::{ArpWatch, Probe, Segment, probe, wait_for};
use clap::{Args, ValueEnum};

use crate::report::{Bar, Report};
use crate::statistics::{median, percentile};

mod ballast;
mod keepalived;
mod pair;
mod rhythm;

use pair::{Pair, SubjectName};

/// Longest time for a round to get back to one node that answers.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
/// Answers in a row before a fault, after it, and once it is mended: 0.2 s and 1 s.
const STEADY_COUNT: usize = 40;
const OBSERVED_COUNT: usize = 200;
/// What a ratio to the peer may differ by for the probe's own grain, in ms.
const GRAIN_MS: f64 = 10.0;

/// What is measured.
#[derive(Clone, Debug, Args)]
pub(crate) struct FailoverOptions {
    #[command(flatten)]
    pub(crate) common: crate::Options,
    /// Only this fault; may be given again.
    #[arg(long)]
    only: Vec<Case>,
    /// Time between adverts, in ms.
    #[arg(long, default_value_t = 200)]
    interval: u32,
    /// Only this subject; may be given again.
    #[arg(long)]
    subject: Vec<SubjectName>,
}

/// What happens to the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Case {
    /// The active node's processes are killed.
    Sigkill,
    /// The active node's links vanish, then its processes.
    PowerOff,
    /// The active node's processes stand still, and go on after the other took over.
    StopCont,
    /// The active node is asked to stop.
    Shutdown,
    /// The address is moved by hand.
    Move,
    /// The active node's link on the clients' network goes down and comes back.
    LinkFlap,
    /// The two nodes lose each other on every network, then find each other again.
    Partition,
    /// Both start at once.
    BothBoot,
}

impl Case {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Longest gap of 99 rounds in 100 that the design promises, in ms.
    fn gap_limit_ms(self, interval_ms: u32) -> Option<f64> {
        match self {
            Self::Sigkill | Self::PowerOff if interval_ms <= 100 => Some(500.0),
            Self::Sigkill | Self::PowerOff => Some(1_000.0),
            Self::Shutdown | Self::Move => Some(200.0),
            _ => None,
        }
    }
}

/// What one round showed.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    /// Longest time without an answer, in ms.
    gap_ms: f64,
    /// Questions that two nodes answered.
    duplicates: f64,
    /// Gratuitous ARPs.
    announced: f64,
    /// From the mending of the fault to the last question that two nodes answered, in ms.
    one_owner_ms: f64,
}

type Samples = BTreeMap<(Case, SubjectName), Vec<Sample>>;

/// Measures `rounds` rounds of each case.
pub(crate) async fn run(options: &FailoverOptions, rounds: u32) -> Result<Report> {
    ensure!(rounds > 0, "no rounds");
    let pick = |all: &[Case], only: &[Case]| -> Vec<Case> {
        all.iter().copied().filter(|case| only.is_empty() || only.contains(case)).collect()
    };
    let cases = pick(Case::value_variants(), &options.only);
    let mut pairs = Vec::new();
    for name in SubjectName::value_variants() {
        if options.subject.is_empty() || options.subject.contains(name) {
            let pair = Pair::start(*name, options.interval).await;
            pairs.push(pair.with_context(|| format!("starting {name:?}"))?);
        }
    }
    let mut samples = Samples::new();
    for case in cases {
        for round in 0..rounds as usize {
            for turn in 0..pairs.len() {
                // Another subject is first in each round.
                let at = (round + turn) % pairs.len();
                let share = (round as f64 + 0.5) / f64::from(rounds);
                let sample = measure(&mut pairs[at], case, share).await;
                let name = pairs[at].name;
                let sample = sample
                    .with_context(|| format!("{} of {name:?}, round {round}", case.name()))?;
                eprintln!(
                    "{:<9} round {:>2}: {:<10} gap {:>7.1} ms, {} duplicates, {} announcements",
                    case.name(),
                    round + 1,
                    format!("{name:?}").to_lowercase(),
                    sample.gap_ms,
                    sample.duplicates,
                    sample.announced,
                );
                samples.entry((case, name)).or_default().push(sample);
            }
        }
    }
    Ok(report(&samples, rounds, options.interval))
}

/// One round: steady, the fault at that share of the time between two adverts, its mending, steady again.
async fn measure(pair: &mut Pair, case: Case, share: f64) -> Result<Sample> {
    let probe = Probe::start(&pair.client, pair.listen)?;
    let watch = ArpWatch::start(&pair.observer, pair.address)?;
    probe.wait_for_answers(STEADY_COUNT, SETTLE_LIMIT).await?;
    let active = pair.index_of(&probe.last_answer().context("nobody answers")?)?;
    if case == Case::BothBoot {
        pair.kill(0)?;
        pair.kill(1)?;
        probe.forget();
    } else {
        pair.rhythm.wait_for_share(share).await?;
    }
    let since_us = probe::now_us();
    fault(pair, case, active).await?;
    if case == Case::Partition {
        // Time for both to become active, where that is what happens.
        probe.wait_for_answers(OBSERVED_COUNT, SETTLE_LIMIT).await.context("apart")?;
    } else if case != Case::BothBoot {
        let other = pair.host(1 - active).ip().to_string();
        wait_for("the other node to answer", SETTLE_LIMIT, async || {
            probe.last_answer().as_ref() == Some(&other)
        })
        .await?;
    }
    probe.wait_for_answers(STEADY_COUNT, SETTLE_LIMIT).await.context("after the fault")?;
    let mended_us = probe::now_us();
    mend(pair, case, active).await?;
    probe.wait_for_answers(OBSERVED_COUNT, SETTLE_LIMIT).await.context("once it was mended")?;
    wait_for("one owner", SETTLE_LIMIT, async || watch.owners().len() == 1).await?;
    pair.ready(active).await?;
    let (duplicates, _) = watch.rivalry_since(since_us);
    let (_, last_us) = watch.rivalry_since(mended_us);
    Ok(Sample {
        gap_ms: probe.longest_gap_ms(since_us),
        duplicates: duplicates as f64,
        announced: watch.announced_since(since_us).values().sum::<u64>() as f64,
        one_owner_ms: last_us.map_or(0.0, |at_us| (at_us - mended_us) as f64 / 1_000.0),
    })
}

async fn fault(pair: &mut Pair, case: Case, active: usize) -> Result<()> {
    match case {
        Case::Sigkill => pair.kill(active),
        Case::PowerOff => {
            pair.host(active).unplug()?;
            pair.kill(active)
        }
        Case::StopCont => pair.stop(active),
        Case::Shutdown => pair.shutdown(active).await,
        Case::Move => pair.move_away(active).await,
        Case::LinkFlap => pair.host(active).link_down(Segment::Clients),
        Case::Partition => {
            for segment in Segment::ALL {
                pair.lab.partition(segment, &[pair.host(0)], &[pair.host(1)])?;
            }
            Ok(())
        }
        Case::BothBoot => {
            pair.start_node(0).await?;
            pair.start_node(1).await
        }
    }
}

async fn mend(pair: &mut Pair, case: Case, active: usize) -> Result<()> {
    match case {
        Case::Sigkill | Case::Shutdown => pair.start_node(active).await,
        Case::PowerOff => {
            pair.host(active).plug_in()?;
            pair.start_node(active).await
        }
        Case::StopCont => pair.go_on(active),
        Case::Move => pair.moved(active),
        Case::LinkFlap => pair.host(active).link_up(Segment::Clients),
        Case::Partition => pair.lab.heal(),
        Case::BothBoot => Ok(()),
    }
}

fn report(samples: &Samples, rounds: u32, interval_ms: u32) -> Report {
    let mut report = Report::new(&format!("failover, adverts every {interval_ms} ms"), rounds);
    let of = |samples: &[Sample], field: fn(&Sample) -> f64| -> Vec<f64> {
        samples.iter().map(field).collect()
    };
    for ((case, subject), all) in samples {
        let metrics = report.subjects.entry(format!("{subject:?}").to_lowercase()).or_default();
        let mut add = |what: &str, value: f64| {
            metrics.insert(format!("{} {what}", case.name()), (value * 10.0).round() / 10.0);
        };
        let gaps = of(all, |sample| sample.gap_ms);
        add("gap p50 ms", median(&gaps));
        add("gap p99 ms", percentile(&gaps, 0.99));
        add("gap max ms", percentile(&gaps, 1.0));
        add("duplicates", of(all, |sample| sample.duplicates).iter().sum());
        add("announcements", median(&of(all, |sample| sample.announced)));
        add("one owner p99 ms", percentile(&of(all, |sample| sample.one_owner_ms), 0.99));
    }
    for ((case, subject), all) in samples {
        if *subject != SubjectName::Ballast {
            continue;
        }
        let name = case.name();
        let gaps = of(all, |sample| sample.gap_ms);
        if let Some(limit) = case.gap_limit_ms(interval_ms) {
            let bar = Bar::at_most(&format!("{name}: gap p99, ms"), percentile(&gaps, 0.99), limit);
            report.bars.push(bar);
        }
        if *case == Case::Partition {
            let one_owner = percentile(&of(all, |sample| sample.one_owner_ms), 0.99);
            let limit = f64::from(interval_ms) + 100.0;
            let bar = Bar::at_most("partition: two owners after it healed, ms", one_owner, limit);
            report.bars.push(bar);
        }
        if let Some(peer) = samples.get(&(*case, SubjectName::Keepalived)) {
            let (own, peer) = (median(&gaps), median(&of(peer, |sample| sample.gap_ms)));
            report.ratios.insert(format!("{name} gap vs keepalived"), own / peer);
            let name = format!("{name}: median gap beyond keepalived's, ms");
            report.bars.push(Bar::at_most(&name, own - peer, GRAIN_MS));
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_takeover_breaks_its_bar_and_a_fast_one_holds() {
        let sample = |gap_ms| Sample { gap_ms, ..Sample::default() };
        let samples = |own: f64| {
            Samples::from([
                ((Case::Sigkill, SubjectName::Ballast), vec![sample(own); 5]),
                ((Case::Sigkill, SubjectName::Keepalived), vec![sample(700.0); 5]),
            ])
        };
        let holds = |own: f64, interval_ms: u32| -> Vec<bool> {
            report(&samples(own), 5, interval_ms).bars.iter().map(|bar| bar.holds).collect()
        };
        assert_eq!(holds(650.0, 200), [true, true]);
        assert_eq!(holds(900.0, 200), [true, false]);
        assert_eq!(holds(1_100.0, 200), [false, false]);
        assert_eq!(holds(650.0, 100), [false, true]);
    }
}
