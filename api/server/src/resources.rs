//! Reading and writing resources of every kind: one set of operations for all of them.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ballast_model::api::Page;
use ballast_model::{
    AnyDraft, AnyResource, CommandBody, Edit, FieldErrors, Kind, Precondition, ResourceRef,
    Snapshot,
};
use serde_json::Value;

use crate::call::{Call, read_draft};
use crate::failure::{self, Answer, Failure};
use crate::prepare::prepare;
use crate::status::Observed;
use crate::write;
use crate::{app, list};

/// How often a change that was computed from a resource is computed anew because somebody else
/// changed it meanwhile.
const CHANGE_ATTEMPT_COUNT: usize = 10;

pub(crate) async fn list(call: &Call, kind: Kind) -> Answer {
    let query = list::Query::of(call)?;
    let observed = observed(call).await?;
    let snapshot = call.app.snapshot();
    let page = list::page(snapshot.state.config.resources(kind), &query)?;
    let items = page.items.iter().map(|resource| shown(resource, observed.as_ref()));
    failure::page(&Page {
        items: items.collect::<Answer<Vec<Value>>>()?,
        total: page.total,
        next_cursor: page.next_cursor,
    })
}

pub(crate) async fn get(call: &Call, kind: Kind) -> Answer {
    let observed = observed(call).await?;
    let snapshot = call.app.snapshot();
    let resource = find(&snapshot, kind, call.name())?;
    let etag = etag(&resource)?;
    // What is observed changes without the revision.
    if observed.is_none() && call.headers.get(header::IF_NONE_MATCH) == Some(&etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    answer(StatusCode::OK, &resource, &shown(&resource, observed.as_ref())?)
}

pub(crate) async fn create(call: &Call, kind: Kind) -> Answer {
    let draft = read_body(call, kind)?;
    let written = put_draft(call, draft, Precondition::Absent).await;
    written.map_err(|mut failure| {
        if failure.code() == "already_exists" {
            // No precondition was sent that could fail: it is the request itself that conflicts.
            failure.problem.status = 409;
        }
        failure
    })
}

pub(crate) async fn put(call: &Call, kind: Kind) -> Answer {
    let mut draft = read_body(call, kind)?;
    name_from_path(&mut draft, call.name())?;
    put_draft(call, draft, call.precondition()?).await
}

/// A change of part of a resource (RFC 7396).
pub(crate) async fn patch(call: &Call, kind: Kind) -> Answer {
    let patch = call.json_value()?;
    change(call, kind, |resource| {
        let mut document = document(&resource.redacted().to_draft())?;
        merge(&mut document, &patch);
        let mut draft = read_draft(kind, document, "")
            .map_err(|fault| ballast_model::Problem::invalid(vec![fault]))?;
        name_from_path(&mut draft, resource.name())?;
        Ok(draft)
    })
    .await
}

pub(crate) async fn delete(call: &Call, kind: Kind) -> Answer {
    if kind == Kind::Node {
        return remove_node(call).await;
    }
    let edit = Edit::delete(kind, call.name()).only_if(call.precondition()?);
    let done = write::edit(call, vec![edit], Vec::new()).await?;
    Ok(done.note(failure::no_content()))
}

/// Replaces a resource by what `change` makes of it; again from the start if somebody else was
/// quicker, unless the caller said which revision it must be.
pub(crate) async fn change(
    call: &Call,
    kind: Kind,
    change: impl Fn(&AnyResource) -> Answer<AnyDraft>,
) -> Answer {
    let precondition = call.precondition()?;
    let mut snapshot = call.app.snapshot();
    if snapshot.state.config.resource(kind, call.name()).is_none() {
        snapshot = call.app.fresh_snapshot().await?;
    }
    for attempt in 1.. {
        let resource = find(&snapshot, kind, call.name())?;
        let draft = change(&resource)?;
        let precondition = match precondition {
            Precondition::Revision(_) | Precondition::Absent => precondition,
            Precondition::Any | Precondition::Exists => Precondition::Revision(resource.revision()),
        };
        match put_draft(call, draft, precondition).await {
            Err(failure)
                if failure.code() == "revision_mismatch"
                    && call.header(header::IF_MATCH).is_none_or(|tag| tag == "*")
                    && attempt < CHANGE_ATTEMPT_COUNT =>
            {
                snapshot = call.app.fresh_snapshot().await?;
            }
            answer => return answer,
        }
    }
    Err(Failure::internal("counting ended"))
}

async fn put_draft(call: &Call, draft: AnyDraft, precondition: Precondition) -> Answer {
    let mut snapshot = call.app.snapshot();
    let seen = revision(&snapshot, &draft);
    let is_as_wished = match precondition {
        Precondition::Any | Precondition::Exists => true,
        Precondition::Absent => seen.is_none(),
        Precondition::Revision(wanted) => seen == Some(wanted),
    };
    if !is_as_wished && pins(&draft) {
        snapshot = call.app.fresh_snapshot().await?;
    }
    for attempt in 1.. {
        let pinned = pinned(&snapshot, &draft, &precondition);
        let is_pinned = pinned != precondition;
        match put_once(call, &snapshot, draft.clone(), pinned).await {
            Err(failure)
                if is_pinned
                    && matches!(failure.code(), "already_exists" | "revision_mismatch")
                    && attempt < CHANGE_ATTEMPT_COUNT =>
            {
                snapshot = call.app.fresh_snapshot().await?;
            }
            answer => return answer,
        }
    }
    Err(Failure::internal("counting ended"))
}

/// Whether what is prepared depends on what is there: a token has a secret only when it is new, and
/// a chain without a key is checked against the key that is stored.
fn pins(draft: &AnyDraft) -> bool {
    match draft {
        AnyDraft::Token(_) => true,
        AnyDraft::Certificate(draft) => draft.spec.private_key_pem.is_none(),
        AnyDraft::JwtProvider(_)
        | AnyDraft::Monitor(_)
        | AnyDraft::Node(_)
        | AnyDraft::Policy(_)
        | AnyDraft::Pool(_)
        | AnyDraft::Region(_)
        | AnyDraft::TrafficGroup(_)
        | AnyDraft::User(_)
        | AnyDraft::VirtualServer(_) => false,
    }
}

/// The precondition under which what is prepared from `snapshot` is right.
fn pinned(snapshot: &Snapshot, draft: &AnyDraft, wished: &Precondition) -> Precondition {
    match (wished, revision(snapshot, draft)) {
        (Precondition::Any | Precondition::Exists, Some(seen)) if pins(draft) => {
            Precondition::Revision(seen)
        }
        (Precondition::Any, None) if pins(draft) => Precondition::Absent,
        _ => *wished,
    }
}

fn revision(snapshot: &Snapshot, draft: &AnyDraft) -> Option<u64> {
    let resource = snapshot.state.config.resource(draft.kind(), draft.name());
    resource.map(|resource| resource.revision())
}

async fn put_once(
    call: &Call,
    before: &Snapshot,
    mut draft: AnyDraft,
    precondition: Precondition,
) -> Answer {
    let (kind, name) = (draft.kind(), draft.name().to_owned());
    let mut errors = FieldErrors::default();
    let secret = prepare(&call.app, &before.state.config, &mut draft, &mut errors).await?;
    let uid = app::random_id();
    let edit = Edit::put(draft, &uid).only_if(precondition);
    let done = write::edit(call, vec![edit], errors.into_vec()).await?;
    let Some(resource) = done.state.config.resource(kind, &name) else {
        // Somebody deleted it between the write and the answer.
        return Ok(done.note(failure::no_content()));
    };
    let mut value = shown(&resource, None)?;
    let was_created = value.get("uid").and_then(Value::as_str) == Some(&uid);
    if was_created
        && let (Some(secret), Value::Object(fields)) = (secret.filter(|_| done.written), &mut value)
    {
        fields.insert("secret".to_owned(), secret.into());
    }
    let status = match was_created && done.written {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    let mut response = answer(status, &resource, &value)?;
    if status == StatusCode::CREATED
        && let Ok(location) = format!("/api/v1/{}/{name}", kind.plural()).parse::<HeaderValue>()
    {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(done.note(response))
}

async fn remove_node(call: &Call) -> Answer {
    let name = call.name().to_owned();
    if let Precondition::Revision(wanted) = call.precondition()?
        && let snapshot = call.app.fresh_snapshot().await?
        && let Some(node) = snapshot.state.config.nodes.get(&name)
        && wanted != node.revision
    {
        let found = Some(node.revision);
        let resource = ResourceRef { kind: Kind::Node, name };
        return Err(ballast_model::Rejection::RevisionMismatch { resource, wanted, found }.into());
    }
    let done = write::commit(call, CommandBody::RemoveNode { name }, Vec::new()).await?;
    Ok(done.note(failure::no_content()))
}

/// The resource, without secrets, with what is observed of it if that was asked for.
fn shown(resource: &AnyResource, observed: Option<&Observed>) -> Answer<Value> {
    let mut value = serde_json::to_value(resource.redacted()).map_err(Failure::internal)?;
    if let (Some(status), Value::Object(fields)) =
        (observed.and_then(|observed| observed.of(resource)), &mut value)
    {
        fields.insert("status".to_owned(), status);
    }
    Ok(value)
}

async fn observed(call: &Call) -> Answer<Option<Observed>> {
    Ok(if call.flag("status")? { Some(Observed::gather(&call.app).await) } else { None })
}

fn find(snapshot: &Snapshot, kind: Kind, name: &str) -> Answer<AnyResource> {
    let found = snapshot.state.config.resource(kind, name);
    found.ok_or_else(|| Failure::not_found(format!("{}/{name}", kind.plural())))
}

fn answer(status: StatusCode, resource: &AnyResource, value: &Value) -> Answer<Response> {
    let mut response = failure::json(status, value)?;
    response.headers_mut().insert(header::ETAG, etag(resource)?);
    Ok(response)
}

fn etag(resource: &AnyResource) -> Answer<HeaderValue> {
    format!("\"{}\"", resource.revision()).parse().map_err(Failure::internal)
}

fn read_body(call: &Call, kind: Kind) -> Answer<AnyDraft> {
    let value = call.json_value()?;
    read_draft(kind, value, "").map_err(|fault| ballast_model::Problem::invalid(vec![fault]).into())
}

/// The name in the path is the resource's; one in the body must be the same.
fn name_from_path(draft: &mut AnyDraft, name: &str) -> Answer<()> {
    if !draft.name().is_empty() && draft.name() != name {
        let mut errors = FieldErrors::default();
        let message = format!("is {:?}, but the path says {name:?}", draft.name());
        errors.push("name", "name_mismatch", message);
        return Err(Failure::invalid(errors));
    }
    draft.rename(name);
    Ok(())
}

/// A declaration as its author would write it.
fn document(draft: &AnyDraft) -> Answer<Value> {
    let mut value = serde_json::to_value(draft).map_err(Failure::internal)?;
    Ok(value.get_mut("draft").map(Value::take).unwrap_or_default())
}

/// RFC 7396 §2.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests;
