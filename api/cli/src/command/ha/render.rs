//! Traffic groups as text. Everything that nodes and operators wrote is made harmless.

use std::fmt::Write;

use ballast_model::Availability;
use ballast_model::ha::{
    FailoverReport, GroupOverview, GroupPart, GroupState, HaOverview, HaTimeline, HaTransition,
    MoveReport, NodeLoad, Preview, TrackedStatus,
};

use crate::output::{Field, Table, Tone};
use crate::text::{safe, utc};

/// What is wrong, then the groups with their next owners, then each group on each node.
pub(super) fn status(overview: &HaOverview, colours: bool) -> String {
    let mut text = String::new();
    if overview.problems.is_empty() {
        text.push_str(&Tone::Good.paint("all is as it should be", colours));
        text.push('\n');
    }
    warn(&mut text, &overview.problems, colours);
    if overview.groups.is_empty() {
        text.push_str("\nthere is no traffic group");
    } else {
        let mut table = Table::new(&["GROUP", "ADDRESSES", "OWNER", "NEXT"]);
        for group in &overview.groups {
            table.row(group_row(group));
        }
        let _infallible = write!(text, "\n{}", table.render(colours));
        let mut table = Table::new(&["GROUP", "NODE", "STATE", "PRIORITY", "SINCE", "WHY"]);
        for group in &overview.groups {
            for part in &group.parts {
                table.row(part_row(&group.group, part));
            }
        }
        if table.len() > 0 {
            let _infallible = write!(text, "\n\n{}", table.render(colours));
        }
    }
    let mut table = Table::new(&["NODE", "AVAILABILITY", "ANSWERS", "HEARTBEATS FROM"]);
    for node in &overview.nodes {
        let (answers, tone) = if node.answers { ("yes", Tone::Good) } else { ("no", Tone::Bad) };
        let alive = node.heartbeats.iter().filter(|heartbeat| heartbeat.alive);
        let alive: Vec<_> = alive.map(|heartbeat| heartbeat.node.as_str()).collect();
        table.row(vec![
            node.node.as_str().into(),
            match node.availability {
                Availability::Available => Field::from("available"),
                other => Field::toned(other.as_str(), Tone::Between),
            },
            Field::toned(answers, tone),
            alive.join(", ").into(),
        ]);
    }
    let _infallible = write!(text, "\n\n{}", table.render(colours));
    text
}

fn group_row(group: &GroupOverview) -> Vec<Field> {
    let owner = match group.owners.as_slice() {
        [] => Field::toned("nobody", Tone::Bad),
        [owner] => Field::toned(owner, Tone::Good),
        several => Field::toned(several.join(", "), Tone::Bad),
    };
    let next = match &group.next {
        Some(next) => Field::from(next.as_str()),
        None => Field::toned("nobody", Tone::Bad),
    };
    vec![group.group.as_str().into(), group.addresses.join(", ").into(), owner, next]
}

fn part_row(group: &str, part: &GroupPart) -> Vec<Field> {
    let status = &part.status;
    let is_held_back = status.wait.as_ref().is_some_and(|wait| wait.kind.is_problem());
    let is_well = status.unable.is_none()
        && status.degraded.is_empty()
        && status.clash.is_none()
        && status.unheard_owner.is_none()
        && !is_held_back;
    let state = match status.state {
        GroupState::Active if is_well => Field::toned("active", Tone::Good),
        GroupState::Active => Field::toned("active", Tone::Between),
        GroupState::Backup if is_held_back => Field::toned("backup", Tone::Between),
        GroupState::Backup => Field::from("backup"),
        GroupState::Initialize => Field::toned("takes no part", Tone::Bad),
    };
    let priority = match (status.priority, status.manual) {
        (0, _) => String::new(),
        (priority, true) => format!("{priority} (moved by hand)"),
        (priority, false) => priority.to_string(),
    };
    let why = if let Some(clash) = &status.clash {
        clash.clone()
    } else if let Some(unable) = &status.unable {
        unable.clone()
    } else if let Some(wait) = status.wait.as_ref().filter(|_| status.degraded.is_empty()) {
        match wait.ends_in_ms {
            Some(ends_in_ms) => format!("{}: {} s", wait.message, ends_in_ms.div_ceil(1_000)),
            None => wait.message.clone(),
        }
    } else if let (Some(other), GroupState::Active) = (&status.unheard_owner, status.state) {
        format!("{other} reports to own it too, and is not heard on the segment")
    } else if status.degraded.is_empty() {
        status.reason.clone()
    } else {
        let dated: Vec<_> = status.degraded.iter().map(|why| dated(why, &status.tracked)).collect();
        format!("degraded: {}", dated.join("; "))
    };
    vec![
        group.into(),
        part.node.as_str().into(),
        state,
        priority.into(),
        if status.since_ms == 0 { "".into() } else { utc(status.since_ms).into() },
        why.into(),
    ]
}

