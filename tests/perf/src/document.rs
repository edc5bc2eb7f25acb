//! Writes results into `docs/performance.md`, each into its own marked section.
//!
//! Invariant: what stands outside the markers is never touched.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::profile::Profile;
use crate::report::Report;

/// Functions that are listed one by one.
const FUNCTION_MAX_COUNT: usize = 25;
/// Parts below this share of all instructions are not listed.
const PART_MIN_SHARE: f64 = 0.000_5;

/// Replaces the section `name`.
pub(crate) fn write_section(path: &Path, name: &str, content: &str) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    fs::write(path, replaced(&text, name, content)?)?;
    Ok(())
}

fn replaced(text: &str, name: &str, content: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let missing = || format!("the section {name} is not marked");
    let start = text.find(&begin).with_context(missing)? + begin.len();
    let stop = text.find(&end).with_context(missing)?;
    ensure!(start <= stop, "the section {name} ends before it begins");
    Ok(format!("{}\n{}\n{}", &text[..start], content.trim_end(), &text[stop..]))
}

/// A table of all rows beside the peers.
pub(crate) fn table(report: &Report) -> Result<String> {
    let mut text = format!("{} rounds on {}.\n\n", report.rounds, report.machine);
    text.push_str(
        "| row | Ballast | HAProxy | nginx | Ballast / better peer | bar |\n\
         |---|---:|---:|---:|---:|---:|\n",
    );
    for row in report.rows.iter().filter(|row| row.shown.is_none()) {
        let Some(ratio) = row.ratios.get("cpu_vs_better_peer") else { continue };
        let cpu = |subject: &str| {
            let metrics = row.subjects.get(subject);
            let value = metrics.and_then(|metrics| metrics.get("cpu_us_per_request"));
            value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1}"))
        };
        let bar = row.bars.first().map_or(f64::NAN, |bar| bar.limit);
        let mark = if *ratio <= bar { "✓" } else { "✗" };
        writeln!(
            text,
            "| {} | {} | {} | {} | {ratio:.2} | ≤ {bar} {mark} |",
            row.bench,
            cpu("ballast"),
            cpu("haproxy"),
            cpu("nginx")
        )?;
    }
    text.push_str("\nCPU time per request, in µs.\n");
    write_kernel(&mut text, report)?;
    write_measured(&mut text, report)?;
    text.push_str("\nWhat else must hold:\n\n");
    for bar in &report.bars {
        if bar.name.ends_with("CPU per request vs the better peer") {
            continue;
        }
        let mark = if bar.holds { "✓" } else { "✗" };
        writeln!(text, "- {mark} {}: {:.3} (at most {})", bar.name, bar.value, bar.limit)?;
    }
    Ok(text)
}

/// How much of a request's time is the kernel's.
fn write_kernel(text: &mut String, report: &Report) -> Result<()> {
    let Some(row) = report.rows.iter().find(|row| row.bench == "keep-alive") else { return Ok(()) };
    let shares: Vec<String> = [("ballast", "Ballast"), ("haproxy", "HAProxy"), ("nginx", "nginx")]
        .into_iter()
        .filter_map(|(subject, name)| {
            let metrics = row.subjects.get(subject)?;
            let whole = metrics.get("cpu_us_per_request")?;
            let kernel = metrics.get("kernel_us_per_request")?;
            Some(format!("{name} {kernel:.1} of {whole:.1} µs"))
        })
        .collect();
    writeln!(text, "Of that the kernel takes, for keep-alive: {}.", shares.join(", "))?;
    Ok(())
}

/// The rows that have no bar.
fn write_measured(text: &mut String, report: &Report) -> Result<()> {
    let mut is_first = true;
    for row in &report.rows {
        let Some((metric, unit)) = &row.shown else { continue };
        if std::mem::take(&mut is_first) {
            text.push_str(
                "\nAlso measured; the ratio is that of the CPU time for the same work:\n\n\
                 | row | | Ballast | HAProxy | nginx | Ballast / better peer |\n\
                 |---|---|---:|---:|---:|---:|\n",
            );
        }
        let of = |subject: &str| {
            let value = row.subjects.get(subject).and_then(|metrics| metrics.get(metric));
            let digits = usize::from(value.is_some_and(|value| *value < 1_000.0));
            value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
        };
        let [ballast, haproxy, nginx] = ["ballast", "haproxy", "nginx"].map(of);
        let ratio = row.ratios.get("cpu_vs_better_peer").copied().unwrap_or(f64::NAN);
        writeln!(
            text,
            "| {} | {unit} | {ballast} | {haproxy} | {nginx} | {ratio:.2} |",
            row.bench
        )?;
    }
    Ok(())
}

/// Where the instructions of a request go.
pub(crate) fn breakdown(profile: &Profile) -> Result<String> {
    let total: f64 = profile.functions.iter().map(|(_, count)| *count as f64).sum();
    ensure!(total > 0.0 && profile.requests > 0, "nothing was counted");
    let requests = profile.requests as f64;
    let mut text = format!(
        "{:.0} instructions per request in user space ({} requests under callgrind).\n\n\
         | part | instructions | share |\n|---|---:|---:|\n",
        total / requests,
        profile.requests
    );
    for (part, count) in profile.parts() {
        let count = count as f64;
        // What the rest of the node did meanwhile is no part of a request.
        if count / total < PART_MIN_SHARE {
            break;
        }
        writeln!(text, "| {part} | {:.0} | {:.1} % |", count / requests, count / total * 100.0)?;
    }
    text.push_str("\n| function | instructions | share |\n|---|---:|---:|\n");
    for (name, count) in profile.functions.iter().take(FUNCTION_MAX_COUNT) {
        let count = *count as f64;
        writeln!(text, "| `{name}` | {:.0} | {:.1} % |", count / requests, count / total * 100.0)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_without_a_bar_have_a_table_of_their_own() {
        let mut row = Report::new("tcp", 1);
        row.shown = Some(("cpu_ms_per_gb".to_owned(), "ms CPU per GB".to_owned()));
        row.ratios.insert("cpu_vs_better_peer".to_owned(), 0.5);
        let metrics = std::collections::BTreeMap::from([("cpu_ms_per_gb".to_owned(), 40.04)]);
        row.subjects.insert("ballast".to_owned(), metrics);
        let mut report = Report::new("l7", 1);
        report.add_row(row);
        let text = table(&report).unwrap();
        assert!(text.contains("| tcp | ms CPU per GB | 40.0 | – | – | 0.50 |"), "{text}");
        assert_eq!(text.matches("| tcp |").count(), 1, "{text}");
    }

    #[test]
    fn the_share_of_the_kernel_is_told() {
        let mut row = Report::new("keep-alive", 1);
        let metrics = [("cpu_us_per_request", 14.0), ("kernel_us_per_request", 11.5)];
        let metrics = metrics.map(|(name, value)| (name.to_owned(), value)).into();
        row.subjects.insert("ballast".to_owned(), metrics);
        let mut report = Report::new("l7", 1);
        report.add_row(row);
        let text = table(&report).unwrap();
        assert!(text.contains("for keep-alive: Ballast 11.5 of 14.0 µs.\n"), "{text}");
    }

    #[test]
    fn a_section_is_replaced_and_nothing_else() {
        let text = "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n";
        let once = replaced(text, "x", "new\n").unwrap();
        assert_eq!(once, "a\n<!-- x: begin -->\n\nnew\n<!-- x: end -->\nb\n");
        assert_eq!(replaced(&once, "x", "new").unwrap(), once);
        assert!(replaced(text, "y", "new").is_err());
    }
}
