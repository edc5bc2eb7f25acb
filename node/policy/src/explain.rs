//! Why a request gets what it gets, in words: the same index, conditions and actions as
//! [`CompiledPolicy::evaluate`], with what that leaves out.

use crate::compile::{CompiledPolicy, Extras, Rule, RuleAction};
use crate::condition::{Condition, Path};
use crate::decision::{HeaderEdit, Scratch};
use crate::index::Candidates;
use crate::normalize;
use crate::request::{RequestView, Subject};
use crate::value::Value;

/// Most rules that an explanation tells of without their having been tried.
pub const PASSED_OVER_MAX_COUNT: usize = 256;

/// Why a request gets what it gets.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Explanation {
    /// The host as it was compared.
    pub host: String,
    /// The path as it was compared.
    pub path: String,
    /// The rules up to the one that decided, in order.
    pub steps: Vec<Step>,
    /// Rules that the index passed over and that are not among the steps.
    pub untold_count: usize,
    /// What becomes of the request.
    pub verdict: String,
}

/// What became of one rule.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Step {
    /// Its position in the policy, from 0.
    pub position: usize,
    /// Its name.
    pub rule: String,
    /// Whether its condition was tried; false: the index passed over it by host or path.
    pub tried: bool,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What became of a rule.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It does not match.
    Failed {
        /// The condition that failed: a JSON pointer into the rule, such as `/when/all/1`.
        condition: String,
        /// What it failed on.
        why: String,
    },
    /// It matches.
    Matched {
        /// What it does, in order.
        does: Vec<String>,
    },
}

impl CompiledPolicy {
    /// Tells what [`evaluate`](Self::evaluate) decides and why. Costs far more: it is for people.
    pub fn explain<R: RequestView>(&self, request: &R) -> Explanation {
        let (mut host, mut path, mut decoded) = (Vec::new(), Vec::new(), Vec::new());
        normalize::host(request.authority(), &mut host);
        let path = normalize::path(request.path(), &mut path);
        let subject = Subject { request, host: &host, path };
        let mut candidates = Candidates::default();
        self.index.look_up(&host, path, &mut candidates);
        let mut told = Explanation {
            host: text(&host),
            path: text(path),
            steps: Vec::new(),
            untold_count: 0,
            verdict: String::new(),
        };
        let mut passed_over = 0..0;
        let mut passed_over_count = 0;
        loop {
            let next = self.index.next(&mut candidates);
            passed_over.end = next.map_or(self.rules.len(), |at| at as usize);
            for at in passed_over {
                passed_over_count += 1;
                if passed_over_count > PASSED_OVER_MAX_COUNT {
                    told.untold_count += 1;
                } else {
                    told.steps.push(self.step(at, false, &subject, &mut decoded));
                }
            }
            let Some(at) = next.map(|at| at as usize) else { break };
            passed_over = at + 1..0;
            let step = self.step(at, true, &subject, &mut decoded);
            let matched = matches!(step.outcome, Outcome::Matched { .. });
            told.steps.push(step);
            if matched && self.rules[at].decides(&subject) {
                break;
            }
        }
        told.verdict = self.verdict_text(request);
        told
    }

    fn step<R: RequestView>(
        &self,
        position: usize,
        tried: bool,
        subject: &Subject<'_, R>,
        decoded: &mut Vec<u8>,
    ) -> Step {
        let rule = &self.rules[position];
        let failure =
            rule.when.as_deref().and_then(|when| why_not(when, "/when", subject, decoded));
        let outcome = match failure {
            Some((condition, why)) => Outcome::Failed { condition, why },
            None => Outcome::Matched { does: self.does(rule, subject) },
        };
        Step { position, rule: rule.name.to_string(), tried, outcome }
    }

    /// What a rule that matches does to a request.
    fn does<R: RequestView>(&self, rule: &Rule, subject: &Subject<'_, R>) -> Vec<String> {
        let mut does = Vec::new();
        if let Some(extras) = &rule.extras {
            if let Some(region) = extras.denied_region(subject) {
                return vec![format!("denies clients in region {region}: 403")];
            }
            self.tell_extras(extras, &mut does);
        }
        does.push(match &rule.action {
            RuleAction::Continue => "goes on to the next rule".to_owned(),
            RuleAction::Pool(pool) => format!("sends it to pool {}", self.pool(*pool)),
            RuleAction::Split(split) => {
                let shares =
                    split.shares().map(|(p, percent)| format!("{percent} % {}", self.pool(p)));
                format!("splits it: {}", shares.collect::<Vec<_>>().join(", "))
            }
            RuleAction::Redirect(redirect) => format!("redirects it with {}", redirect.status),
            RuleAction::Respond(respond) => format!("answers {}", respond.status),
        });
        does
    }

    fn tell_extras(&self, extras: &Extras, does: &mut Vec<String>) {
        for limit in &extras.limits {
            does.push(format!("limits the rate by {}", limit.parts_text()));
        }
        if let Some(jwt) = &extras.require_jwt {
            does.push(format!("requires a token of {}", jwt.provider));
        }
        for (whose, edits) in
            [("request", &extras.request_edits), ("response", &extras.response_edits)]
        {
            does.extend(edits.iter().map(|edit| {
                let verb = match edit {
                    HeaderEdit::Remove(_) => "removes",
                    HeaderEdit::Set(..) => "sets",
                    HeaderEdit::Add(..) => "adds",
                };
                format!("{verb} {whose} header {}", edit.name())
            }));
        }
        if extras.rewrite.is_some() {
            does.push("rewrites what the member is asked for".to_owned());
        }
        if let Some((pool, percent)) = extras.mirror {
            does.push(format!("mirrors {percent} % to pool {}", self.pool(pool)));
        }
        if extras.persistence.is_some() {
            does.push("sets the persistence".to_owned());
        }
        if !extras.timeouts.is_empty() {
            does.push("sets timeouts".to_owned());
        }
        if let Some(priority) = extras.queue_priority {
            does.push(format!("waits for members with priority {priority}"));
        }
    }

