//! Relative links in Markdown must lead somewhere.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use crate::workspace;

/// Fails with the list of links whose target does not exist.
pub(super) fn run() -> Result<()> {
    let root = workspace::root();
    let mut dead = Vec::new();
    for file in workspace::files(&root, &["md"]) {
        let folder = file.parent().unwrap_or(Path::new("."));
        for (line, text) in fs::read_to_string(&file)?.lines().enumerate() {
            for target in targets(text).filter(|target| !folder.join(target).exists()) {
                let name = file.strip_prefix(&root)?.display();
                dead.push(format!("{name}:{}: {target}", line + 1));
            }
        }
    }
    if !dead.is_empty() {
        bail!("dead links:\n  {}", dead.join("\n  "));
    }
    Ok(())
}

/// The files that a line of Markdown links to; addresses and in-page anchors are left out.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split([')', ' ']).next()?;
        let path = target.split('#').next()?;
        let elsewhere = path.is_empty() || path.contains("://") || path.starts_with("mailto:");
        (!elsewhere).then_some(path)
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_files_count_as_targets() {
        let line =
            "[a](x.md) ![b](y/z.png \"t\") [c](https://e.org/f.md) [d](#here) [e](w.md#part)";
        let found: Vec<&str> = super::targets(line).collect();
        assert_eq!(found, ["x.md", "y/z.png", "w.md"]);
    }
}
