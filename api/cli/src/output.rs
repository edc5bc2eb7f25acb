//! Where answers go: tables or JSON on standard output, notes on standard error.

use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use comfy_table::{Cell, Color, ContentArrangement, Table as Grid, presets};
use serde::Serialize;

use crate::failure::Failure;
use crate::text::{safe, safe_json};

/// How answers are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: what the API answers.
    Json,
}

/// Standard output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: Format,
    colours: bool,
}

/// How a text is meant, where colours are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
    /// On its way, or as an operator wants it for now.
    Between,
}

/// Rows under headings.
#[derive(Debug)]
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<Field>>,
}

/// One field of a table.
#[derive(Debug)]
pub(crate) struct Field {
    text: String,
    tone: Option<Tone>,
}

impl Output {
    /// Standard output, with colours where a person reads it and does not refuse them.
    pub(crate) fn new(format: Format) -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colours = std::io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb;
        Self { format, colours }
    }

    /// Whether programs read it.
    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Whether colours are shown.
    pub(crate) fn colours(self) -> bool {
        self.colours
    }

    /// Prints lines that are safe to print.
    #[expect(clippy::unused_self, reason = "printing is what an output is for")]
    pub(crate) fn print(self, text: &str) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| if text.ends_with('\n') { Ok(()) } else { stdout.write_all(b"\n") })
            .and_then(|()| stdout.flush())
            .map_err(Failure::Output)
    }

    /// Prints a document.
    pub(crate) fn json(self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value);
        self.print(&safe_json(&text.map_err(|error| Failure::Output(error.into()))?))
    }

    /// Prints a document in one line.
    pub(crate) fn json_line(self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value);
        self.print(&safe_json(&text.map_err(|error| Failure::Output(error.into()))?))
    }
}

/// Prints lines that are safe to print on standard error.
pub(crate) fn note(text: &str) {
    // Where standard error is closed there is nobody to tell.
    let _written = writeln!(std::io::stderr(), "{text}");
}

impl Tone {
    /// `text` in this tone.
    pub(crate) fn paint(self, text: &str, colours: bool) -> String {
        let code = match self {
            Self::Good => 32,
            Self::Bad => 31,
            Self::Between => 33,
        };
        if colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn colour(self) -> Color {
        match self {
            Self::Good => Color::DarkGreen,
            Self::Bad => Color::DarkRed,
            Self::Between => Color::DarkYellow,
        }
    }
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    /// With one more row.
    pub(crate) fn row(&mut self, row: Vec<Field>) {
        self.rows.push(row);
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The table as text: no borders, nothing cut or wrapped, so that it can be piped.
    pub(crate) fn render(&self, colours: bool) -> String {
        let mut grid = Grid::new();
        grid.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        grid.style_text_only();
        if colours {
            grid.enforce_styling();
        } else {
            grid.force_no_tty();
        }
        grid.set_header(&self.headings);
        for row in &self.rows {
            grid.add_row(row.iter().map(|field| {
                let cell = Cell::new(&field.text);
                match field.tone {
                    Some(tone) => cell.fg(tone.colour()),
                    None => cell,
                }
            }));
        }
        for column in grid.column_iter_mut() {
            column.set_padding((0, 2));
        }
        grid.trim_fmt()
    }
}

impl Field {
    /// A field in a tone.
    pub(crate) fn toned(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { tone: Some(tone), ..Self::from(text.as_ref()) }
    }
}

impl From<&str> for Field {
    fn from(text: &str) -> Self {
        let text = if text.is_empty() { "-".to_owned() } else { safe(text).into_owned() };
        Self { text, tone: None }
    }
}

impl From<String> for Field {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<u64> for Field {
    fn from(number: u64) -> Self {
        number.to_string().into()
    }
}

#[cfg(test)]
mod tests;
