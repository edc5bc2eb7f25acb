//! Resources as tables: the columns of each kind.
//!
//! Rows are made from the documents as they came, so that a newer server's resources can be shown.

use ballast_model::Kind;
use serde_json::Value;

use super::table as plain_table;

/// Column title, and where its value stands in the document.
type Column = (&'static str, &'static str);

fn columns(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::Certificate => &[("fingerprint sha-256", "/spec/fingerprint_sha256")],
        Kind::Monitor => &[
            ("type", "/spec/type"),
            ("interval ms", "/spec/interval_ms"),
            ("timeout ms", "/spec/timeout_ms"),
            ("rise", "/spec/rise"),
            ("fall", "/spec/fall"),
        ],
        Kind::Node => &[
            ("id", "/spec/node_id"),
            ("role", "/spec/role"),
            ("cluster address", "/spec/cluster_address"),
            ("api", "/spec/api_addresses"),
        ],
        Kind::Pool => &[
            ("algorithm", "/spec/algorithm"),
            ("members", "/spec/members"),
            ("monitors", "/spec/monitors"),
        ],
        Kind::Token => &[
            ("role", "/spec/role"),
            ("prefix", "/spec/prefix"),
            ("expires ms", "/spec/expires_at_ms"),
        ],
        Kind::User => &[("role", "/spec/role"), ("disabled", "/spec/disabled")],
        Kind::VirtualServer => &[
            ("protocol", "/spec/protocol"),
            ("addresses", "/spec/addresses"),
            ("ports", "/spec/ports"),
            ("pool", "/spec/pool"),
            ("enabled", "/spec/enabled"),
        ],
    }
}

pub(crate) fn table(kind: Kind, items: &[Value]) -> String {
    let columns = columns(kind);
    let titles = columns.iter().map(|(title, _)| *title);
    let header: Vec<_> = ["name"].into_iter().chain(titles).chain(["revision"]).collect();
    let rows = items.iter().map(|item| {
        let pointers = columns.iter().map(|(_, pointer)| *pointer);
        let all = ["/name"].into_iter().chain(pointers).chain(["/revision"]);
        all.map(|pointer| cell(item.pointer(pointer))).collect()
    });
    plain_table(&header, rows)
}

/// One resource, and for a pool its members as each node sees them.
pub(crate) fn one(kind: Kind, item: &Value) -> String {
    let mut text = table(kind, std::slice::from_ref(item));
    if kind == Kind::Pool {
        text.push('\n');
        text.push_str(&members(item));
    }
    text
}

fn members(pool: &Value) -> String {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let observed: Vec<(Value, Value)> = list(pool.pointer("/status/nodes"))
        .into_iter()
        .flat_map(|node| {
            let name = node["node"].clone();
            list(node.get("members")).into_iter().map(move |member| (name.clone(), member))
        })
        .collect();
    let declared = list(pool.pointer("/spec/members"));
    let rows = declared.iter().flat_map(|member| {
        let address = member_address(member);
        let name = member["name"].as_str().map_or_else(|| address.clone(), str::to_owned);
        let common = vec![
            name.clone(),
            address,
            cell(member.get("weight")),
            cell(member.get("admin_state")),
        ];
        let seen = observed.iter().filter(|(_, seen)| seen["member"] == name.as_str());
        let mut rows: Vec<Vec<String>> = seen
            .map(|(node, seen)| {
                let mut row = common.clone();
                row.extend([cell(Some(node)), cell(seen.get("health")), cell(seen.get("reason"))]);
                row
            })
            .collect();
        if rows.is_empty() {
            rows.push(common);
        }
        rows
    });
    plain_table(&["member", "address", "weight", "state", "node", "health", "why"], rows)
}

fn member_address(member: &Value) -> String {
    let (address, port) = (member["address"].as_str().unwrap_or(""), &member["port"]);
    match address.contains(':') {
        true => format!("[{address}]:{port}"),
        false => format!("{address}:{port}"),
    }
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        // A list of documents is counted, one of names is shown.
        Some(Value::Array(list)) if list.iter().any(Value::is_object) => list.len().to_string(),
        Some(Value::Array(list)) if list.is_empty() => "-".to_owned(),
        Some(Value::Array(list)) => {
            list.iter().map(|item| cell(Some(item))).collect::<Vec<_>>().join(", ")
        }
        Some(other) => other.to_string(),
    }
}
