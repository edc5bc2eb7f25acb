//! The OpenAPI 3.1 description of the API: paths from the list of routes, schemas from the types.
//!
//! Its text is committed as `openapi.json` and checked against this code, so that nobody changes
//! the API without seeing it in a review.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use ballast_model::api::{
    ApplyReport, ClusterInfo, Credentials, DrainRequest, JoinTokenInfo, JoinTokenRequest, NewToken,
    Page, SessionInfo, SetupRequest, SetupState,
};
use ballast_model::event::Event;
use ballast_model::explain::{ExplainReport, ExplainRequest};
use ballast_model::ha::{FailoverReport, FailoverRequest, HaOverview, HaTimeline, Preview};
use ballast_model::spec::policy::{FieldMatch, PathMatch};
use ballast_model::status::{ClusterStatus, NodeStatus};
use ballast_model::{
    AdminState, Availability, CertificateSpec, Declaration, Draft, JwtProviderSpec, Kind,
    MemberSpec, MonitorSpec, NodeSpec, Plan, PolicySpec, PoolSpec, Problem, RegionSpec, Resource,
    TokenSpec, TrafficGroupSpec, UserSpec, VirtualServerSpec,
};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use crate::call::Call;
use crate::route::{Access, Operation, Route, routes};

/// Every type that requests and answers hold.
#[derive(OpenApi)]
#[openapi(components(schemas(
    ApplyReport,
    ClusterInfo,
    ClusterStatus,
    Credentials,
    Declaration,
    Draft<CertificateSpec>,
    Draft<JwtProviderSpec>,
    Draft<MonitorSpec>,
    Draft<NodeSpec>,
    Draft<TrafficGroupSpec>,
    Draft<PolicySpec>,
    Draft<PoolSpec>,
    Draft<RegionSpec>,
    Draft<TokenSpec>,
    Draft<UserSpec>,
    Draft<VirtualServerSpec>,
    DrainRequest,
    Event,
    ExplainReport,
    ExplainRequest,
    FailoverReport,
    FailoverRequest,
    FieldMatch,
    HaOverview,
    HaTimeline,
    JoinTokenInfo,
    JoinTokenRequest,
    MemberSpec,
    NewToken,
    NodeStatus,
    Page<Resource<CertificateSpec>>,
    Page<Resource<JwtProviderSpec>>,
    Page<Resource<MonitorSpec>>,
    Page<Resource<NodeSpec>>,
    Page<Resource<TrafficGroupSpec>>,
    Page<Resource<PolicySpec>>,
    Page<Resource<PoolSpec>>,
    Page<Resource<RegionSpec>>,
    Page<Resource<TokenSpec>>,
    Page<Resource<UserSpec>>,
    Page<Resource<VirtualServerSpec>>,
    PathMatch,
    Plan,
    Preview,
    Problem,
    Resource<CertificateSpec>,
    Resource<JwtProviderSpec>,
    Resource<MonitorSpec>,
    Resource<NodeSpec>,
    Resource<TrafficGroupSpec>,
    Resource<PolicySpec>,
    Resource<PoolSpec>,
    Resource<RegionSpec>,
    Resource<TokenSpec>,
    Resource<UserSpec>,
    Resource<VirtualServerSpec>,
    SessionInfo,
    SetupRequest,
    SetupState,
)))]
struct Schemas;

/// The document as it is committed: indented, with a line break at its end.
pub fn document_text() -> String {
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text.push('\n');
    text
}

/// `GET /openapi.json`.
pub(crate) fn serve(call: &Call) -> Response {
    let bytes = call.app.openapi.get_or_init(|| document_text().into()).clone();
    ([(header::CONTENT_TYPE, "application/json")], bytes).into_response()
}

