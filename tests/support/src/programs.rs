//! Where the programs under test are.

use std::path::PathBuf;

use anyhow::{Result, bail};

/// Finds a built program: an environment variable of its name (`BALLASTD`, `BALLAST_LOAD`, …), the folder
/// in `BALLAST_BIN_DIR`, or the folder that this very program was built into.
///
/// # Errors
/// When it is in none of these places; the message says how to build it.
pub fn find(name: &str) -> Result<PathBuf> {
    let variable = name.to_uppercase().replace('-', "_");
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    let given = std::env::var_os("BALLAST_BIN_DIR").map(PathBuf::from);
    let own = std::env::current_exe()?;
    // Tests and examples lie one folder below the programs.
    let candidates = given.into_iter().chain(own.ancestors().skip(1).take(2).map(PathBuf::from));
    for folder in candidates {
        let path = folder.join(name);
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!("{name} is not built; `cargo xtask build` and `cargo xtask test` build it")
}