/// What failed, and since when where that is known.
fn dated(why: &str, tracked: &[TrackedStatus]) -> String {
    match tracked.iter().find(|tracked| tracked.reason.as_deref() == Some(why)) {
        Some(tracked) => format!("{why} since {}", utc(tracked.since_ms)),
        None => why.to_owned(),
    }
}

/// Changes, one a line, with the gap as the new owner saw it and how long taking over took.
pub(super) fn events(timeline: &HaTimeline, colours: bool) -> String {
    let missing = timeline.missing.iter();
    let missing: Vec<_> = missing
        .map(|node| format!("node {node} does not answer; what it did is missing"))
        .collect();
    let mut text = String::new();
    warn(&mut text, &missing, colours);
    let mut table = Table::new(&["AT", "GROUP", "NODE", "CHANGE", "SILENCE", "TOOK", "WHY"]);
    for item in &timeline.items {
        table.row(event_row(item));
    }
    if table.len() == 0 {
        text.push_str("nothing happened");
    } else {
        text.push_str(&table.render(colours));
    }
    text
}

fn event_row(item: &HaTransition) -> Vec<Field> {
    let failed = item.steps.iter().find_map(|step| {
        let error = step.error.as_ref()?;
        Some(format!("; {} failed: {error}", step.step))
    });
    let took = item.steps.iter().map(|step| step.after_us).max();
    let change = if item.from == item.to {
        format!("stays {}", item.to)
    } else {
        format!("{} → {}", item.from, item.to)
    };
    vec![
        utc(item.at_ms).into(),
        item.group.as_str().into(),
        item.node.as_str().into(),
        match (item.to, &failed) {
            (_, Some(_)) => Field::toned(change, Tone::Bad),
            _ if item.from == item.to => Field::toned(change, Tone::Between),
            (GroupState::Active, None) => Field::toned(change, Tone::Good),
            (GroupState::Backup | GroupState::Initialize, None) => change.into(),
        },
        item.silence_us.map(ms).unwrap_or_default().into(),
        took.map(ms).unwrap_or_default().into(),
        format!("{}{}", item.message, failed.unwrap_or_default()).into(),
    ]
}

/// µs as ms, to a tenth.
fn ms(us: u64) -> String {
    format!("{}.{} ms", us / 1_000, us % 1_000 / 100)
}

/// What would be wrong, what would move, and what each node would carry.
pub(super) fn preview(preview: &Preview, colours: bool) -> String {
    let mut text = String::new();
    warn(&mut text, &preview.warnings, colours);
    let mut table = Table::new(&["GROUP", "FROM", "TO", "WHY"]);
    for moved in &preview.moves {
        let to = match &moved.to {
            Some(to) => Field::toned(to, Tone::Good),
            None => Field::toned("nobody", Tone::Bad),
        };
        let from = moved.from.as_deref().unwrap_or("");
        table.row(vec![moved.group.as_str().into(), from.into(), to, moved.why.as_str().into()]);
    }
    if table.len() == 0 {
        text.push_str("no traffic group would move");
    } else {
        text.push_str(&table.render(colours));
    }
    let mut table =
        Table::new(&["NODE", "CAPACITY", "LOAD NOW", "THEN", "CONNECTIONS NOW", "THEN", "GROUPS"]);
    for node in &preview.nodes {
        table.row(load_row(node));
    }
    if table.len() > 0 {
        let _infallible = write!(text, "\n\n{}", table.render(colours));
    }
    text
}

fn load_row(node: &NodeLoad) -> Vec<Field> {
    let load_then = u64::from(node.load_then).to_string();
    vec![
        node.node.as_str().into(),
        u64::from(node.capacity).into(),
        u64::from(node.load).into(),
        match node.load_then > node.capacity {
            true => Field::toned(load_then, Tone::Bad),
            false => load_then.into(),
        },
        node.connections.into(),
        node.connections_then.into(),
        node.groups_then.join(", ").into(),
    ]
}

/// Each move in a line.
pub(super) fn report(report: &FailoverReport, colours: bool) -> String {
    if report.moves.is_empty() {
        return "there was nothing to move".to_owned();
    }
    let lines: Vec<_> = report.moves.iter().map(|moved| report_line(moved, colours)).collect();
    lines.join("\n")
}

fn report_line(moved: &MoveReport, colours: bool) -> String {
    let MoveReport { group, from, to, quiesced_ms, moved_ms, error } = moved;
    if let Some(error) = error {
        let line = format!("{}: not moved: {}", safe(group), safe(error));
        return Tone::Bad.paint(&line, colours);
    }
    let (group, to) = (safe(group), safe(to));
    match from {
        Some(from) if from == &moved.to => format!("{group}: {to} has it already"),
        Some(from) => format!(
            "{group}: {} → {to} in {moved_ms} ms, after {quiesced_ms} ms for idle connections",
            safe(from)
        ),
        None => format!("{group}: {to} took it in {moved_ms} ms"),
    }
}

fn warn(text: &mut String, sentences: &[String], colours: bool) {
    for sentence in sentences {
        let line = format!("! {}", safe(sentence));
        let _infallible = writeln!(text, "{}", Tone::Bad.paint(&line, colours));
    }
}
