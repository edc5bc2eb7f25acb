//! The commands of `ballastd`, one module each.

pub(crate) mod config;
pub(crate) mod dev;
pub(crate) mod init;
pub(crate) mod join;
pub(crate) mod replay;
pub(crate) mod run;

use std::io::Read;

use anyhow::{Context, Result, bail};
use ballast_model::spec::user::PASSWORD_MAX_BYTES;

/// Names a file whose content becomes the password of a first user called `admin`.
const ADMIN_PASSWORD_FILE: &str = "BALLAST_ADMIN_PASSWORD_FILE";

/// The first user's password, where the environment names a file that holds it.
fn admin_password() -> Result<Option<String>> {
    let Some(path) = std::env::var_os(ADMIN_PASSWORD_FILE) else { return Ok(None) };
    let name = path.display().to_string();
    let file = std::fs::File::open(&path)
        .with_context(|| format!("{ADMIN_PASSWORD_FILE} names {name}, which can't be opened"))?;
    let mut password = String::new();
    file.take(PASSWORD_MAX_BYTES as u64 + 2)
        .read_to_string(&mut password)
        .with_context(|| format!("{ADMIN_PASSWORD_FILE} names {name}, which can't be read"))?;
    let password = password.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        bail!("{ADMIN_PASSWORD_FILE} names {name}, which is empty");
    }
    Ok(Some(password.to_owned()))
}
