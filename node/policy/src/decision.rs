//! What is to be done with a request.

use ballast_model::Persistence;
use ballast_model::spec::policy::{self as spec, KeyPart, RequestTimeouts, RequireJwt, Respond};

use crate::compile::{CompiledPolicy, Extras, PoolIndex, RuleAction};
use crate::condition::Condition;
use crate::hash::KeyHasher;
use crate::index::Candidates;
use crate::key;
use crate::limiter::Rate;
use crate::normalize;
use crate::request::{RequestView, Subject};
use crate::split::{Split, percent_of};
use crate::template::{Place, Template};
use crate::write::{NewQuery, Redirect, write_path};

/// What a thread needs to evaluate policies. It grows to what requests and policies need and is then
/// used again: evaluating allocates nothing.
#[derive(Debug, Default)]
pub struct Scratch {
    host: Vec<u8>,
    path: Vec<u8>,
    decoded: Vec<u8>,
    matched: Vec<u32>,
    candidates: Candidates,
}

/// What finally becomes of a request.
#[derive(Clone, Copy, Debug)]
pub enum Verdict<'p> {
    /// No rule decides: the virtual server's own pool.
    Default,
    /// This pool.
    Pool(PoolIndex),
    /// One of several pools, see [`Decision::pool`].
    Split(&'p Split),
    /// The client is sent elsewhere, see [`Decision::location`].
    Redirect(&'p Redirect),
    /// This answer.
    Respond(&'p Respond),
    /// 403: the client is in a region that is denied.
    Denied {
        /// The rule that denies it.
        rule: &'p str,
        /// The region.
        region: &'p str,
    },
}

/// What is to be done with a request. In order: [`limits`](Self::limits),
/// [`require_jwt`](Self::require_jwt), then the verdict with all that changes it.
///
/// Where numbers are to be drawn, each question takes one of its own, so that the clients of one
/// pool are not the ones that are mirrored.
#[derive(Debug)]
pub struct Decision<'p, 'd, R> {
    policy: &'p CompiledPolicy,
    subject: Subject<'d, R>,
    matched: &'d [u32],
    verdict: Verdict<'p>,
}

/// A change to a header.
#[derive(Debug)]
pub enum HeaderEdit {
    /// All fields of that name go.
    Remove(Box<str>),
    /// The field has this value and no other.
    Set(Box<str>, Template),
    /// One more field.
    Add(Box<str>, Template),
}

impl HeaderEdit {
    /// The field's name as it was declared; HTTP/2 wants it in lower case (RFC 9113 §8.2.1).
    pub fn name(&self) -> &str {
        match self {
            Self::Remove(name) | Self::Set(name, _) | Self::Add(name, _) => name,
        }
    }
}

/// A rate limit of a rule.
#[derive(Debug)]
pub struct Limit {
    /// How much it lets through.
    pub rate: Rate,
    rule: Box<str>,
    position: u32,
    parts: Box<[KeyPart]>,
}

impl Limit {
    pub(crate) fn new(rule: &str, position: usize, limit: &spec::RateLimit) -> Self {
        Self {
            rate: Rate::new(limit.requests, limit.interval_s, limit.burst()),
            rule: rule.into(),
            position: position as u32,
            parts: limit.key.clone().into(),
        }
    }

    /// The rule that has it.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// What it counts by, for people.
    pub(crate) fn parts_text(&self) -> String {
        let parts = self.parts.iter().map(|part| match part {
            KeyPart::Address => "address".to_owned(),
            KeyPart::Host => "host".to_owned(),
            KeyPart::Path => "path".to_owned(),
            KeyPart::Header(name) => format!("header {name}"),
            KeyPart::Cookie(name) => format!("cookie {name}"),
        });
        parts.collect::<Vec<_>>().join(" and ")
    }
}

impl CompiledPolicy {
    /// Decides what is to be done with a request.
    pub fn evaluate<'p, 'd, R: RequestView>(
        &'p self,
        request: &'d R,
        scratch: &'d mut Scratch,
    ) -> Decision<'p, 'd, R> {
        let Scratch { host, path, decoded, matched, candidates } = scratch;
        normalize::host(request.authority(), host);
        let path = normalize::path(request.path(), path);
        let subject = Subject { request, host, path };
        matched.clear();
        self.index.look_up(subject.host, subject.path, candidates);
        let mut verdict = Verdict::Default;
        while let Some(at) = self.index.next(candidates) {
            let rule = &self.rules[at as usize];
            let holds = |when: &Condition| when.matches(&subject, decoded);
            if !(rule.is_settled || rule.when.as_deref().is_none_or(holds)) {
                continue;
            }
            if let Some(region) = rule.extras.as_ref().and_then(|e| e.denied_region(&subject)) {
                verdict = Verdict::Denied { rule: &rule.name, region };
                break;
            }
            matched.push(at);
            verdict = match &rule.action {
                RuleAction::Continue => continue,
                RuleAction::Pool(pool) => Verdict::Pool(*pool),
                RuleAction::Split(split) => Verdict::Split(split),
                RuleAction::Redirect(redirect) => Verdict::Redirect(redirect),
                RuleAction::Respond(respond) => Verdict::Respond(respond),
            };
            break;
        }
        Decision { policy: self, subject, matched, verdict }
    }
}

impl Extras {
    pub(crate) fn denied_region<R: RequestView>(&self, subject: &Subject<'_, R>) -> Option<&str> {
        if self.deny_regions.is_empty() {
            return None;
        }
        let source = subject.request.source();
        let mut regions = self.deny_regions.iter();
        regions.find(|(_, region)| region.contains(source)).map(|(name, _)| &**name)
    }
}

impl<'p, R: RequestView> Decision<'p, '_, R> {
    /// What finally becomes of the request.
    pub fn verdict(&self) -> Verdict<'p> {
        self.verdict
    }

    /// The rules that matched, in order; one that denies by region is told by the verdict alone.
    pub fn rules(&self) -> impl Iterator<Item = &'p str> {
        let policy = self.policy;
        self.matched.iter().map(move |at| &*policy.rules[*at as usize].name)
    }

    /// The pool that serves the request, if the verdict is a pool or a split. `random` is drawn
    /// evenly from all numbers; a stable split does without it.
    pub fn pool(&self, random: u64) -> Option<PoolIndex> {
        match self.verdict {
            Verdict::Pool(pool) => Some(pool),
            Verdict::Split(split) => split.pool(&self.subject, random),
            _ => None,
        }
    }

    /// Writes the `Location` of a redirect into an emptied buffer and tells the status.
    pub fn location(&self, buffer: &mut Vec<u8>) -> Option<u16> {
        let Verdict::Redirect(redirect) = self.verdict else { return None };
        buffer.clear();
        redirect.write(&self.subject, buffer);
        Some(redirect.status)
    }

    /// The rate limits that the request must pass, in order.
    pub fn limits(&self) -> impl Iterator<Item = &'p Limit> {
        self.extras().flat_map(|extras| &extras.limits)
    }

    /// The key under which a limit counts this request. `buffer` is used on the way.
    pub fn limit_key(&self, limit: &Limit, hasher: &KeyHasher, buffer: &mut Vec<u8>) -> u128 {
        buffer.clear();
        key::push(limit.rule.as_bytes(), buffer);
        buffer.extend(limit.position.to_be_bytes());
        key::write(&self.subject, &limit.parts, buffer);
        hasher.hash(buffer)
    }

    /// The tokens that the request must carry.
    pub fn require_jwt(&self) -> impl Iterator<Item = &'p RequireJwt> {
        self.extras().filter_map(|extras| extras.require_jwt.as_ref())
    }

    /// The changes to the header that the member gets, in order.
    pub fn request_edits(&self) -> impl Iterator<Item = &'p HeaderEdit> {
        self.extras().flat_map(|extras| &extras.request_edits)
    }

    /// The changes to the header that the client gets, in order.
    pub fn response_edits(&self) -> impl Iterator<Item = &'p HeaderEdit> {
        self.extras().flat_map(|extras| &extras.response_edits)
    }

    /// Writes the value that an edit gives its field into an emptied buffer; false if it removes
    /// the field.
    pub fn edit_value(&self, edit: &HeaderEdit, buffer: &mut Vec<u8>) -> bool {
        buffer.clear();
        match edit {
            HeaderEdit::Remove(_) => false,
            HeaderEdit::Set(_, value) | HeaderEdit::Add(_, value) => {
                value.write(&self.subject, None, Place::FieldValue, buffer);
                // Blanks around a value are none of it (RFC 9110 §5.5).
                let kept = buffer.trim_ascii_end().len();
                buffer.truncate(kept);
                let leading = buffer.len() - buffer.trim_ascii_start().len();
                buffer.drain(..leading);
                true
            }
        }
    }

    /// Whether a rule changes what the member is asked for.
    pub fn rewrites(&self) -> bool {
        self.extras().any(|extras| extras.rewrite.is_some())
    }

    /// Writes the host that the member gets into an emptied buffer, if a rule changes it; the last
    /// that does counts.
    pub fn rewritten_host(&self, buffer: &mut Vec<u8>) -> bool {
        let hosts = self.extras().filter_map(|extras| extras.rewrite.as_ref()?.host.as_ref());
        let Some(host) = hosts.last() else { return false };
        buffer.clear();
        host.write(&self.subject, None, Place::Host, buffer);
        true
    }

    /// Writes the path and query that the member is asked for into an emptied buffer, if a rule
    /// changes them. Paths are rewritten one after the other; of the query the last change counts.
    pub fn rewritten_target(&self, buffer: &mut Vec<u8>) -> bool {
        let rewrites = || self.extras().filter_map(|extras| extras.rewrite.as_ref());
        let query = rewrites().map(|r| &r.query).filter(|q| !matches!(q, NewQuery::Keep)).last();
        let mut paths = rewrites().filter_map(|r| r.path.as_ref());
        let first = paths.next();
        if first.is_none() && query.is_none() {
            return false;
        }
        buffer.clear();
        match first {
            Some(path) => path.write(&self.subject, self.subject.path, buffer),
            None => write_path(self.subject.path, buffer),
        }
        for path in paths {
            let old = std::mem::take(buffer);
            path.write(&self.subject, &old, buffer);
        }
        query.unwrap_or(&NewQuery::Keep).write(&self.subject, buffer);
        true
    }

    /// The pool that gets a copy of the request, if it is among those that are copied.
    pub fn mirror(&self, random: u64) -> Option<PoolIndex> {
        let (pool, percent) = self.extras().filter_map(|extras| extras.mirror).last()?;
        (percent_of(random) < percent).then_some(pool)
    }

    /// How the client finds back to its member, if a rule says so.
    pub fn persistence(&self) -> Option<&'p Persistence> {
        self.extras().filter_map(|extras| extras.persistence.as_ref()).last()
    }

    /// How soon the request gets room where it has to wait, if a rule says so.
    pub fn queue_priority(&self) -> Option<i8> {
        self.extras().filter_map(|extras| extras.queue_priority).last()
    }

    /// The timeouts that rules give.
    pub fn timeouts(&self) -> RequestTimeouts {
        self.extras().fold(RequestTimeouts::default(), |sofar, extras| {
            let new = extras.timeouts;
            RequestTimeouts {
                body_idle_timeout_ms: new.body_idle_timeout_ms.or(sofar.body_idle_timeout_ms),
                response_timeout_ms: new.response_timeout_ms.or(sofar.response_timeout_ms),
                tunnel_idle_timeout_ms: new.tunnel_idle_timeout_ms.or(sofar.tunnel_idle_timeout_ms),
            }
        })
    }

    fn extras(&self) -> impl Iterator<Item = &'p Extras> {
        let policy = self.policy;
        let rules = self.matched.iter().map(move |at| &policy.rules[*at as usize]);
        rules.filter_map(|rule| rule.extras.as_deref())
    }
}

#[cfg(test)]
mod tests;
