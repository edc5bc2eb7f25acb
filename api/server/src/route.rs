//! Everything that the API can do, and who may ask for it.
//!
//! This is the one place where that is said: the router, the check of roles and the OpenAPI
//! document are all made from [`routes`].

use axum::http::Method;
use ballast_model::{AdminState, Availability, Kind, Role};

/// Largest body of a request, in bytes.
const BODY_MAX_BYTES: usize = 1024 * 1024;
/// The same for policies and regions, which may be long lists.
const LARGE_BODY_MAX_BYTES: usize = 8 * 1024 * 1024;
/// Largest declaration, in bytes.
const DECLARATION_MAX_BYTES: usize = 32 * 1024 * 1024;
/// Largest body from somebody who has not signed in yet, in bytes.
const PUBLIC_BODY_MAX_BYTES: usize = 16 * 1024;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Apply,
    Cluster,
    Create(Kind),
    CreateJoinToken,
    CurrentSession,
    Delete(Kind),
    DeleteMember,
    Events,
    Explain,
    Export,
    Failover,
    ForgetClients,
    Get(Kind),
    Ha,
    HaEvents,
    HaPreview,
    Healthz,
    List(Kind),
    LocalStatus,
    LogIn,
    LogOut,
    Metrics,
    OpenApi,
    Patch(Kind),
    PatchMember,
    Plan,
    Put(Kind),
    PutMember,
    Readyz,
    SetAvailability(Availability),
    SetMember(AdminState),
    SetUp,
    SetupState,
    Standby,
    Status,
    Tail,
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Whoever is signed in with this role or a greater one.
    AtLeast(Role),
    /// Anybody.
    Public,
}

/// One method of one path.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) method: Method,
    /// With `{name}`, `{pool}` and `{member}` for what varies.
    pub(crate) path: String,
    pub(crate) operation: Operation,
    pub(crate) access: Access,
    pub(crate) summary: String,
    /// Query parameters that are understood; others are refused.
    pub(crate) parameters: &'static [&'static str],
    /// Largest body, in bytes; 0 where none is expected (and any is ignored).
    pub(crate) body_max_bytes: usize,
}

/// Query parameters of a list.
const LIST: &[&str] = &["cursor", "label", "limit", "q", "sort", "status"];
/// Query parameters of a read.
const READ: &[&str] = &["status"];
/// Query parameters of a write.
const WRITE: &[&str] = &["dry_run", "wait", "wait_timeout_ms"];
/// Query parameters of making a declaration.
const APPLY: &[&str] = &["dry_run", "label", "prune", "wait", "wait_timeout_ms"];
/// Query parameters of planning one.
const PLAN: &[&str] = &["label", "prune"];
/// Query parameters of the event stream.
const EVENTS: &[&str] = &["kinds", "last_event_id"];
/// Query parameters of the live tail.
const TAIL: &[&str] = &[
    "client",
    "member",
    "min_duration_ms",
    "node",
    "path_prefix",
    "pool",
    "rate_max_per_s",
    "reason",
    "status",
    "virtual_server",
];
/// Who may see requests of clients.
pub(crate) const TAIL_ROLE: Role = Role::Operator;

/// Query parameters of the timeline of traffic groups.
const HA_EVENTS: &[&str] = &["group", "limit", "node"];
/// Query parameters of "what if".
const HA_PREVIEW: &[&str] = &["down"];

const VIEWER: Access = Access::AtLeast(Role::Viewer);
const OPERATOR: Access = Access::AtLeast(Role::Operator);
const EDITOR: Access = Access::AtLeast(Role::Editor);
const ADMIN: Access = Access::AtLeast(Role::Admin);

/// Every route of the API.
pub(crate) fn routes() -> Vec<Route> {
    let mut routes = Vec::new();
    system_routes(&mut routes);
    session_routes(&mut routes);
    for kind in Kind::ALL {
        resource_routes(&mut routes, *kind);
    }
    member_routes(&mut routes);
    ha_routes(&mut routes);
    routes
}

