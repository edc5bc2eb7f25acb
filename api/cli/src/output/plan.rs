//! What an apply did or would do.

use std::fmt::Write as _;

use ballast_model::api::ApplyReport;
use ballast_model::plan::PlanAction;
use serde_json::Value;

/// Longest value that is shown of a field, in characters.
const VALUE_MAX_CHARS: usize = 60;

pub(crate) fn text(report: &ApplyReport, dry_run: bool) -> String {
    let plan = &report.plan;
    // Writing to a String does not fail.
    let mut text = String::new();
    for item in plan.items.iter().filter(|item| item.action != PlanAction::Unchanged) {
        let verb = match item.action {
            PlanAction::Create => "create",
            PlanAction::Delete => "delete",
            PlanAction::Unchanged => "keep",
            PlanAction::Update => "update",
        };
        let _ = writeln!(text, "{verb} {}/{}", item.resource.kind.singular(), item.resource.name);
        for field in &item.fields {
            let (before, after) = (shown(field.before.as_ref()), shown(field.after.as_ref()));
            let _ = writeln!(text, "    {}: {before} -> {after}", field.pointer);
        }
    }
    for warning in &plan.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    let count = |action| plan.count(action);
    let _ = writeln!(
        text,
        "{} to create, {} to update, {} to delete, {} unchanged",
        count(PlanAction::Create),
        count(PlanAction::Update),
        count(PlanAction::Delete),
        count(PlanAction::Unchanged)
    );
    let _ = match (report.applied, dry_run) {
        (true, _) => writeln!(text, "applied as index {}", report.index),
        (false, true) => writeln!(text, "dry run: nothing was written"),
        (false, false) => writeln!(text, "nothing was written: everything is as declared"),
    };
    text
}

fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else { return "(none)".to_owned() };
    let text = value.to_string();
    match text.char_indices().nth(VALUE_MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
