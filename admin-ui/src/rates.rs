//! Rates from counters: what changed between two looks at the cluster's status.
//!
//! A counter that went backwards, or a process that started anew, begins again and never shows as a
//! negative or a giant rate.

use std::collections::{BTreeMap, VecDeque};

use ballast_model::status::ClusterStatus;

use crate::format::f64_of;

/// Samples closer together than this, in ms, are too noisy to make a rate of.
const SAMPLE_MIN_MS: f64 = 1_000.0;
/// Rates kept for the small charts.
const HISTORY_MAX_COUNT: usize = 60;

/// What happens in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rates {
    pub(crate) requests: f64,
    pub(crate) failures: f64,
    pub(crate) received_bytes: f64,
    pub(crate) sent_bytes: f64,
}

/// Whose counters they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// Everything together.
    All,
    /// A member of a pool.
    Member { pool: String, member: String },
    /// A virtual server.
    VirtualServer(String),
}

/// Turns successive statuses into rates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter {
    previous: Option<(f64, BTreeMap<Source, Totals>)>,
    rates: BTreeMap<Subject, Rates>,
    history: BTreeMap<Subject, VecDeque<f64>>,
}

/// One set of counters: of one subject, on one run of one node's process.
type Source = (Subject, String, u64);
/// Requests, failures, bytes received, bytes sent.
type Totals = [u64; 4];

impl Meter {
    /// Takes a status that was received at `now_ms`.
    pub(crate) fn observe(&mut self, now_ms: f64, status: &ClusterStatus) {
        let totals = totals(status);
        let Some((then_ms, before)) = &self.previous else {
            self.previous = Some((now_ms, totals));
            return;
        };
        let elapsed_ms = now_ms - then_ms;
        if elapsed_ms < SAMPLE_MIN_MS {
            return;
        }
        let mut rates = BTreeMap::<Subject, Rates>::new();
        for (source, now) in &totals {
            let since = before.get(source).filter(|then| then.iter().zip(now).all(|(t, n)| t <= n));
            let grown = since.map_or([0.0; 4], |then| {
                std::array::from_fn(|i| f64_of(now[i] - then[i]) / elapsed_ms * 1e3)
            });
            rates.entry(source.0.clone()).or_default().add(grown);
            if matches!(source.0, Subject::VirtualServer(_)) {
                rates.entry(Subject::All).or_default().add(grown);
            }
        }
        self.history.retain(|subject, _| rates.contains_key(subject));
        for (subject, rate) in &rates {
            if !matches!(subject, Subject::Member { .. }) {
                let history = self.history.entry(subject.clone()).or_default();
                history.push_back(rate.requests);
                if history.len() > HISTORY_MAX_COUNT {
                    history.pop_front();
                }
            }
        }
        self.rates = rates;
        self.previous = Some((now_ms, totals));
    }

    /// The latest rates; none before there were two samples.
    pub(crate) fn rates(&self, subject: &Subject) -> Option<Rates> {
        self.rates.get(subject).copied()
    }

    /// Requests per second, oldest first.
    pub(crate) fn history(&self, subject: &Subject) -> Vec<f64> {
        self.history.get(subject).map(|h| h.iter().copied().collect()).unwrap_or_default()
    }
}

impl Rates {
    fn add(&mut self, [requests, failures, received, sent]: [f64; 4]) {
        self.requests += requests;
        self.failures += failures;
        self.received_bytes += received;
        self.sent_bytes += sent;
    }
}

fn totals(status: &ClusterStatus) -> BTreeMap<Source, Totals> {
    let mut totals = BTreeMap::new();
    for node in status.nodes.iter().filter_map(|report| report.status.as_ref()) {
        for server in &node.virtual_servers {
            totals.insert(
                (
                    Subject::VirtualServer(server.name.clone()),
                    node.name.clone(),
                    node.started_at_ms,
                ),
                [
                    server.requests_total,
                    server.failures_total,
                    server.received_bytes_total,
                    server.sent_bytes_total,
                ],
            );
        }
        for member in &node.members {
            let subject =
                Subject::Member { pool: member.pool.clone(), member: member.member.clone() };
            totals.insert(
                (subject, node.name.clone(), node.started_at_ms),
                [member.requests_total, member.failures_total, 0, 0],
            );
        }
    }
    totals
}

#[cfg(test)]
mod tests;
