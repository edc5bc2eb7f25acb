//! A plan in lines: what would be created, updated field by field, deleted.

use std::fmt::Write;

use ballast_model::diff::FieldDiff;
use ballast_model::plan::{Plan, PlanAction, PlanItem};
use serde_json::Value;

use crate::output::Tone;
use crate::text::{safe, short};

/// Longest value shown in full, in characters.
const VALUE_MAX_CHARS: usize = 160;

/// The plan, a line for each thing that changes.
pub(crate) fn render(plan: &Plan, colours: bool) -> String {
    let mut text = String::new();
    for item in plan.items.iter().filter(|item| item.action != PlanAction::Unchanged) {
        let line = format!("{} {}", verb(item), safe(&item.resource.to_string()));
        let _infallible = writeln!(text, "{}", tone(item.action).paint(&line, colours));
        for field in &item.fields {
            let _infallible = writeln!(text, "  {}", field_line(field));
        }
    }
    let unchanged = plan.count(PlanAction::Unchanged);
    if unchanged > 0 {
        let _infallible = writeln!(text, "unchanged {unchanged}");
    }
    for warning in &plan.warnings {
        let line = format!("warning: {}", safe(warning));
        let _infallible = writeln!(text, "{}", Tone::Between.paint(&line, colours));
    }
    text
}

fn verb(item: &PlanItem) -> &'static str {
    match item.action {
        PlanAction::Create => "create",
        PlanAction::Delete => "delete",
        PlanAction::Unchanged => "unchanged",
        PlanAction::Update => "update",
    }
}

fn tone(action: PlanAction) -> Tone {
    match action {
        PlanAction::Create | PlanAction::Unchanged => Tone::Good,
        PlanAction::Delete => Tone::Bad,
        PlanAction::Update => Tone::Between,
    }
}

fn field_line(field: &FieldDiff) -> String {
    let pointer = safe(&field.pointer);
    format!("{pointer}: {} → {}", value(field.before.as_ref()), value(field.after.as_ref()))
}

fn value(value: Option<&Value>) -> String {
    match value {
        Some(value) => safe(&short(&value.to_string(), VALUE_MAX_CHARS)).into_owned(),
        None => "(absent)".to_owned(),
    }
}

#[cfg(test)]
mod tests;
