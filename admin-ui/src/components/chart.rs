//! Small pictures: a bar of members by condition, a line of rates over time.
//!
//! Both are SVG with presentation attributes, which a content security policy without inline styles
//! lets through.

use leptos::prelude::*;

use crate::format;
use crate::i18n::texts;
use crate::summary::{Condition, Counts};

/// Width of the bar, in units of its own.
const BAR_WIDTH: usize = 240;
/// Gap between two parts of the bar.
const BAR_GAP: usize = 2;
/// Up to this many members, each has a part of its own.
const BAR_MEMBER_MAX_COUNT: usize = 24;
/// The line takes the whole width from this many rates on.
const SPARK_SLOT_MIN_COUNT: usize = 12;

/// Members by condition, as a bar and in words.
#[component]
pub(crate) fn HealthBar(counts: Counts) -> impl IntoView {
    let parts = bar_parts(&counts);
    let words = describe(&counts);
    let rects = parts
        .into_iter()
        .map(|(condition, x, width)| {
            let class = condition.look().1.class();
            view! {
                <rect
                    class=class
                    x=x.to_string()
                    y="0"
                    width=width.to_string()
                    height="10"
                />
            }
        })
        .collect_view();
    let legend = Condition::ALL
        .into_iter()
        .filter_map(|condition| counts.get(&condition).map(|count| (condition, *count)))
        .map(|(condition, count)| {
            let (symbol, tone, word) = condition.look();
            view! {
                <span class=format!("legend {}", tone.class())>
                    <super::Icon symbol />
                    {format!("{count} {}", word.to_lowercase())}
                </span>
            }
        })
        .collect_view();
    view! {
        <div class="health-bar">
            <svg
                viewBox=format!("0 0 {BAR_WIDTH} 10")
                preserveAspectRatio="none"
                role="img"
                aria-label=words
            >
                <rect class="track" x="0" y="0" width=BAR_WIDTH.to_string() height="10" />
                {rects}
            </svg>
            <span class="legends">{legend}</span>
        </div>
    }
}

/// Rates over time, the newest at the right.
#[component]
pub(crate) fn Sparkline(values: Vec<f64>, #[prop(into)] label: String) -> impl IntoView {
    const WIDTH: f64 = 118.0;
    const HEIGHT: f64 = 28.0;
    // The line grows from the right until there is enough of it, and is compressed from then on.
    let slots = format::f64_of(values.len().max(SPARK_SLOT_MIN_COUNT) as u64 - 1);
    let step = WIDTH / slots;
    let most = values.iter().copied().fold(1.0, f64::max);
    let mut x = WIDTH - step * format::f64_of(values.len().saturating_sub(1) as u64);
    let (mut line, start) = (String::new(), x);
    for value in &values {
        let y = HEIGHT - 2.0 - value / most * (HEIGHT - 4.0);
        line.push_str(&format!("{}{x:.1} {y:.1}", if line.is_empty() { "M" } else { "L" }));
        x += step;
    }
    let drawn = (values.len() > 1).then(|| {
        let area = format!("{line}L{WIDTH} {HEIGHT}L{start:.1} {HEIGHT}Z");
        view! {
            <path class="spark-area" d=area />
            <path class="spark-line" d=line />
        }
    });
    view! {
        <svg
            class="sparkline"
            viewBox=format!("0 0 {WIDTH} {HEIGHT}")
            preserveAspectRatio="none"
            role="img"
            aria-label=label
        >
            <path class="spark-base" d=format!("M0 {HEIGHT}H{WIDTH}") />
            {drawn}
        </svg>
    }
}

/// The parts of the bar: condition, start, width.
fn bar_parts(counts: &Counts) -> Vec<(Condition, usize, usize)> {
    let total: usize = counts.values().sum();
    let each_alone = total <= BAR_MEMBER_MAX_COUNT;
    let mut parts = Vec::new();
    let mut before = 0;
    for condition in Condition::ALL {
        let count = counts.get(&condition).copied().unwrap_or(0);
        let sizes = if each_alone { vec![1; count] } else { vec![count] };
        for size in sizes.into_iter().filter(|size| *size > 0) {
            let start = before * (BAR_WIDTH + BAR_GAP) / total;
            before += size;
            let end = before * (BAR_WIDTH + BAR_GAP) / total;
            // The smallest part of a long bar still shows.
            parts.push((condition, start, (end - start).saturating_sub(BAR_GAP).max(2)));
        }
    }
    parts
}

fn describe(counts: &Counts) -> String {
    let words: Vec<_> = Condition::ALL
        .into_iter()
        .filter_map(|c| counts.get(&c).map(|count| format!("{count} {}", c.look().2)))
        .collect();
    if words.is_empty() { texts().no_members.to_owned() } else { words.join(", ") }
}