fn system_routes(routes: &mut Vec<Route>) {
    use Operation as Op;
    let mut add = |method, path: &str, operation, access, summary: &str| {
        routes.push(route(method, path, operation, access, summary));
    };
    add(Method::GET, "/healthz", Op::Healthz, Access::Public, "Whether the process is alive");
    add(
        Method::GET,
        "/readyz",
        Op::Readyz,
        Access::Public,
        "Whether this node carries the configuration out",
    );
    add(Method::GET, "/metrics", Op::Metrics, VIEWER, "Prometheus metrics of this node");
    add(
        Method::GET,
        "/api/v1/openapi.json",
        Op::OpenApi,
        Access::Public,
        "This description of the API",
    );
    add(
        Method::GET,
        "/api/v1/status",
        Op::Status,
        VIEWER,
        "What all nodes report, and everything that is not as it should be",
    );
    add(
        Method::GET,
        "/api/v1/status/local",
        Op::LocalStatus,
        VIEWER,
        "What the answering node reports of itself",
    );
    add(
        Method::GET,
        "/api/v1/events",
        Op::Events,
        VIEWER,
        "Server-sent events: changes of the configuration anywhere, and what the answering node \
         sees of members' health and of the leader; resumes after Last-Event-ID",
    );
    add(
        Method::GET,
        "/api/v1/tail",
        Op::Tail,
        Access::AtLeast(TAIL_ROLE),
        "Server-sent events: requests as they are served on all traffic nodes, by a filter; secrets \
         are left out, and so is what is more than was asked for, which is counted",
    );
    add(Method::GET, "/api/v1/export", Op::Export, VIEWER, "The configuration as a declaration");
    add(Method::POST, "/api/v1/plan", Op::Plan, VIEWER, "What making a declaration would change");
    add(
        Method::POST,
        "/api/v1/apply",
        Op::Apply,
        EDITOR,
        "Makes a declaration, all of it or nothing",
    );
    add(Method::GET, "/api/v1/cluster", Op::Cluster, VIEWER, "What the cluster knows of itself");
    add(
        Method::POST,
        "/api/v1/cluster/join-tokens",
        Op::CreateJoinToken,
        ADMIN,
        "Leave for one more node to join, for 15 minutes; shown once",
    );
}

fn session_routes(routes: &mut Vec<Route>) {
    use Operation as Op;
    let mut add = |method, path: &str, operation, access, summary: &str| {
        routes.push(route(method, path, operation, access, summary));
    };
    add(
        Method::GET,
        "/api/v1/setup",
        Op::SetupState,
        Access::Public,
        "Whether the cluster waits for its first administrator",
    );
    add(
        Method::POST,
        "/api/v1/setup",
        Op::SetUp,
        Access::Public,
        "Makes the first administrator with the one-time code, and signs in",
    );
    add(Method::POST, "/api/v1/sessions", Op::LogIn, Access::Public, "Signs in");
    add(Method::GET, "/api/v1/sessions/current", Op::CurrentSession, VIEWER, "Who is signed in");
    add(Method::DELETE, "/api/v1/sessions/current", Op::LogOut, VIEWER, "Signs out");
}

fn resource_routes(routes: &mut Vec<Route>, kind: Kind) {
    let (one, many) = (kind.singular(), kind.plural());
    let collection = format!("/api/v1/{many}");
    let item = format!("{collection}/{{name}}");
    let write = match kind {
        Kind::Certificate
        | Kind::JwtProvider
        | Kind::Monitor
        | Kind::Policy
        | Kind::Pool
        | Kind::Region
        | Kind::TrafficGroup
        | Kind::VirtualServer => EDITOR,
        Kind::Node | Kind::Token | Kind::User => ADMIN,
    };
    let delete = match kind {
        Kind::Node => "Takes a node out of the cluster for good".to_owned(),
        _ => format!("Deletes a {one} that nothing names"),
    };
    for (method, path, operation, access, summary) in [
        (Method::GET, &collection, Operation::List(kind), VIEWER, format!("Lists {many}")),
        (Method::POST, &collection, Operation::Create(kind), write, format!("Creates a {one}")),
        (Method::GET, &item, Operation::Get(kind), VIEWER, format!("Reads a {one}")),
        (
            Method::PUT,
            &item,
            Operation::Put(kind),
            write,
            format!("Creates or replaces a {one}; idempotent"),
        ),
        (
            Method::PATCH,
            &item,
            Operation::Patch(kind),
            write,
            format!("Changes part of a {one}: JSON merge patch (RFC 7396)"),
        ),
        (Method::DELETE, &item, Operation::Delete(kind), write, delete),
    ] {
        routes.push(route(method, path, operation, access, &summary));
    }
}

