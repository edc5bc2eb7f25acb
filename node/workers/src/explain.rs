//! Tells what would become of a described request, with the very policies, pools and member states
//! that serve requests.
//!
//! Invariant: asking leaves no trace: no turn is taken, no key of a limit is charged, no connection
//! is counted.

use ballast_balance::{CookieCodec, KeyHash, MemberKey, NoMember, PickInput, PickState, Pool, key};
use ballast_model::explain::{ExplainReport, ExplainRequest, ExplainStep};
use ballast_model::spec::policy::Scheme;
use ballast_model::{HashKey, Persistence, Protocol};
use ballast_policy::normalize::is_ambiguous;
use ballast_policy::{Explanation, Outcome, Request, Scratch, Verdict};

use crate::policy::PolicySet;
use crate::slot::VirtualServer;

/// What `server` would make of `request` at `now_ms`.
pub(crate) fn explain(
    server: &VirtualServer,
    request: &ExplainRequest,
    now_ms: u64,
) -> ExplainReport {
    let described = Described::new(request);
    let mut report = ExplainReport {
        verdict: "the virtual server's own pool: it has no policies".to_owned(),
        ..ExplainReport::default()
    };
    let mut pool = Some(server.pool.current().load_full());
    let mut persistence = server.persistence.clone();
    let is_refused = server.policies.is_some()
        && !server.http.allow_ambiguous_paths
        && is_ambiguous(request.path.split('?').next().unwrap_or_default().as_bytes());
    if let Some(force) = &server.http.force_https {
        let (status, port) = (force.status, force.port);
        report.verdict = format!("redirect {status} to port {port} with TLS (http.force_https)");
        pool = None;
    } else if is_refused {
        report.verdict = "refused: the path is ambiguous (http.allow_ambiguous_paths)".to_owned();
        pool = None;
    } else if let Some(policies) = &server.policies {
        let view = described.view(server.protocol);
        tell(policies, policies.policy().explain(&view), &mut report);
        let mut scratch = Scratch::default();
        let decision = policies.policy().evaluate(&view, &mut scratch);
        pool = match decision.verdict() {
            Verdict::Default => pool,
            Verdict::Pool(_) | Verdict::Split(_) => {
                let chosen = decision.pool(0).and_then(|index| policies.pool(index));
                chosen.map(|slot| slot.current().load_full())
            }
            Verdict::Redirect(_) | Verdict::Respond(_) | Verdict::Denied { .. } => None,
        };
        if let Some(own) = decision.persistence() {
            persistence = own.clone();
        }
    }
    match pool {
        Some(pool) => described.choose(&pool, &persistence, now_ms, &mut report),
        None => "no member is asked".clone_into(&mut report.why),
    }
    report
}

fn tell(policies: &PolicySet, explanation: Explanation, report: &mut ExplainReport) {
    report.host = explanation.host;
    report.path = explanation.path;
    report.untold_count = explanation.untold_count;
    report.verdict = explanation.verdict;
    let steps = explanation.steps.into_iter().map(|step| {
        let (policy, position) = policies.part(step.position);
        let rule = step.rule.split_once('/').map_or(&*step.rule, |(_, rule)| rule);
        let (matched, condition, why, does) = match step.outcome {
            Outcome::Failed { condition, why } => (false, Some(condition), Some(why), Vec::new()),
            Outcome::Matched { does } => (true, None, None, does),
        };
        let (policy, rule) = (policy.to_owned(), rule.to_owned());
        ExplainStep { policy, rule, position, matched, condition, why, does }
    });
    report.steps = steps.collect();
}

/// A described request in the shape in which one would come.
struct Described<'a> {
    request: &'a ExplainRequest,
    cookies: Option<String>,
}

impl<'a> Described<'a> {
    fn new(request: &'a ExplainRequest) -> Self {
        let pairs: Vec<_> = request.cookies.iter().map(|(k, v)| format!("{k}={v}")).collect();
        Self { request, cookies: (!pairs.is_empty()).then(|| pairs.join("; ")) }
    }

    fn headers(&self) -> Vec<(&[u8], &[u8])> {
        let headers = self.request.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let cookies = self.cookies.iter().map(|pairs| (b"cookie".as_slice(), pairs.as_bytes()));
        headers.chain(cookies).collect()
    }