    fn verdict_text<R: RequestView>(&self, request: &R) -> String {
        use crate::decision::Verdict;
        let mut scratch = Scratch::default();
        let decision = self.evaluate(request, &mut scratch);
        match decision.verdict() {
            Verdict::Default => "the virtual server's own pool".to_owned(),
            Verdict::Pool(pool) => format!("pool {}", self.pool(pool)),
            Verdict::Split(split) if split.is_stable() => {
                let pool = decision.pool(0).map_or("", |pool| self.pool(pool));
                format!("pool {pool}, always for this client")
            }
            Verdict::Split(split) => {
                let shares =
                    split.shares().map(|(p, percent)| format!("{percent} % {}", self.pool(p)));
                format!("one of {}", shares.collect::<Vec<_>>().join(", "))
            }
            Verdict::Redirect(_) => {
                let mut location = Vec::new();
                let status = decision.location(&mut location).unwrap_or_default();
                format!("{status} to {}", text(&location))
            }
            Verdict::Respond(respond) => format!("answer {}", respond.status),
            Verdict::Denied { rule, region } => format!("403 by {rule}: in region {region}"),
        }
    }
}

impl Rule {
    fn decides<R: RequestView>(&self, subject: &Subject<'_, R>) -> bool {
        let denies = self.extras.as_ref().is_some_and(|e| e.denied_region(subject).is_some());
        denies || !matches!(self.action, RuleAction::Continue)
    }
}

/// The first condition that keeps `condition` from holding, and what it failed on; none if it holds.
fn why_not<R: RequestView>(
    condition: &Condition,
    place: &str,
    subject: &Subject<'_, R>,
    decoded: &mut Vec<u8>,
) -> Option<(String, String)> {
    if condition.matches(subject, decoded) {
        return None;
    }
    match condition {
        Condition::All(list) => list
            .iter()
            .enumerate()
            .find_map(|(i, inner)| why_not(inner, &format!("{place}/all/{i}"), subject, decoded)),
        Condition::Any(list) if list.len() == 1 => {
            why_not(&list[0], &format!("{place}/any/0"), subject, decoded)
        }
        Condition::Any(list) => {
            let why = list.iter().filter_map(|inner| why_not(inner, "", subject, decoded));
            let why: Vec<_> = why.take(4).map(|(_, why)| why).collect();
            let more = if list.len() > why.len() { "; and so on" } else { "" };
            Some((format!("{place}/any"), format!("none of them holds: {}{more}", why.join("; "))))
        }
        Condition::Not(_) => Some((format!("{place}/not"), "what must not hold does".to_owned())),
        leaf => Some((place.to_owned(), leaf_text(leaf, subject))),
    }
}

fn leaf_text<R: RequestView>(leaf: &Condition, subject: &Subject<'_, R>) -> String {
    let request = subject.request;
    match leaf {
        Condition::Host(_) if subject.host.is_empty() => "there is no host".to_owned(),
        Condition::Host(_) => format!("host {:?} is none of those", text(subject.host)),
        Condition::Path(wanted) => {
            let wanted = match wanted {
                Path::Exact(path) => format!("is not {:?}", text(path)),
                Path::Prefix(prefix) => format!("is not below {:?}", text(prefix) + "/"),
                Path::Regex(regex) => format!("does not match {:?}", regex.as_str()),
            };
            format!("path {:?} {wanted}", text(subject.path))
        }
        Condition::Method(_) => format!("method {:?} is none of those", text(request.method())),
        Condition::Header { name, value } => {
            value_text("header", name, value, subject.header(name.as_bytes()).next())
        }
        Condition::Cookie { name, value } => {
            value_text("cookie", name, value, subject.cookie(name.as_bytes()).next())
        }
        Condition::Query { name, value } => value_text("query parameter", name, value, None),
        Condition::ContentType(_) => match subject.header(b"content-type").next() {
            Some(found) => format!("content type {:?} is none of those", text(found)),
            None => "there is no content type".to_owned(),
        },
        Condition::Source(_) => format!("client {} is in none of the networks", request.source()),
        Condition::Region(regions) => {
            let names: Vec<_> = regions.iter().map(|(name, _)| &**name).collect();
            format!("client {} is not in {}", request.source(), names.join(", "))
        }
        Condition::All(_) | Condition::Any(_) | Condition::Not(_) => String::new(),
    }
}

fn value_text(what: &str, name: &str, value: &Value, found: Option<&[u8]>) -> String {
    let wanted = match value {
        Value::Present => "is missing".to_owned(),
        Value::Equals(wanted) => format!("is not {:?}", text(wanted)),
        Value::Prefix(prefix) => format!("does not start with {:?}", text(prefix)),
        Value::Regex(regex) => format!("does not match {:?}", regex.as_str()),
    };
    match found {
        Some(found) => format!("{what} {name} ({:?}) {wanted}", text(found)),
        None => format!("{what} {name} {wanted}"),
    }
}

/// Bytes for people: at most 256 of them.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(256)]).into_owned()
}

#[cfg(test)]
mod tests;