/// The document.
pub(crate) fn document() -> Value {
    let mut components = serde_json::to_value(Schemas::openapi())
        .ok()
        .and_then(|mut document| document.get_mut("components").map(Value::take))
        .unwrap_or_else(|| json!({}));
    components["securitySchemes"] = json!({
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API token (blst_…), or a session's value",
        },
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": crate::auth::session::COOKIE,
            "description": "A session; changes also need its csrf_token as X-CSRF-Token",
        },
    });
    let mut paths = Map::new();
    for route in routes() {
        let path = paths.entry(route.path.clone()).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = operation(&route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Ballast",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": "Every node answers, and takes every write. Every answer has \
                X-Ballast-Index (the index up to which the node has applied the log) and \
                X-Request-Id. Every error is an RFC 9457 problem with a stable code.",
        },
        "paths": paths,
        "components": components,
    })
}

fn operation(route: &Route) -> Value {
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "tags": [tag(route.operation)],
        "parameters": parameters(route),
        "responses": responses(route),
    });
    if let Some(schema) = request_schema(route.operation) {
        let media_type = match route.operation {
            Operation::Patch(_) | Operation::PatchMember => "application/merge-patch+json",
            _ => "application/json",
        };
        operation["requestBody"] = json!({
            "required": !has_optional_body(route.operation),
            "content": { media_type: { "schema": schema } },
        });
    }
    match route.access {
        Access::Public => operation["security"] = json!([]),
        Access::AtLeast(role) => {
            operation["security"] = json!([{ "bearer": [] }, { "session": [] }]);
            operation["x-ballast-role"] = role.as_str().into();
        }
    }
    operation
}

fn operation_id(route: &Route) -> String {
    let of = |verb: &str, kind: Kind| format!("{verb}_{}", kind.singular().replace('-', "_"));
    match route.operation {
        Operation::Apply => "apply".to_owned(),
        Operation::Cluster => "read_cluster".to_owned(),
        Operation::Create(kind) => of("create", kind),
        Operation::CreateJoinToken => "create_join_token".to_owned(),
        Operation::CurrentSession => "read_session".to_owned(),
        Operation::Delete(kind) => of("delete", kind),
        Operation::DeleteMember => "delete_member".to_owned(),
        Operation::ForgetClients => "forget_clients".to_owned(),
        Operation::Events => "stream_events".to_owned(),
        Operation::Explain => "explain".to_owned(),
        Operation::Export => "export".to_owned(),
        Operation::Failover => "fail_over_traffic_group".to_owned(),
        Operation::Get(kind) => of("read", kind),
        Operation::Ha => "read_ha".to_owned(),
        Operation::HaEvents => "list_ha_events".to_owned(),
        Operation::HaPreview => "preview_ha".to_owned(),
        Operation::Healthz => "healthz".to_owned(),
        Operation::List(kind) => format!("list_{}", kind.field()),
        Operation::LocalStatus => "read_local_status".to_owned(),
        Operation::LogIn => "log_in".to_owned(),
        Operation::LogOut => "log_out".to_owned(),
        Operation::Metrics => "metrics".to_owned(),
        Operation::OpenApi => "openapi".to_owned(),
        Operation::Patch(kind) => of("patch", kind),
        Operation::PatchMember => "patch_member".to_owned(),
        Operation::Plan => "plan".to_owned(),
        Operation::Put(kind) => of("put", kind),
        Operation::PutMember => "put_member".to_owned(),
        Operation::Readyz => "readyz".to_owned(),
        Operation::SetAvailability(availability) => match availability {
            Availability::Available => "make_node_available".to_owned(),
            Availability::Maintenance => "put_node_in_maintenance".to_owned(),
            Availability::Offline => "take_node_offline".to_owned(),
        },
        Operation::SetMember(state) => match state {
            AdminState::Disabled => "disable_member".to_owned(),
            AdminState::Draining => "drain_member".to_owned(),
            AdminState::Enabled => "enable_member".to_owned(),
            AdminState::ForcedOffline => "force_member_offline".to_owned(),
        },
        Operation::SetUp => "set_up".to_owned(),
        Operation::SetupState => "read_setup_state".to_owned(),
        Operation::Standby => "put_node_on_standby".to_owned(),
        Operation::Status => "read_status".to_owned(),
        Operation::Tail => "tail".to_owned(),
    }
}