    fn view(&self, protocol: Protocol) -> View<'_> {
        let (path, query) = match self.request.path.split_once('?') {
            Some((path, query)) => (path, Some(query.as_bytes())),
            None => (&*self.request.path, None),
        };
        let scheme = if protocol == Protocol::Https { Scheme::Https } else { Scheme::Http };
        View {
            headers: self.headers(),
            request: Request {
                method: self.request.method.as_bytes(),
                scheme,
                authority: self.request.host.as_bytes(),
                path: if path.is_empty() { b"/" } else { path.as_bytes() },
                query,
                source: self.request.source.to_canonical(),
                request_id: b"",
                headers: &[],
            },
        }
    }

    fn key(&self, wanted: &HashKey) -> Option<KeyHash> {
        let target = self.request.path.as_bytes();
        let headers = self.headers();
        let of = |name: &[u8]| {
            let mut headers = headers.iter();
            headers.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
        };
        let value = match wanted {
            HashKey::SourceAddress => return None,
            HashKey::Path => key::path(target),
            HashKey::Query { name } => key::query_value(target, name.as_bytes())?,
            HashKey::Cookie { name } => key::cookie_value(of(b"cookie")?, name.as_bytes())?,
            HashKey::Header { name } => of(name.as_bytes())?,
        };
        (!value.is_empty()).then(|| KeyHash::of_bytes(value))
    }

    fn choose(
        &self,
        pool: &Pool,
        persistence: &Persistence,
        now_ms: u64,
        report: &mut ExplainReport,
    ) {
        report.pool = Some(pool.name().to_owned());
        report.members = pool.statuses(now_ms).collect();
        let persistent = self.persistent(pool, persistence, now_ms);
        let input = PickInput {
            client: self.request.source.to_canonical(),
            key: pool.hash_key().and_then(|wanted| self.key(wanted)),
            random: 0,
            now_ms,
            persistent,
            exclude: &[],
        };
        let by = match persistence {
            Persistence::None => String::new(),
            Persistence::Cookie { name, .. } => format!("the cookie {name}"),
            Persistence::Source { .. } => "the pool's table, by the source address,".to_owned(),
            Persistence::Header { name, .. } => format!("the pool's table, by the header {name},"),
            Persistence::ApplicationCookie { name, .. } => {
                format!("the pool's table, by the cookie {name},")
            }
        };
        // A state of its own: the workers' turns go on as if nobody had asked.
        match pool.pick(&mut PickState::default(), &input) {
            Ok(picked) => {
                report.member = Some(picked.member.name.to_string());
                report.why = if picked.persistent {
                    format!("{by} names it")
                } else {
                    let lost = match (persistent, persistence) {
                        (None, _) => "",
                        (_, Persistence::Cookie { .. }) => {
                            "; the member of its cookie takes no requests"
                        }
                        _ => "; the member that is remembered for it takes no requests",
                    };
                    format!("chosen by {}{lost}", pool.spec().algorithm.as_str())
                };
            }
            Err(why) => report.why = no_member(why).to_owned(),
        }
    }

    /// The member that the described client belongs to; asking makes nobody count as seen.
    fn persistent(&self, pool: &Pool, persistence: &Persistence, now_ms: u64) -> Option<MemberKey> {
        let headers = self.headers();
        let mut cookies = headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(b"cookie"))
            .map(|(_, value)| *value);
        let table = pool.persistence_table();
        let known = match persistence {
            Persistence::None => None,
            Persistence::Cookie { name, .. } => {
                return cookies.find_map(|value| CookieCodec::find(value, name.as_bytes()));
            }
            Persistence::Source { .. } => {
                table.hasher().by_source(persistence, self.request.source)
            }
            Persistence::Header { name, .. } => {
                let is_it = |(other, _): &&(&[u8], _)| other.eq_ignore_ascii_case(name.as_bytes());
                let (_, value) = headers.iter().find(is_it)?;
                table.hasher().by_value(persistence, value)
            }
            Persistence::ApplicationCookie { name, .. } => {
                let value = cookies.find_map(|value| key::cookie_value(value, name.as_bytes()))?;
                table.hasher().by_value(persistence, value)
            }
        };
        table.peek(known?, now_ms)
    }
}

fn no_member(why: NoMember) -> &'static str {
    match why {
        NoMember::AllBusy | NoMember::PersistentBusy => {
            "every member that could serve it is at its connection limit: it would wait"
        }
        _ => "no member takes requests",
    }
}

/// A request and its headers, which it borrows.
struct View<'a> {
    request: Request<'a>,
    headers: Vec<(&'a [u8], &'a [u8])>,
}

impl ballast_policy::RequestView for View<'_> {
    fn method(&self) -> &[u8] {
        self.request.method
    }

    fn scheme(&self) -> Scheme {
        self.request.scheme
    }

    fn authority(&self) -> &[u8] {
        self.request.authority
    }

    fn path(&self) -> &[u8] {
        self.request.path
    }

    fn query(&self) -> Option<&[u8]> {
        self.request.query
    }

    fn source(&self) -> std::net::IpAddr {
        self.request.source
    }

    fn request_id(&self) -> &[u8] {
        self.request.request_id
    }

    fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.headers.iter().copied()
    }
}
