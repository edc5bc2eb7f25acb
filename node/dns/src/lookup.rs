//! Asking name servers.
//!
//! Invariant: a name is asked for as it is declared, whole; an answer is good where some addresses came,
//! and says of which family it knows nothing because that question failed. "There are no such records"
//! is an answer.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ballast_model::limits::MEMBER_WEIGHT_MAX;
use ballast_model::{AddressFamily, DnsMember, DnsRecord};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ServerOrderingStrategy,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};

use crate::source::{Answer, Shape, Unanswered};

/// Longest time for all questions of one name.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for the addresses of one family: the other's are not held up by a name server that
/// leaves questions for it without an answer.
const FAMILY_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for one name server.
const SERVER_TIMEOUT: Duration = Duration::from_secs(2);
/// How often each name server is asked again.
const ATTEMPT_COUNT: usize = 2;
/// Most hosts of an SRV answer whose addresses are asked for.
const SRV_TARGET_MAX_COUNT: usize = 64;
/// How much of an error is told.
const TEXT_MAX_CHARS: usize = 300;

/// A lookup under way.
pub type LookupFuture = Pin<Box<dyn Future<Output = Result<Answer, String>> + Send>>;
/// Carries out lookups.
pub type LookupFn = Arc<dyn Fn(DnsMember) -> LookupFuture + Send + Sync>;

/// Lookups by name servers: those of the declaration, or those of the system.
pub fn by_name_server() -> LookupFn {
    Arc::new(|spec| {
        Box::pin(async move {
            match tokio::time::timeout(LOOKUP_TIMEOUT, look_up(&spec)).await {
                Ok(answer) => answer,
                Err(_elapsed) => {
                    Err(format!("no whole answer within {} s", LOOKUP_TIMEOUT.as_secs()))
                }
            }
        })
    })
}

async fn look_up(spec: &DnsMember) -> Result<Answer, String> {
    // Made anew each time: the system's settings may have changed, and nothing is kept between two
    // questions that are seconds apart at least.
    let resolver = resolver(&spec.resolvers)?;
    let mut answer = match spec.record {
        DnsRecord::Address => {
            let Some(port) = spec.port else { return Err("no port is declared".to_owned()) };
            let shape = Shape { weight: spec.weight, priority: spec.priority };
            addresses(&resolver, &spec.host, spec.family, port, shape).await?
        }
        DnsRecord::Srv => services(&resolver, spec).await?,
    };
    answer.found.retain(|address, _| is_usable(address));
    Ok(answer)
}

