//! Small pictures: a bar of members by condition, a line of rates over time.
//!
//! Both are SVG with presentation attributes, which a content security policy without inline styles
//! lets through.

use leptos::prelude::*;

use crate::format;
use crate::i18n::texts;
use crate::summary::{BAR_WIDTH, Counts, bar};

/// The line takes the whole width from this many rates on.
const SPARK_SLOT_MIN_COUNT: usize = 12;

/// Members by condition, as a bar and in words.
#[component]
pub(crate) fn HealthBar(counts: Counts) -> impl IntoView {
    let parts = bar(&counts);
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
    let legend = counts
        .into_iter()
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

fn describe(counts: &Counts) -> String {
    let words: Vec<_> =
        counts.iter().map(|(condition, count)| format!("{count} {}", condition.look().2)).collect();
    if words.is_empty() { texts().no_members.to_owned() } else { words.join(", ") }
}