fn tag(operation: Operation) -> &'static str {
    match operation {
        Operation::Create(kind)
        | Operation::Delete(kind)
        | Operation::Get(kind)
        | Operation::List(kind)
        | Operation::Patch(kind)
        | Operation::Put(kind) => kind.plural(),
        Operation::DeleteMember
        | Operation::ForgetClients
        | Operation::PatchMember
        | Operation::PutMember
        | Operation::SetMember(_) => Kind::Pool.plural(),
        Operation::Apply | Operation::Export | Operation::Plan => "declarations",
        Operation::CurrentSession
        | Operation::LogIn
        | Operation::LogOut
        | Operation::SetUp
        | Operation::SetupState => "sessions",
        Operation::Cluster | Operation::CreateJoinToken => "cluster",
        Operation::Failover
        | Operation::Ha
        | Operation::HaEvents
        | Operation::HaPreview
        | Operation::SetAvailability(_)
        | Operation::Standby => "high-availability",
        Operation::Events
        | Operation::Explain
        | Operation::Healthz
        | Operation::LocalStatus
        | Operation::Metrics
        | Operation::OpenApi
        | Operation::Readyz
        | Operation::Status
        | Operation::Tail => "observation",
    }
}

fn parameters(route: &Route) -> Vec<Value> {
    let in_path = route.path.split('/').filter_map(|segment| {
        let name = segment.strip_prefix('{')?.strip_suffix('}')?;
        let schema = json!({ "type": "string" });
        Some(json!({ "name": name, "in": "path", "required": true, "schema": schema }))
    });
    let in_query = route.parameters.iter().map(|name| {
        let (schema, description) = match (route.operation, *name) {
            (Operation::HaEvents, "limit") => (
                json!({ "type": "integer", "minimum": 1, "maximum": 1000, "default": 100 }),
                "Most changes in the answer",
            ),
            (Operation::Tail, name) => tail_parameter(name),
            (_, name) => query_parameter(name),
        };
        json!({ "name": name, "in": "query", "schema": schema, "description": description })
    });
    let header = |name: &str, description: &str| {
        let schema = json!({ "type": "string" });
        json!({ "name": name, "in": "header", "schema": schema, "description": description })
    };
    let mut all: Vec<_> = in_path.chain(in_query).collect();
    if route.parameters.contains(&"dry_run") {
        all.push(header(
            "Idempotency-Key",
            "Names the write; the same again is not done twice, 24 h",
        ));
    }
    if has_precondition(route.operation) {
        all.push(header("If-Match", "Only if the resource still has this ETag"));
    }
    if matches!(route.operation, Operation::Put(_)) {
        all.push(header("If-None-Match", "* means: only if there is none yet"));
    }
    if route.operation == Operation::Events {
        all.push(header("Last-Event-ID", "Events after this one come first"));
    }
    all
}

fn tail_parameter(name: &str) -> (Value, &'static str) {
    let string = || json!({ "type": "string", "maxLength": 1024 });
    match name {
        "client" => (string(), "Only clients of this network, such as 192.0.2.0/24"),
        "member" => (string(), "Only this member"),
        "min_duration_ms" => {
            (json!({ "type": "integer", "minimum": 0 }), "Only what took at least so long")
        }
        "node" => (string(), "Only this node; absent: all traffic nodes"),
        "path_prefix" => (string(), "Only targets that begin so"),
        "pool" => (string(), "Only this pool"),
        "rate_max_per_s" => (
            json!({ "type": "integer", "minimum": 1, "maximum": 1000, "default": 100 }),
            "Most records of each node in a second; of further ones only the number is told",
        ),
        "reason" => (string(), "Only what failed for this reason; any: whatever failed"),
        "status" => (string(), "Only such statuses: 503, 5xx, 400-499 or none"),
        _ => (string(), "Only this virtual server"),
    }
}

