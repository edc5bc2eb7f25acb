//! `apply`: makes the configuration what a declaration says.

use std::io::Read;
use std::path::{Path, PathBuf};

use ballast_model::PlanOptions;
use ballast_model::api::ApplyReport;
use clap::Args;
use serde_json::{Value, json};

use super::{Context, carried_out, label, write_options};
use crate::failure::Failure;
use crate::plan;

/// Make the configuration what a declaration says: all of it or nothing
#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// The declaration, in JSON, as `export` prints it; - is standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Only print what would change
    #[arg(long)]
    dry_run: bool,
    /// Delete what is not declared
    #[arg(long)]
    prune: bool,
    /// With --prune: delete only what carries this label
    #[arg(long, value_name = "KEY=VALUE", value_parser = label, requires = "prune")]
    label: Option<(String, String)>,
    /// Wait until every live node carries it out
    #[arg(long)]
    wait: bool,
}

impl Apply {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let declaration = read(&self.file)?;
        let plan_options = PlanOptions { prune: self.prune, label: self.label };
        let mut options = write_options(self.wait);
        options.dry_run = self.dry_run;
        let written = context.client()?.apply(&declaration, &plan_options, &options).await?;
        let (report, output) = (&written.value, context.output);
        if output.is_json() {
            output.json(&json!({
                "applied": report.applied,
                "index": report.index,
                "plan": report.plan,
                "not_applied": written.not_applied,
            }))?;
        } else {
            let text = plan::render(&report.plan, output.colours());
            let is_everywhere = self.wait && written.not_applied.is_empty();
            output.print(&format!("{text}{}", outcome(report, self.dry_run, is_everywhere)))?;
        }
        carried_out(&written.not_applied)
    }
}

pub(super) fn outcome(report: &ApplyReport, dry_run: bool, is_everywhere: bool) -> String {
    let index = report.index;
    if report.plan.is_empty() {
        return format!("nothing changes: index {index} is as declared");
    }
    if dry_run || !report.applied {
        return format!("dry run: nothing was written; compared with index {index}");
    }
    let everywhere = if is_everywhere { ", carried out by every node" } else { "" };
    format!("applied as index {index}{everywhere}")
}

fn read(path: &Path) -> Result<Value, Failure> {
    let reading = |source: std::io::Error| Failure::unreadable(path, &source);
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(reading)?;
        text
    } else {
        std::fs::read_to_string(path).map_err(reading)?
    };
    serde_json::from_str(&text)
        .map_err(|error| Failure::Usage(format!("{} is no JSON: {error}", path.display())))
}