fn resolver(servers: &[SocketAddr]) -> Result<TokioResolver, String> {
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio()
            .map_err(|error| format!("the system's name servers can't be had: {error}"))?
    } else {
        let servers = servers.iter().map(|server| {
            let to = |mut connection: ConnectionConfig| {
                connection.port = server.port();
                connection
            };
            let connections = vec![to(ConnectionConfig::udp()), to(ConnectionConfig::tcp())];
            NameServerConfig::new(server.ip(), true, connections)
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        let provider = TokioRuntimeProvider::default();
        let mut builder = TokioResolver::builder_with_config(config, provider);
        // Who names name servers wants them asked, and nobody else.
        builder.options_mut().use_hosts_file = ResolveHosts::Never;
        builder
    };
    let options = builder.options_mut();
    options.cache_size = 0;
    options.timeout = SERVER_TIMEOUT;
    options.attempts = ATTEMPT_COUNT;
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    builder.build().map_err(|error| told(&error))
}

/// The addresses of a host.
async fn addresses(
    resolver: &TokioResolver,
    host: &str,
    family: AddressFamily,
    port: u16,
    shape: Shape,
) -> Result<Answer, String> {
    // With a final dot it is whole: no search list is gone through.
    let name = format!("{}.", host.trim_end_matches('.'));
    let (wants_ipv4, wants_ipv6) = (family != AddressFamily::Ipv6, family != AddressFamily::Ipv4);
    let (ipv4, ipv6) = tokio::join!(
        of_type(resolver, &name, RecordType::A, wants_ipv4),
        of_type(resolver, &name, RecordType::AAAA, wants_ipv6),
    );
    let mut answer = Answer { ttl_s: u32::MAX, ..Answer::default() };
    let mut nothing = None;
    for (outcome, unanswered) in
        [(ipv4, &mut answer.unanswered.ipv4), (ipv6, &mut answer.unanswered.ipv6)]
    {
        match outcome {
            Ok(records) => {
                answer.ttl_s = answer.ttl_s.min(records.ttl_s);
                let found =
                    records.addresses.into_iter().map(|ip| (SocketAddr::new(ip, port), shape));
                answer.found.extend(found);
            }
            Err(NoRecords::Answered(why)) => nothing = Some(why),
            Err(NoRecords::Unanswered(why)) => *unanswered = Some(why),
        }
    }
    if answer.found.is_empty() {
        let Unanswered { ipv4, ipv6 } = answer.unanswered;
        return Err(ipv4.or(ipv6).or(nothing).unwrap_or_else(|| "it has no address".to_owned()));
    }
    let Unanswered { ipv4, ipv6 } = &mut answer.unanswered;
    for (of, why) in [("A", ipv4), ("AAAA", ipv6)] {
        *why = why.take().map(|why| format!("its {of} records: {why}"));
    }
    Ok(answer)
}

/// What came for one type of record.
struct Records {
    addresses: Vec<IpAddr>,
    /// The least of them and of the aliases on the way, in s.
    ttl_s: u32,
}

/// Why there is none.
enum NoRecords {
    /// That is the answer.
    Answered(String),
    /// Nobody has said so.
    Unanswered(String),
}

async fn of_type(
    resolver: &TokioResolver,
    name: &str,
    record_type: RecordType,
    is_wanted: bool,
) -> Result<Records, NoRecords> {
    let mut records = Records { addresses: Vec::new(), ttl_s: u32::MAX };
    if !is_wanted {
        return Ok(records);
    }
    let lookup =
        match tokio::time::timeout(FAMILY_TIMEOUT, resolver.lookup(name, record_type)).await {
            Ok(Ok(lookup)) => lookup,
            Ok(Err(error)) if error.is_no_records_found() => {
                return Err(NoRecords::Answered(told(&error)));
            }
            Ok(Err(error)) => return Err(NoRecords::Unanswered(told(&error))),
            Err(_elapsed) => {
                let limit_s = FAMILY_TIMEOUT.as_secs();
                return Err(NoRecords::Unanswered(format!("no answer within {limit_s} s")));
            }
        };
    for record in lookup.answers() {
        records.ttl_s = records.ttl_s.min(record.ttl);
        match &record.data {
            RData::A(address) => records.addresses.push(address.0.into()),
            RData::AAAA(address) => records.addresses.push(address.0.into()),
            // An alias on the way: its time to live counts too.
            _ => {}
        }
    }
    Ok(records)
}

/// The hosts of an SRV answer, with their addresses (RFC 2782).
async fn services(resolver: &TokioResolver, spec: &DnsMember) -> Result<Answer, String> {
    let name = format!("{}.", spec.host.trim_end_matches('.'));
    let lookup = resolver.lookup(name.as_str(), RecordType::SRV).await;
    let lookup = lookup.map_err(|error| told(&error))?;
    let mut answer = Answer { ttl_s: u32::MAX, ..Answer::default() };
    let mut targets = Vec::new();
    for record in lookup.answers() {
        answer.ttl_s = answer.ttl_s.min(record.ttl);
        if let RData::SRV(service) = &record.data {
            targets.push((
                service.priority,
                service.weight,
                service.port,
                service.target.to_utf8(),
            ));
        }
    }
    if targets.iter().all(|(.., target)| target == ".") {
        return Err("the service is said not to be had (SRV with the target \".\")".to_owned());
    }
    targets.sort_unstable();
    targets.truncate(SRV_TARGET_MAX_COUNT);
    let heaviest = targets.iter().map(|(_, weight, ..)| *weight).max().unwrap_or(0);
    let mut levels: Vec<_> = targets.iter().map(|(priority, ..)| *priority).collect();
    levels.dedup();
    for (priority, weight, port, target) in targets {
        let level = levels.iter().rev().position(|level| *level == priority).unwrap_or(0);
        let shape = Shape {
            weight: scaled(weight, heaviest, spec.weight),
            priority: spec.priority.saturating_add(u32::try_from(level).unwrap_or(u32::MAX)),
        };
        let of = addresses(resolver, &target, spec.family, port, shape).await;
        let of = of.map_err(|error| format!("{target} {error}"))?;
        answer.ttl_s = answer.ttl_s.min(of.ttl_s);
        answer.unanswered.ipv4 = answer.unanswered.ipv4.or(of.unanswered.ipv4);
        answer.unanswered.ipv6 = answer.unanswered.ipv6.or(of.unanswered.ipv6);
        for (address, shape) in of.found {
            answer.found.entry(address).or_insert(shape);
        }
    }
    Ok(answer)
}

/// A record's weight among others the heaviest of which is `heaviest`, as a member's.
fn scaled(weight: u16, heaviest: u16, of_zero: u16) -> u16 {
    if weight == 0 {
        return of_zero;
    }
    if heaviest <= MEMBER_WEIGHT_MAX {
        return weight;
    }
    let scaled = u32::from(weight) * u32::from(MEMBER_WEIGHT_MAX) / u32::from(heaviest);
    u16::try_from(scaled.max(1)).unwrap_or(MEMBER_WEIGHT_MAX)
}

/// Whether it can be a member's: what validation asks of those that are declared.
fn is_usable(address: &SocketAddr) -> bool {
    !address.ip().is_unspecified() && !address.ip().is_multicast() && address.port() != 0
}

fn told(error: &NetError) -> String {
    let text = if error.is_nx_domain() {
        "there is no such name (NXDOMAIN)".to_owned()
    } else if error.is_no_records_found() {
        "it has no such records".to_owned()
    } else {
        format!("it can't be resolved: {error}")
    };
    text.chars().filter(|c| !c.is_control()).take(TEXT_MAX_CHARS).collect()
}

#[cfg(test)]
pub(crate) mod tests;
