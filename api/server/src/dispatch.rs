//! The way of every request: who is it, may they, what did they send, do it, answer.
//!
//! Nothing below this file is reached by somebody who may not.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawPathParams, Request};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter};
use axum::{RequestExt, Router};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::OwnedSemaphorePermit;

use crate::app::{App, LargeBodies, random_id};
use crate::auth::{self, Caller};
use crate::call::Call;
use crate::failure::{Answer, Failure};
use crate::route::{Access, Operation, Route, routes};
use crate::{
    cluster, console, declaration, events, explain, ha, members, openapi, resources, sessions,
    status, tail,
};

/// Longest time for a body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest request identifier that is taken over from the caller, in bytes.
const REQUEST_ID_MAX_BYTES: usize = 64;

/// How new what is answered is: the index that the answer holds at least.
pub(crate) const INDEX_HEADER: &str = "x-ballast-index";
/// How long a large body waits for its turn to be worked on.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// The address that a request came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source(pub(crate) SocketAddr);

/// What the outermost layer knows of a request.
#[derive(Clone, Debug)]
struct RequestId(String);

/// Everything that is served to clients.
pub(crate) fn router(app: &Arc<App>) -> Router {
    let mut paths = BTreeMap::<String, MethodRouter>::new();
    for route in routes() {
        let filter = MethodFilter::try_from(route.method.clone()).unwrap_or(MethodFilter::GET);
        let (app, route) = (Arc::clone(app), Arc::new(route));
        let path = route.path.clone();
        let handler = move |request: Request| handle(app, route, request);
        let methods = paths.remove(&path).unwrap_or_default().on(filter, handler);
        paths.insert(path, methods);
    }
    let mut router = Router::new();
    for (path, methods) in paths {
        router = router.route(&path, methods.fallback(method_not_allowed));
    }
    let app = Arc::clone(app);
    router
        .fallback(console::serve_or_not_found)
        .layer(middleware::from_fn(move |request, next| frame(Arc::clone(&app), request, next)))
}

/// What every request gets, whatever becomes of it: an identifier, the index, careful headers.
async fn frame(app: Arc<App>, mut request: Request, next: Next) -> Response {
    let id = request_id(&request);
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    if response.status().is_client_error() || response.status().is_server_error() {
        response = with_request_id(response, &id).await;
    }
    let headers = response.headers_mut();
    // A write's own index may not be applied here yet.
    let written = headers.get(INDEX_HEADER).and_then(|index| index.to_str().ok()?.parse().ok());
    let index = app.snapshot().index.max(written.unwrap_or(0));
    headers.insert(HeaderName::from_static(INDEX_HEADER), index.into());
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn request_id(request: &Request) -> String {
    let given = request.headers().get("x-request-id").and_then(|value| value.to_str().ok());
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    match given {
        Some(id) if (1..=REQUEST_ID_MAX_BYTES).contains(&id.len()) && id.bytes().all(is_plain) => {
            id.to_owned()
        }
        _ => random_id(),
    }
}

/// Writes the request's identifier into a problem, wherever it was made.
async fn with_request_id(response: Response, id: &str) -> Response {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    if content_type.is_none_or(|kind| kind != ballast_model::problem::CONTENT_TYPE) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let Ok(mut problem) = serde_json::from_slice::<ballast_model::Problem>(&bytes) else {
        return Response::from_parts(parts, Body::from(bytes));
    };
    id.clone_into(&mut problem.request_id);
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(serde_json::to_vec(&problem).unwrap_or_default()))
}

async fn handle(app: Arc<App>, route: Arc<Route>, request: Request) -> Response {
    match admit(app, route, request).await {
        Ok(call) => {
            let audited = call.route.is_write().then(|| Audit::of(&call));
            let answer = run(call).await;
            if let Some(audit) = audited {
                audit.log(&answer);
            }
            answer.unwrap_or_else(Failure::into_response)
        }
        Err(failure) => failure.into_response(),
    }
}

