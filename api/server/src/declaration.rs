//! Whole configurations: plan, apply, export. Pointers of faults lead into the declaration.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use ballast_model::api::ApplyReport;
use ballast_model::{
    AnyDraft, Config, Declaration, FieldError, FieldErrors, Kind, PlanOptions, Precondition,
    Problem, ResourceRef, plan,
};
use serde_json::Value;

use crate::app::{heavy, random_id};
use crate::call::{Call, read_draft};
use crate::failure::{self, Answer, Failure};
use crate::prepare::prepare;
use crate::write;

/// What a declaration may hold, so that what is named stands before what names it.
const DECLARED: [Kind; 8] = [
    Kind::Monitor,
    Kind::Pool,
    Kind::Region,
    Kind::JwtProvider,
    Kind::Policy,
    Kind::Certificate,
    Kind::TrafficGroup,
    Kind::VirtualServer,
];
/// How often an apply is planned anew because somebody else changed something meanwhile.
const APPLY_ATTEMPT_COUNT: usize = 10;

pub(crate) fn export(call: &Call) -> Answer {
    let snapshot = call.app.snapshot();
    failure::json(StatusCode::OK, &Declaration::export(&snapshot.state.config))
}

pub(crate) async fn plan(call: &Call) -> Answer {
    let options = options(call)?;
    let declared = call.large_json(Declared::read).await?;
    let snapshot = match call.app.fresh_snapshot().await {
        Ok(snapshot) => snapshot,
        // A plan against what this node knows is better than none; its index says how old it is.
        Err(_) => call.app.snapshot(),
    };
    let (drafts, mut faults) = declared.prepared(call, &snapshot.state.config).await?;
    let planned = heavy(call.body.len(), move || {
        let config = &snapshot.state.config;
        let plan = plan::plan(config, snapshot.index, &drafts, &options);
        let edits = plan::edits(&plan, drafts, random_id);
        let refused = config.edited(&edits, snapshot.index + 1, 0).err();
        (plan, refused)
    });
    let (plan, refused) = planned.await?;
    if let Some(rejection) = refused {
        let failure = write::refused(rejection, std::mem::take(&mut faults));
        return Err(declared.locate(failure));
    }
    if !faults.is_empty() {
        return Err(declared.locate(Problem::invalid(faults).into()));
    }
    failure::json(StatusCode::OK, &plan)
}

pub(crate) async fn apply(call: &Call) -> Answer {
    let options = options(call)?;
    let declared = call.large_json(Declared::read).await?;
    let mut attempt = 1;
    loop {
        match apply_once(call, &declared, &options).await {
            Err(failure) if is_conflict(&failure) && attempt < APPLY_ATTEMPT_COUNT => {
                attempt += 1;
            }
            answer => return answer.map_err(|failure| declared.locate(failure)),
        }
    }
}

async fn apply_once(call: &Call, declared: &Declared, options: &PlanOptions) -> Answer {
    let snapshot = call.app.fresh_snapshot().await?;
    let (drafts, faults) = declared.prepared(call, &snapshot.state.config).await?;
    let options = options.clone();
    let planned = heavy(call.body.len(), move || {
        let config = &snapshot.state.config;
        let plan = plan::plan(config, snapshot.index, &drafts, &options);
        let edits = plan::edits(&plan, drafts, random_id).into_iter().map(|edit| {
            // What is made is what was planned, or nothing: the plan is what is answered.
            let precondition = match config.resource(edit.kind, &edit.name) {
                Some(resource) => Precondition::Revision(resource.revision()),
                None => Precondition::Absent,
            };
            edit.only_if(precondition)
        });
        let edits: Vec<_> = edits.collect();
        (plan, edits)
    });
    let (plan, edits) = planned.await?;
    let done = write::edit(call, edits, faults).await?;
    let report = ApplyReport { applied: done.written, index: done.index, plan };
    Ok(done.note(failure::json(StatusCode::OK, &report)?))
}

