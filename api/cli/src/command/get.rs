//! `get`: resources of a kind, or one of them.

use std::collections::BTreeSet;
use std::fmt::Write;

use ballast_client::{ClientError, ListQuery, Method, Request};
use ballast_model::status::{DnsStatus, MemberStatus};
use ballast_model::{
    CertificateSpec, DnsMember, Failback, JwtProviderSpec, Kind, MonitorKind, MonitorSpec,
    NodeSpec, PolicySpec, PoolSpec, RegionSpec, Resource, Spec, TokenSpec, TrafficGroupSpec,
    UserSpec, VirtualServerSpec,
};
use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::events::health_word;
use super::member::state;
use super::{Context, kind, label};
use crate::failure::Failure;
use crate::output::{Field, Table, Tone};
use crate::text::{safe, utc};

/// Print the resources of a kind, or one of them
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// Such as pools, virtual-servers (vs), policies, regions, monitors, certificates, nodes, users
    #[arg(value_parser = kind)]
    kind: Kind,
    /// Only the one of this name
    #[arg(conflicts_with_all = ["label", "query"])]
    name: Option<String>,
    /// Only those with this label; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// Only those whose name, description or labels hold this text
    #[arg(short, long, value_name = "TEXT")]
    query: Option<String>,
}

/// What the nodes observe of a pool.
#[derive(Debug, Default, Deserialize)]
struct Observed {
    nodes: Vec<ObservedByNode>,
}

#[derive(Debug, Deserialize)]
struct ObservedByNode {
    node: String,
    /// Absent where the node does not answer.
    #[serde(default)]
    members: Vec<MemberStatus>,
    #[serde(default)]
    dns: Vec<DnsStatus>,
}

impl Get {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (client, output) = (context.client()?, context.output);
        if let Some(name) = &self.name {
            if output.is_json() {
                return output.json(&client.get_value(self.kind, name).await?);
            }
            // Members are shown as each node sees them.
            let request = Request::api(Method::GET, [self.kind.plural(), name]);
            let request = match self.kind {
                Kind::Pool => request.query("status", "true"),
                _ => request,
            };
            let value = client.send(&request).await?.json()?;
            return output.print(&render_one(self.kind, value, output.colours())?);
        }
        let query = ListQuery { labels: self.label, q: self.query, ..ListQuery::default() };
        let values = client.list_values(self.kind, query).await?;
        if output.is_json() {
            return output.json(&values);
        }
        if values.is_empty() {
            crate::output::note(&format!("no {}", self.kind.plural()));
            return Ok(());
        }
        output.print(&render(self.kind, values, output.colours())?)
    }
}

/// A row for each resource.
pub(super) fn render(kind: Kind, values: Vec<Value>, colours: bool) -> Result<String, Failure> {
    Ok(table(kind, values)?.render(colours))
}

/// The resource's row, and what does not fit into one.
pub(super) fn render_one(kind: Kind, value: Value, colours: bool) -> Result<String, Failure> {
    let mut text = table(kind, vec![value.clone()])?.render(colours);
    let description = value["description"].as_str().unwrap_or_default();
    let labels = value["labels"].as_object().into_iter().flatten();
    let labels: Vec<_> =
        labels.map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
    if !description.is_empty() || !labels.is_empty() {
        text.push('\n');
    }
    if !description.is_empty() {
        let _infallible = write!(text, "\ndescription  {}", safe(description));
    }
    if !labels.is_empty() {
        let _infallible = write!(text, "\nlabels       {}", safe(&labels.join(", ")));
    }
    if kind == Kind::Pool {
        // Without it the members are shown as declared.
        let observed = Observed::deserialize(&value["status"]).unwrap_or_default();
        let pool: Resource<PoolSpec> = read(value)?;
        let _infallible = write!(text, "\n\n{}", members(&pool.spec, &observed).render(colours));
    }
    Ok(text)
}

fn table(kind: Kind, values: Vec<Value>) -> Result<Table, Failure> {
    match kind {
        Kind::Certificate => rows(values, &["FINGERPRINT (SHA-256)"], certificate),
        Kind::JwtProvider => rows(values, &["ISSUER", "AUDIENCES", "KEYS"], jwt_provider),
        Kind::Monitor => rows(values, &["TYPE", "EVERY", "TIMEOUT", "RISE/FALL", "CHECK"], monitor),
        Kind::Node => rows(values, &["ID", "ROLE", "CLUSTER ADDRESS", "API"], node),
        Kind::Policy => rows(values, &["RULES", "POOLS"], policy),
        Kind::Pool => rows(values, &["ALGORITHM", "MEMBERS", "MONITORS"], pool),
        Kind::Region => rows(values, &["NETWORKS"], region),
        Kind::Token => rows(values, &["ROLE", "PREFIX", "EXPIRES"], token),
        Kind::TrafficGroup => {
            let headings = &["VRID", "ADDRESSES", "HA ORDER", "ADVERTS", "FAILBACK", "STATE"];
            rows(values, headings, traffic_group)
        }
        Kind::User => rows(values, &["ROLE", "STATE"], user),
        Kind::VirtualServer => {
            let headings = &["PROTOCOL", "LISTENS ON", "POOL", "PERSISTENCE", "STATE"];
            rows(values, headings, virtual_server)
        }
    }
}