/// Finds out who asks and whether they may, and reads what they sent.
async fn admit(app: Arc<App>, route: Arc<Route>, mut request: Request) -> Answer<Call> {
    let source = request.extensions().get::<Source>().map(|source| source.0.ip().to_string());
    let request_id = request.extensions().get::<RequestId>().map(|id| id.0.clone());
    let path = match request.extract_parts::<RawPathParams>().await {
        Ok(parameters) => parameters.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        Err(_) => return Err(Failure::new(400, "malformed_path", "The path can't be read", "")),
    };
    let (parts, body) = request.into_parts();
    let caller = authorize(&app, &route, &parts.headers).inspect_err(|failure| {
        if route.is_write() {
            tracing::warn!(
                target: "audit",
                method = %route.method,
                path = parts.uri.path(),
                source = source.as_deref().unwrap_or(""),
                request_id = request_id.as_deref().unwrap_or(""),
                code = failure.code(),
                "refused"
            );
        }
    })?;
    let query = read_query(&route, parts.uri.query().unwrap_or(""))?;
    let large = match route.operation {
        Operation::Apply => Some(&app.applies),
        Operation::Plan => Some(&app.plans),
        _ => None,
    };
    let (body, held) = read_body(&route, body, large).await?;
    let work = match large {
        Some(large) => Some(turn(large).await?),
        None => None,
    };
    Ok(Call {
        app,
        path,
        target: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        query,
        headers: parts.headers,
        body,
        _held: held,
        work: Mutex::new(work),
        caller,
        source: source.unwrap_or_default(),
        request_id: request_id.unwrap_or_default(),
        route,
    })
}

/// The one place where it is decided whether a request may be made.
fn authorize(app: &App, route: &Route, headers: &axum::http::HeaderMap) -> Answer<Option<Caller>> {
    let Access::AtLeast(needed) = route.access else { return Ok(None) };
    let Some(caller) = auth::authenticate(app, headers)? else {
        return Err(Failure::unauthenticated("this needs a session or an API token"));
    };
    if caller.role < needed {
        return Err(Failure::forbidden(needed, caller.role));
    }
    auth::check_csrf(app, &caller, &route.method, headers)?;
    Ok(Some(caller))
}

fn read_query(route: &Route, query: &str) -> Answer<Vec<(String, String)>> {
    let pairs: Vec<(String, String)> = form_pairs(query);
    match pairs.iter().find(|(key, _)| !route.parameters.contains(&key.as_str())) {
        None => Ok(pairs),
        Some((unknown, _)) => Err(Failure::parameter(
            &format!("{unknown:?}"),
            match route.parameters {
                [] => "is not understood; there are no parameters here".to_owned(),
                known => format!("is not understood; known are {}", known.join(", ")),
            },
        )),
    }
}

fn form_pairs(query: &str) -> Vec<(String, String)> {
    let uri = axum::http::Uri::builder().path_and_query(format!("/?{query}")).build();
    let pairs = uri
        .ok()
        .and_then(|uri| axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri).ok());
    pairs.map(|query| query.0).unwrap_or_default()
}

/// Leave to work on a body that is here.
async fn turn(large: &LargeBodies) -> Answer<OwnedSemaphorePermit> {
    let permit = Arc::clone(&large.work).acquire_owned();
    match tokio::time::timeout(TURN_TIMEOUT, permit).await {
        Ok(permit) => permit.map_err(Failure::internal),
        Err(_) => Err(Failure::busy("too many declarations are being worked on")),
    }
}

/// The body, and what it holds of the memory for large ones. A sender that is slow holds only as
/// much as it has sent.
async fn read_body(
    route: &Route,
    body: Body,
    large: Option<&LargeBodies>,
) -> Answer<(Bytes, Option<OwnedSemaphorePermit>)> {
    if route.body_max_bytes == 0 {
        return Ok((Bytes::new(), None));
    }
    let mut body = Limited::new(body, route.body_max_bytes);
    let reading = async {
        let mut read = BytesMut::new();
        let mut held: Option<OwnedSemaphorePermit> = None;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|error| broken(route, &error))?.into_data() else {
                continue;
            };
            if let Some(large) = large {
                let more = large.hold(data.len())?;
                match &mut held {
                    Some(held) => held.merge(more),
                    None => held = Some(more),
                }
            }
            read.extend_from_slice(&data);
        }
        Ok((read.freeze(), held))
    };
    tokio::time::timeout(BODY_TIMEOUT, reading).await.map_err(|_| {
        Failure::new(408, "body_timeout", "The body took too long", "it did not arrive in 30 s")
    })?
}