/// Whether somebody else changed what the plan was made from.
fn is_conflict(failure: &Failure) -> bool {
    matches!(failure.code(), "already_exists" | "not_found" | "revision_mismatch")
}

fn options(call: &Call) -> Answer<PlanOptions> {
    let mut labels = call.labels()?;
    if labels.len() > 1 {
        return Err(Failure::parameter("label", "can be given once"));
    }
    let options = PlanOptions { prune: call.flag("prune")?, label: labels.pop() };
    if options.label.is_some() && !options.prune {
        return Err(Failure::parameter("label", "says what prune may delete; add prune=true"));
    }
    Ok(options)
}

/// A declaration whose shape is right.
struct Declared {
    drafts: Vec<AnyDraft>,
    /// Where each resource stands in the declaration.
    pointers: BTreeMap<ResourceRef, String>,
}

impl Declared {
    /// Reads every resource on its own, so that all faults of shape are found at once.
    fn read(document: Value) -> Answer<Self> {
        let mut errors = FieldErrors::default();
        let Value::Object(mut lists) = document else {
            errors.here("invalid_type", "a declaration is an object of lists of resources");
            return Err(Failure::invalid(errors));
        };
        let mut declared = Self { drafts: Vec::new(), pointers: BTreeMap::new() };
        let mut faults = Vec::new();
        for kind in DECLARED {
            match lists.remove(kind.field()) {
                None => {}
                Some(Value::Array(list)) => declared.read_list(kind, list, &mut faults),
                Some(_) => errors.push(kind.field(), "invalid_type", "must be a list"),
            }
        }
        for key in lists.keys() {
            let message = match Kind::from_noun(key).filter(|kind| kind.field() == key) {
                Some(_) => "is no part of a declaration: it says who acts and where",
                None => "is not known",
            };
            errors.push(key, "unknown_field", message);
        }
        let mut found = errors.into_vec();
        found.extend(faults);
        if found.is_empty() { Ok(declared) } else { Err(Problem::invalid(found).into()) }
    }

    fn read_list(&mut self, kind: Kind, list: Vec<Value>, faults: &mut Vec<FieldError>) {
        for (i, value) in list.into_iter().enumerate() {
            let pointer = format!("/{}/{i}", kind.field());
            let draft = match read_draft(kind, value, &pointer) {
                Ok(draft) => draft,
                Err(fault) => {
                    faults.push(fault);
                    continue;
                }
            };
            let resource = ResourceRef { kind, name: draft.name().to_owned() };
            if let Some(first) = self.pointers.insert(resource.clone(), pointer.clone()) {
                faults.push(FieldError {
                    pointer: format!("{pointer}/name"),
                    code: "duplicate".to_owned(),
                    message: format!("{resource} stands at {first} already"),
                    resource: Some(resource),
                });
            }
            self.drafts.push(draft);
        }
    }

    /// The drafts as they may be stored, and what is wrong with them besides.
    async fn prepared(
        &self,
        call: &Call,
        config: &Config,
    ) -> Answer<(Vec<AnyDraft>, Vec<FieldError>)> {
        let mut errors = FieldErrors::default();
        let mut drafts = self.drafts.clone();
        for draft in &mut drafts {
            prepare(&call.app, config, draft, &mut errors).await?;
        }
        Ok((drafts, errors.into_vec()))
    }

    /// Makes the pointers of a failure lead into the declaration.
    fn locate(&self, mut failure: Failure) -> Failure {
        for error in &mut failure.problem.errors {
            let prefix = error.resource.as_ref().and_then(|resource| self.pointers.get(resource));
            if let Some(prefix) = prefix {
                error.pointer.insert_str(0, prefix);
            }
        }
        if let [only] = failure.problem.errors.as_slice() {
            failure.problem.detail = format!("{} {}", only.pointer, only.message);
        }
        failure
    }
}