fn rows<S: Spec>(
    values: Vec<Value>,
    headings: &[&'static str],
    fields: fn(&S) -> Vec<Field>,
) -> Result<Table, Failure> {
    let mut table = Table::new(&[&["NAME"], headings, &["REVISION", "CHANGED"]].concat());
    for value in values {
        let resource: Resource<S> = read(value)?;
        let mut row = vec![resource.name.into()];
        row.extend(fields(&resource.spec));
        row.extend([resource.revision.into(), utc(resource.updated_at_ms).into()]);
        table.row(row);
    }
    Ok(table)
}

fn read<S: Spec>(value: Value) -> Result<Resource<S>, Failure> {
    let unreadable = |error: serde_json::Error| ClientError::Decode {
        context: "the server's answer can't be read; is it of the same version?".to_owned(),
        why: error.to_string(),
    };
    serde_json::from_value(value).map_err(|error| unreadable(error).into())
}

fn certificate(spec: &CertificateSpec) -> Vec<Field> {
    vec![spec.fingerprint_sha256.clone().unwrap_or_default().into()]
}

fn jwt_provider(spec: &JwtProviderSpec) -> Vec<Field> {
    let keys = match (&spec.jwks_url, spec.key_count()) {
        (Some(url), _) => url.clone(),
        (None, count) => format!("{count} inline"),
    };
    vec![
        spec.issuer.as_deref().unwrap_or("any").into(),
        spec.audiences.join(" ").into(),
        keys.into(),
    ]
}

fn policy(spec: &PolicySpec) -> Vec<Field> {
    let references = spec.references().into_iter().map(|reference| reference.target);
    let pools: BTreeSet<_> =
        references.filter(|target| target.kind == Kind::Pool).map(|target| target.name).collect();
    let pools: Vec<_> = pools.into_iter().collect();
    vec![spec.rules.len().to_string().into(), pools.join(" ").into()]
}

fn region(spec: &RegionSpec) -> Vec<Field> {
    vec![spec.cidrs.len().to_string().into()]
}

fn monitor(spec: &MonitorSpec) -> Vec<Field> {
    let check = match spec.kind {
        MonitorKind::Agent => format!("asks port {}", spec.port.unwrap_or_default()),
        MonitorKind::Grpc => match spec.grpc.as_ref().map(|grpc| grpc.service.as_str()) {
            None | Some("") => "SERVING".to_owned(),
            Some(service) => format!("{service} SERVING"),
        },
        MonitorKind::Http => match &spec.http {
            None => "GET /".to_owned(),
            Some(probe) => format!("{} {}", probe.method, probe.path),
        },
        MonitorKind::Tcp => "connects".to_owned(),
        MonitorKind::Tls => "handshake, certificate".to_owned(),
        MonitorKind::Udp => match spec.udp.as_ref().is_none_or(|udp| udp.answer_required) {
            true => "answers".to_owned(),
            false => "no ICMP fault".to_owned(),
        },
    };
    vec![
        spec.kind.as_str().into(),
        format!("{} ms", spec.interval_ms).into(),
        format!("{} ms", spec.timeout_ms).into(),
        format!("{}/{}", spec.rise, spec.fall).into(),
        check.into(),
    ]
}

fn node(spec: &NodeSpec) -> Vec<Field> {
    vec![
        spec.node_id.into(),
        spec.role.as_str().into(),
        spec.cluster_address.as_str().into(),
        spec.api_addresses.join(" ").into(),
    ]
}

fn traffic_group(spec: &TrafficGroupSpec) -> Vec<Field> {
    let addresses: Vec<_> = spec.addresses.iter().map(|a| a.address.to_string()).collect();
    let order =
        if spec.nodes.is_empty() { "every traffic node".to_owned() } else { spec.nodes.join(" ") };
    let failback = match spec.failback {
        Failback { enabled: true, delay_s } => format!("after {delay_s} s"),
        Failback { enabled: false, .. } => "off".to_owned(),
    };
    vec![
        u64::from(spec.virtual_router_id).into(),
        addresses.join(" ").into(),
        order.into(),
        format!("{} ms", spec.advert_interval_ms).into(),
        failback.into(),
        if spec.enabled { "enabled" } else { "disabled" }.into(),
    ]
}

fn pool(spec: &PoolSpec) -> Vec<Field> {
    vec![
        spec.algorithm.as_str().into(),
        (spec.members.len() + spec.dns_members.len()).to_string().into(),
        spec.monitors.join(" ").into(),
    ]
}

/// A row for each member and node that observes it.
fn members(spec: &PoolSpec, observed: &Observed) -> Table {
    let mut table = Table::new(&[
        "MEMBER",
        "ADDRESS",
        "WEIGHT",
        "WANTED",
        "NODE",
        "HEALTH",
        "IN FLIGHT",
        "REASON",
    ]);
    for member in &spec.members {
        let name = member.name();
        let declared = || -> Vec<Field> {
            vec![
                name.as_ref().into(),
                member.socket_address().to_string().into(),
                member.weight.to_string().into(),
                state(member).into(),
            ]
        };
        let before = table.len();
        for node in &observed.nodes {
            for seen in node.members.iter().filter(|seen| seen.member == name) {
                let (health, tone) = health_word(seen.health);
                let mut row = declared();
                row.extend([
                    node.node.as_str().into(),
                    Field::toned(health, tone),
                    seen.in_flight.into(),
                    seen.reason.as_str().into(),
                ]);
                table.row(row);
            }
        }
        if table.len() == before {
            let mut row = declared();
            row.extend((0..4).map(|_| Field::from("")));
            table.row(row);
        }
    }
    for dns in &spec.dns_members {
        resolved(dns, observed, &mut table);
    }
    table
}

/// A row for each node that resolves a host name, and one for each of its addresses there.
fn resolved(dns: &DnsMember, observed: &Observed, table: &mut Table) {
    let port = dns.port.map(|port| format!(":{port}")).unwrap_or_default();
    let declared = |wanted: &str| -> Vec<Field> {
        let record = dns.record.as_str();
        let host = format!("{}{port}", dns.host);
        vec![
            host.into(),
            format!("DNS {record}").into(),
            dns.weight.to_string().into(),
            wanted.into(),
        ]
    };
    let before = table.len();
    for node in &observed.nodes {
        for seen in node.dns.iter().filter(|seen| seen.host == dns.host && seen.port == dns.port) {
            let count = seen.addresses.len();
            let (word, tone, reason) = match &seen.error {
                Some(error) => ("stale", Tone::Bad, format!("{error}; {count} addresses stay")),
                None => ("resolved", Tone::Good, format!("{count} addresses for {} s", seen.ttl_s)),
            };
            let mut row = declared(dns.admin_state.as_str());
            row.extend([
                node.node.as_str().into(),
                Field::toned(word, tone),
                "".into(),
                reason.into(),
            ]);
            table.row(row);
        }
        let is_of_it = |seen: &&MemberStatus| {
            seen.address.parse().is_ok_and(|address| dns.member_name(address) == seen.member)
        };
        for seen in node.members.iter().filter(is_of_it) {
            let (health, tone) = health_word(seen.health);
            table.row(vec![
                seen.member.as_str().into(),
                seen.address.as_str().into(),
                "".into(),
                seen.admin_state.as_str().into(),
                node.node.as_str().into(),
                Field::toned(health, tone),
                seen.in_flight.into(),
                seen.reason.as_str().into(),
            ]);
        }
    }
    if table.len() == before {
        let mut row = declared(dns.admin_state.as_str());
        row.extend((0..4).map(|_| Field::from("")));
        table.row(row);
    }
}

fn token(spec: &TokenSpec) -> Vec<Field> {
    vec![
        spec.role.as_str().into(),
        spec.prefix.clone().unwrap_or_default().into(),
        spec.expires_at_ms.map_or_else(|| "never".to_owned(), utc).into(),
    ]
}

fn user(spec: &UserSpec) -> Vec<Field> {
    vec![spec.role.as_str().into(), on_or_off(!spec.disabled)]
}

fn virtual_server(spec: &VirtualServerSpec) -> Vec<Field> {
    let listeners: Vec<_> = spec.listeners().map(|listener| listener.to_string()).collect();
    vec![
        spec.protocol.as_str().into(),
        listeners.join(" ").into(),
        spec.pool.as_str().into(),
        spec.persistence.as_str().into(),
        on_or_off(spec.enabled),
    ]
}

fn on_or_off(enabled: bool) -> Field {
    match enabled {
        true => Field::toned("enabled", Tone::Good),
        false => Field::toned("disabled", Tone::Between),
    }
}
