use ballast_model::{Kind, ResourceRef};
use serde_json::json;

use super::*;

fn item(action: PlanAction, kind: Kind, name: &str, fields: Vec<FieldDiff>) -> PlanItem {
    PlanItem { action, resource: ResourceRef { kind, name: name.to_owned() }, fields }
}

fn plan() -> Plan {
    let field =
        |pointer: &str, before, after| FieldDiff { pointer: pointer.to_owned(), before, after };
    let fields = vec![
        field("/spec/pool", Some(json!("web")), Some(json!("web\u{9b}2"))),
        field("/spec/ports/1", None, Some(json!(8081))),
        field("/description", Some(json!("ü".repeat(500))), None),
    ];
    Plan {
        index: 7,
        items: vec![
            item(PlanAction::Create, Kind::Pool, "web", vec![]),
            item(PlanAction::Update, Kind::VirtualServer, "shop", fields),
            item(PlanAction::Unchanged, Kind::Monitor, "a", vec![]),
            item(PlanAction::Unchanged, Kind::Monitor, "b", vec![]),
            item(PlanAction::Delete, Kind::Pool, "old", vec![]),
        ],
        warnings: vec!["pool web: no enabled member would be left".to_owned()],
    }
}

#[test]
fn a_plan_shows_each_field_before_and_after() {
    let text = render(&plan(), false);
    let long = format!("  /description: \"{}… → (absent)\n", "ü".repeat(VALUE_MAX_CHARS - 1));
    assert_eq!(
        text,
        format!(
            "create pools/web\n\
             update virtual-servers/shop\n\
             \x20 /spec/pool: \"web\" → \"web\\u{{9b}}2\"\n\
             \x20 /spec/ports/1: (absent) → 8081\n\
             {long}\
             delete pools/old\n\
             unchanged 2\n\
             warning: pool web: no enabled member would be left\n"
        )
    );
}

#[test]
fn colours_tell_deletions_from_creations() {
    let text = render(&plan(), true);
    assert!(text.contains("\x1b[32mcreate pools/web\x1b[0m"), "{text}");
    assert!(text.contains("\x1b[31mdelete pools/old\x1b[0m"), "{text}");
}
