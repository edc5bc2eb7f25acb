//! Text for terminals: what came from elsewhere, made harmless, and points in time.

use std::borrow::Cow;

/// `text` in one line, with every character that could move the cursor, colour, or reorder what a
/// terminal shows replaced by its escape.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    if !text.chars().any(drives_terminal) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if drives_terminal(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// A JSON document that means the same and holds no such character but its line breaks.
pub(crate) fn safe_json(document: &str) -> String {
    // Outside of strings JSON has no such characters, and inside all can be written as escapes.
    let mut shown = String::with_capacity(document.len());
    for c in document.chars() {
        if c != '\n' && drives_terminal(c) {
            shown.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Control characters (C0, DEL, C1), line separators, and what changes the direction of text.
fn drives_terminal(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// `text`, or its beginning where it has more than `max` characters.
pub(crate) fn short(text: &str, max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// A point in time, as RFC 3339 in UTC, to the second.
pub(crate) fn utc(at_ms: u64) -> String {
    let at_s = at_ms / 1_000;
    let (year, month, day) = date(at_s / 86_400);
    let (hour, minute, second) = (at_s / 3_600 % 24, at_s / 60 % 60, at_s % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The Gregorian date so many days after 1970-01-01 (H. Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`): years that start in March, in eras of 400 years.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests;
