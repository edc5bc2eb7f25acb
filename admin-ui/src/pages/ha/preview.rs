//! "Who would take what, and carry what": asked of the cluster, and drawn.

use ballast_model::Problem;
use ballast_model::ha::{GroupMove, NodeLoad, Preview};
use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::components::{Badge, Failure, Foreign, Icon, Loading, Symbol, Table, Tone};
use crate::format;
use crate::i18n::texts;
use crate::session::{Session, explain};

/// What the cluster answers to "what if these nodes died".
#[derive(Clone, Copy)]
pub(super) struct Answer {
    session: Session,
    pub(super) preview: RwSignal<Option<Preview>>,
    pub(super) problem: RwSignal<Option<Problem>>,
    /// The last question: answers to earlier ones come too late.
    asked: StoredValue<usize>,
}

impl Answer {
    pub(super) fn new(session: Session) -> Self {
        Self {
            session,
            preview: RwSignal::new(None),
            problem: RwSignal::new(None),
            asked: StoredValue::new(0),
        }
    }

    /// Asks; what was answered before is shown until the new answer comes.
    pub(super) fn ask(self, down: Vec<String>) {
        let question = self.asked.get_value() + 1;
        self.asked.set_value(question);
        let client = self.session.client();
        spawn_local(async move {
            let answer = client.ha_preview(&down).await;
            if self.asked.try_get_value() != Some(question) {
                return;
            }
            match answer {
                Ok(preview) => {
                    self.problem.try_set(None);
                    self.preview.try_set(Some(preview));
                }
                Err(error) => {
                    self.problem.try_set(Some(explain(&error)));
                }
            }
        });
    }
}

/// An answer, or why there is none; `adapt` makes of it what is shown.
#[component]
pub(super) fn PreviewPane(
    answer: Answer,
    #[prop(into)] adapt: Callback<Preview, Preview>,
) -> impl IntoView {
    let t = texts();
    move || {
        if let Some(problem) = answer.problem.get() {
            return view! { <Failure title=t.ha.not_previewed problem /> }.into_any();
        }
        match answer.preview.get() {
            None => view! { <Loading /> }.into_any(),
            Some(preview) => draw(&adapt.run(preview)),
        }
    }
}

/// Moves, then loads.
fn draw(preview: &Preview) -> AnyView {
    let t = texts();
    let warnings = preview.warnings.iter().map(|text| {
        let text = view! { <Foreign text=format::sentence(text) /> };
        warning(text.into_any())
    });
    // The cluster's own warnings say it already.
    let said = !preview.warnings.is_empty();
    let over = preview.nodes.iter().filter(|node| !said && node.load_then > node.capacity);
    let over = over.map(|node| {
        let text = (t.ha.over_capacity)(&node.node, node.load_then, node.capacity);
        warning(view! { <span>{text}</span> }.into_any())
    });
    let heads = vec![
        (t.ha.node, ""),
        (t.ha.groups_now, ""),
        (t.ha.groups_then, ""),
        (t.ha.load, "number"),
        (t.connections, "number"),
    ];
    let loads = preview.nodes.iter().map(load).collect_view();
    view! {
        <div class="stack preview">
            <ul class="moves">{preview.moves.iter().map(group_move).collect_view()}</ul>
            {warnings.collect_view()}
            {over.collect_view()}
            <Table caption=t.ha.preview_title heads>
                {loads}
            </Table>
        </div>
    }
    .into_any()
}

fn warning(text: AnyView) -> AnyView {
    view! {
        <div class="notice warning">
            <Icon symbol=Symbol::Warning />
            <p>{text}</p>
        </div>
    }
    .into_any()
}

fn group_move(moved: &GroupMove) -> AnyView {
    let t = texts();
    let from = moved.from.clone().unwrap_or_else(|| t.ha.nobody.to_owned());
    let (tone, symbol, to) = match &moved.to {
        Some(to) if moved.from.as_ref() == Some(to) => {
            (Tone::Warning, Symbol::Partial, (t.ha.stays_on)(to))
        }
        Some(to) => (Tone::Good, Symbol::Move, (t.ha.took_from)(&from, to)),
        None => (Tone::Bad, Symbol::Down, (t.ha.took_from)(&from, t.ha.nobody)),
    };
    view! {
        <li>
            <strong>{moved.group.clone()}</strong>
            <Badge tone symbol text=to />
            <span class="quiet small">
                <Foreign text=moved.why.clone() />
            </span>
        </li>
    }
    .into_any()
}

fn load(node: &NodeLoad) -> AnyView {
    let list = |groups: &[String]| {
        if groups.is_empty() { "–".to_owned() } else { groups.join(", ") }
    };
    let change = |now: String, then: String| {
        if now == then { now } else { format!("{now} → {then}") }
    };
    let load = change(node.load.to_string(), node.load_then.to_string());
    let load = (texts().ha.carries)(&load, node.capacity);
    let connections = [node.connections, node.connections_then].map(format::count);
    let [now, then] = connections;
    view! {
        <tr>
            <th scope="row">{node.node.clone()}</th>
            <td>{list(&node.groups)}</td>
            <td class:changed=node.groups != node.groups_then>{list(&node.groups_then)}</td>
            <td class="number nowrap" class:bad=node.load_then.gt(&node.capacity)>
                {load}
            </td>
            <td class="number nowrap">{change(now, then)}</td>
        </tr>
    }
    .into_any()
}