fn query_parameter(name: &str) -> (Value, &'static str) {
    let boolean = || json!({ "type": "boolean", "default": false });
    let string = || json!({ "type": "string" });
    match name {
        "cursor" => (string(), "The next_cursor of the page before"),
        "down" => (string(), "Names of nodes to imagine dead, separated by commas"),
        "dry_run" => (boolean(), "Check everything, write nothing"),
        "group" => (string(), "Only changes of this traffic group"),
        "kinds" => (string(), "config, ha, health, leader, separated by commas; absent: all"),
        "label" => (
            json!({ "type": "array", "items": { "type": "string" } }),
            "key=value; only resources that carry the label",
        ),
        "last_event_id" => (string(), "As Last-Event-ID, for clients that can't send headers"),
        "limit" => (
            json!({ "type": "integer", "minimum": 1, "maximum": 500, "default": 100 }),
            "Most resources on the page",
        ),
        "node" => (string(), "Only changes on this node"),
        "prune" => {
            (boolean(), "Delete what is there but not declared (with label: only what carries it)")
        }
        "q" => (string(), "Text that name, description or a label holds"),
        "sort" => (
            json!({ "type": "string", "default": "name" }),
            "name, revision or updated_at_ms; with - before it the other way round",
        ),
        "status" => (boolean(), "Also what each node observes, as status"),
        "wait" => (
            json!({ "type": "string", "enum": ["applied"] }),
            "Answer when every live node carries the change out; others are named in \
             X-Ballast-Not-Applied",
        ),
        "wait_timeout_ms" => (
            json!({ "type": "integer", "minimum": 0, "maximum": 60000, "default": 10000 }),
            "How long to wait at most",
        ),
        _ => (string(), ""),
    }
}

fn has_precondition(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::Delete(_)
            | Operation::DeleteMember
            | Operation::ForgetClients
            | Operation::Patch(_)
            | Operation::PatchMember
            | Operation::Put(_)
            | Operation::PutMember
            | Operation::SetAvailability(_)
            | Operation::SetMember(_)
    )
}

fn has_optional_body(operation: Operation) -> bool {
    matches!(operation, Operation::CreateJoinToken | Operation::Failover | Operation::SetMember(_))
}