fn broken(route: &Route, error: &axum::BoxError) -> Failure {
    if error.is::<LengthLimitError>() {
        return Failure::new(
            413,
            "body_too_large",
            "The body is too large",
            format!("the most is {} bytes here", route.body_max_bytes),
        );
    }
    Failure::new(400, "body_broken", "The body broke off", "it did not end")
}

async fn run(call: Call) -> Answer {
    use Operation as Op;
    match call.route.operation {
        Op::Apply => declaration::apply(&call).await,
        Op::Cluster => cluster::show(&call),
        Op::Create(kind) => resources::create(&call, kind).await,
        Op::CreateJoinToken => cluster::create_join_token(&call).await,
        Op::CurrentSession => sessions::current(&call),
        Op::Delete(kind) => resources::delete(&call, kind).await,
        Op::DeleteMember => members::delete(&call).await,
        Op::ForgetClients => members::forget_clients(&call).await,
        Op::Events => events::stream(&call),
        Op::Explain => explain::explain(&call).await,
        Op::Export => declaration::export(&call),
        Op::Failover => ha::failover(&call).await,
        Op::Get(kind) => resources::get(&call, kind).await,
        Op::Ha => ha::overview(&call).await,
        Op::HaEvents => ha::events(&call).await,
        Op::HaPreview => ha::preview(&call).await,
        Op::Healthz => Ok("ok\n".into_response()),
        Op::List(kind) => resources::list(&call, kind).await,
        Op::LocalStatus => status::local(&call),
        Op::LogIn => sessions::log_in(&call).await,
        Op::LogOut => sessions::log_out(&call).await,
        Op::Metrics => Ok(status::metrics(&call)),
        Op::OpenApi => Ok(openapi::serve(&call)),
        Op::Patch(kind) => resources::patch(&call, kind).await,
        Op::PatchMember => members::patch(&call).await,
        Op::Plan => declaration::plan(&call).await,
        Op::Put(kind) => resources::put(&call, kind).await,
        Op::PutMember => members::put(&call).await,
        Op::Readyz => status::ready(&call),
        Op::SetAvailability(availability) => ha::set_availability(&call, availability).await,
        Op::SetMember(state) => members::set_state(&call, state).await,
        Op::SetUp => sessions::set_up(&call).await,
        Op::SetupState => sessions::setup_state(&call),
        Op::Standby => ha::standby(&call).await,
        Op::Status => status::cluster(&call).await,
        Op::Tail => tail::stream(&call),
    }
}

/// What is logged of every attempt to change something.
struct Audit {
    actor: String,
    role: &'static str,
    source: String,
    request_id: String,
    method: Method,
    target: String,
}

impl Audit {
    fn of(call: &Call) -> Self {
        Self {
            actor: call.actor().to_owned(),
            role: call.caller.as_ref().map_or("", |caller| caller.role.as_str()),
            source: call.source.clone(),
            request_id: call.request_id.clone(),
            method: call.route.method.clone(),
            target: call.target.clone(),
        }
    }

    fn log(&self, answer: &Answer) {
        let (status, code) = match answer {
            Ok(response) => (response.status().as_u16(), ""),
            Err(failure) => (failure.problem.status, failure.code()),
        };
        let Self { actor, role, source, request_id, method, target } = self;
        tracing::info!(
            target: "audit", actor, role, source, request_id, %method, path = target, status, code
        );
    }
}

async fn method_not_allowed(method: Method) -> Failure {
    let detail = format!("{method} is not among the methods in Allow");
    Failure::new(405, "method_not_allowed", "The path has no such method", detail)
}