fn member_routes(routes: &mut Vec<Route>) {
    use Operation as Op;
    let member = "/api/v1/pools/{name}/members/{member}";
    let mut add = |method, path: &str, operation, access, summary: &str| {
        routes.push(route(method, path, operation, access, summary));
    };
    add(Method::PUT, member, Op::PutMember, EDITOR, "Adds a member to a pool, or replaces it");
    add(
        Method::PATCH,
        member,
        Op::PatchMember,
        EDITOR,
        "Changes part of a member: JSON merge patch (RFC 7396)",
    );
    add(Method::DELETE, member, Op::DeleteMember, EDITOR, "Takes a member out of its pool");
    for (action, state, summary) in [
        ("enable", AdminState::Enabled, "Lets a member take all requests"),
        ("disable", AdminState::Disabled, "Leaves a member its persistent sessions only"),
        (
            "drain",
            AdminState::Draining,
            "Leaves a member its persistent sessions until a deadline, if one is given",
        ),
        ("force-offline", AdminState::ForcedOffline, "Takes a member out of service at once"),
    ] {
        let path = format!("{member}/{action}");
        add(Method::POST, &path, Op::SetMember(state), OPERATOR, summary);
    }
    add(
        Method::POST,
        "/api/v1/pools/{name}/forget-clients",
        Op::ForgetClients,
        OPERATOR,
        "Has a pool forget which clients belong to which member; cookies of ours stay good",
    );
}

fn ha_routes(routes: &mut Vec<Route>) {
    use Operation as Op;
    let mut add = |method, path: &str, operation, access, summary: &str| {
        routes.push(route(method, path, operation, access, summary));
    };
    add(
        Method::POST,
        "/api/v1/explain",
        Op::Explain,
        VIEWER,
        "Why a described request would get what it gets on this node; nothing is counted",
    );
    add(
        Method::GET,
        "/api/v1/ha",
        Op::Ha,
        VIEWER,
        "Every traffic group: who owns it, who is next, and what is wrong",
    );
    add(
        Method::GET,
        "/api/v1/ha/events",
        Op::HaEvents,
        VIEWER,
        "What became of traffic groups on all nodes, the newest first",
    );
    add(
        Method::GET,
        "/api/v1/ha/preview",
        Op::HaPreview,
        VIEWER,
        "Who would take what, and what each would then carry, if nodes died",
    );
    add(
        Method::POST,
        "/api/v1/traffic-groups/{name}/failover",
        Op::Failover,
        OPERATOR,
        "Moves a traffic group to another node; needs no quorum",
    );
    add(
        Method::POST,
        "/api/v1/nodes/{name}/standby",
        Op::Standby,
        OPERATOR,
        "Moves every traffic group that a node owns to others; needs no quorum",
    );
    for (availability, summary) in [
        (Availability::Available, "Lets a node own traffic groups"),
        (Availability::Maintenance, "Lets a node own traffic groups only where nobody else can"),
        (Availability::Offline, "Lets a node own no traffic group"),
    ] {
        let path = format!("/api/v1/nodes/{{name}}/availability/{}", availability.as_str());
        add(Method::POST, &path, Op::SetAvailability(availability), OPERATOR, summary);
    }
}

fn route(method: Method, path: &str, operation: Operation, access: Access, summary: &str) -> Route {
    let (parameters, body_max_bytes) = match operation {
        Operation::Apply => (APPLY, DECLARATION_MAX_BYTES),
        Operation::Plan => (PLAN, DECLARATION_MAX_BYTES),
        Operation::List(_) => (LIST, 0),
        Operation::Get(_) => (READ, 0),
        Operation::Events => (EVENTS, 0),
        Operation::Tail => (TAIL, 0),
        Operation::HaEvents => (HA_EVENTS, 0),
        Operation::HaPreview => (HA_PREVIEW, 0),
        Operation::Explain | Operation::Failover => (&[][..], BODY_MAX_BYTES),
        Operation::SetUp | Operation::LogIn => (&[][..], PUBLIC_BODY_MAX_BYTES),
        Operation::Delete(_)
        | Operation::DeleteMember
        | Operation::ForgetClients
        | Operation::SetAvailability(_) => (WRITE, 0),
        Operation::Create(kind) | Operation::Put(kind) | Operation::Patch(kind)
            if matches!(kind, Kind::Policy | Kind::Region) =>
        {
            (WRITE, LARGE_BODY_MAX_BYTES)
        }
        Operation::Create(_)
        | Operation::Put(_)
        | Operation::Patch(_)
        | Operation::PutMember
        | Operation::PatchMember
        | Operation::SetMember(_) => (WRITE, BODY_MAX_BYTES),
        Operation::CreateJoinToken => (&[][..], BODY_MAX_BYTES),
        _ => (&[][..], 0),
    };
    Route {
        method,
        path: path.to_owned(),
        operation,
        access,
        summary: summary.to_owned(),
        parameters,
        body_max_bytes,
    }
}

impl Route {
    /// Whether the operation changes something, and so is audited.
    pub(crate) fn is_write(&self) -> bool {
        !self.method.is_safe() && !matches!(self.operation, Operation::Plan | Operation::Explain)
    }
}