fn schema(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The name that the schema of `wrapper<spec of kind>` has.
fn schema_of(wrapper: &str, kind: Kind) -> String {
    let spec = match kind {
        Kind::Certificate => "CertificateSpec",
        Kind::JwtProvider => "JwtProviderSpec",
        Kind::Monitor => "MonitorSpec",
        Kind::Node => "NodeSpec",
        Kind::Policy => "PolicySpec",
        Kind::Pool => "PoolSpec",
        Kind::Region => "RegionSpec",
        Kind::Token => "TokenSpec",
        Kind::TrafficGroup => "TrafficGroupSpec",
        Kind::User => "UserSpec",
        Kind::VirtualServer => "VirtualServerSpec",
    };
    format!("{wrapper}_{spec}")
}

fn request_schema(operation: Operation) -> Option<Value> {
    Some(match operation {
        Operation::Apply | Operation::Plan => schema("Declaration"),
        Operation::Create(kind) | Operation::Put(kind) => schema(&schema_of("Draft", kind)),
        Operation::CreateJoinToken => schema("JoinTokenRequest"),
        Operation::Explain => schema("ExplainRequest"),
        Operation::Failover => schema("FailoverRequest"),
        Operation::LogIn => schema("Credentials"),
        Operation::Patch(_) | Operation::PatchMember => json!({ "type": "object" }),
        Operation::PutMember => schema("MemberSpec"),
        Operation::SetMember(AdminState::Draining) => schema("DrainRequest"),
        Operation::SetUp => schema("SetupRequest"),
        _ => return None,
    })
}

fn responses(route: &Route) -> Value {
    let mut responses = Map::new();
    for (status, description, content) in successes(route.operation) {
        let mut response = json!({ "description": description });
        if let Some((media_type, schema)) = content {
            response["content"] = json!({ media_type: { "schema": schema } });
        }
        responses.insert(status.to_owned(), response);
    }
    responses.insert(
        "default".to_owned(),
        json!({
            "description": "A problem (RFC 9457)",
            "content": { ballast_model::problem::CONTENT_TYPE: { "schema": schema("Problem") } },
        }),
    );
    responses.into()
}

type Success = (&'static str, &'static str, Option<(&'static str, Value)>);

fn successes(operation: Operation) -> Vec<Success> {
    let json = |schema: Value| Some(("application/json", schema));
    let text = |kind: &'static str| Some((kind, json!({ "type": "string" })));
    match operation {
        Operation::Apply => vec![("200", "What was done", json(schema("ApplyReport")))],
        Operation::Cluster => vec![("200", "The cluster", json(schema("ClusterInfo")))],
        Operation::Create(Kind::Token) => {
            vec![("201", "The token and, this once, its secret", json(schema("NewToken")))]
        }
        Operation::Create(kind) => {
            let resource = json(schema(&schema_of("Resource", kind)));
            vec![("200", "A dry run", resource.clone()), ("201", "Created", resource)]
        }
        Operation::CreateJoinToken => {
            vec![("201", "The join token", json(schema("JoinTokenInfo")))]
        }
        Operation::CurrentSession => vec![("200", "Who it is", json(schema("SessionInfo")))],
        Operation::Delete(_) | Operation::LogOut => vec![("204", "Done", None)],
        Operation::DeleteMember
        | Operation::ForgetClients
        | Operation::PatchMember
        | Operation::PutMember
        | Operation::SetMember(_) => {
            vec![("200", "The pool", json(schema(&schema_of("Resource", Kind::Pool))))]
        }
        Operation::Events => {
            vec![(
                "200",
                "A stream of Event documents",
                Some(("text/event-stream", schema("Event"))),
            )]
        }
        Operation::Explain => vec![("200", "Why", json(schema("ExplainReport")))],
        Operation::Export => vec![("200", "The declaration", json(schema("Declaration")))],
        Operation::Failover
        | Operation::Ha
        | Operation::HaEvents
        | Operation::HaPreview
        | Operation::SetAvailability(_)
        | Operation::Standby => ha_success(operation),
        Operation::Get(kind) => vec![
            ("200", "The resource", json(schema(&schema_of("Resource", kind)))),
            ("304", "It still has the ETag in If-None-Match", None),
        ],
        Operation::Healthz | Operation::Readyz => vec![("200", "Yes", text("text/plain"))],
        Operation::List(kind) => {
            let name = schema_of("Page_Resource", kind);
            vec![("200", "A page", json(schema(&name)))]
        }
        Operation::LocalStatus => vec![("200", "The node", json(schema("NodeStatus")))],
        Operation::LogIn | Operation::SetUp => {
            vec![("201", "The session; its cookie is set", json(schema("SessionInfo")))]
        }
        Operation::Metrics => vec![("200", "Prometheus text format 0.0.4", text("text/plain"))],
        Operation::OpenApi => {
            vec![("200", "The document", json(json!({ "type": "object" })))]
        }
        Operation::Patch(kind) => {
            vec![("200", "The resource", json(schema(&schema_of("Resource", kind))))]
        }
        Operation::Plan => vec![("200", "The plan", json(schema("Plan")))],
        Operation::Put(kind) => {
            let resource = json(schema(&schema_of("Resource", kind)));
            vec![
                ("200", "Replaced, unchanged, or a dry run", resource.clone()),
                ("201", "Created", resource),
            ]
        }
        Operation::SetupState => vec![("200", "Whether it waits", json(schema("SetupState")))],
        Operation::Status => vec![("200", "The cluster", json(schema("ClusterStatus")))],
        Operation::Tail => vec![(
            "200",
            "Events record (as in the access log, with the node), left_out (node, left_out_count) and \
             unreachable (node, why)",
            text("text/event-stream"),
        )],
    }
}

fn ha_success(operation: Operation) -> Vec<Success> {
    let (description, name) = match operation {
        Operation::Ha => ("The traffic groups", "HaOverview".to_owned()),
        Operation::HaEvents => ("The changes", "HaTimeline".to_owned()),
        Operation::HaPreview => ("What would happen", "Preview".to_owned()),
        Operation::SetAvailability(_) => ("The node", schema_of("Resource", Kind::Node)),
        _ => ("What was moved, and what was not", "FailoverReport".to_owned()),
    };
    vec![("200", description, Some(("application/json", schema(&name))))]
}
