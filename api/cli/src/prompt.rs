//! Questions to the person at the terminal, and secrets from files.

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use crate::failure::Failure;

/// Largest file that a secret is read from, in bytes.
const SECRET_FILE_MAX_BYTES: u64 = 64 * 1024;

/// Whether there is somebody to ask.
pub(crate) fn is_interactive() -> bool {
    std::io::stdin().is_terminal()
}

/// Asks for a line.
pub(crate) fn line(question: &str) -> Result<String, Failure> {
    let failed = |source| Failure::io("asking at the terminal", source);
    let mut stderr = std::io::stderr();
    write!(stderr, "{question}").and_then(|()| stderr.flush()).map_err(failed)?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(failed)?;
    Ok(answer.trim().to_owned())
}

/// Asks a question; anything but yes means no.
pub(crate) fn confirm(question: &str) -> Result<bool, Failure> {
    let answer = line(&format!("{question} [y/N] "))?;
    Ok(matches!(answer.to_lowercase().as_str(), "y" | "yes"))
}

/// Asks for a password without showing it.
pub(crate) fn password(question: &str) -> Result<String, Failure> {
    rpassword::prompt_password(question)
        .map_err(|source| Failure::io("asking at the terminal", source))
}

/// A new password: from a file, or asked for twice.
pub(crate) fn new_password(file: Option<&Path>, user: &str) -> Result<String, Failure> {
    if let Some(file) = file {
        return secret_of_file(file);
    }
    if !is_interactive() {
        return Err(Failure::Usage(
            "there is no terminal to ask for the password at: use --password-file".to_owned(),
        ));
    }
    let first = password(&format!("New password of {user}: "))?;
    if password("Again: ")? != first {
        return Err(Failure::Usage("the two passwords differ; nothing was changed".to_owned()));
    }
    Ok(first)
}

/// The secret in a file, without the line break at its end; `-` means standard input.
pub(crate) fn secret_of_file(path: &Path) -> Result<String, Failure> {
    let unreadable = |source: std::io::Error| Failure::unreadable(path, &source);
    let input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(path).map_err(unreadable)?)
    };
    let mut text = String::new();
    input.take(SECRET_FILE_MAX_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() || text.len() as u64 > SECRET_FILE_MAX_BYTES {
        return Err(Failure::Usage(format!(
            "{} must hold 1 to {SECRET_FILE_MAX_BYTES} bytes",
            path.display()
        )));
    }
    Ok(secret.to_owned())
}

#[cfg(test)]
mod tests;
