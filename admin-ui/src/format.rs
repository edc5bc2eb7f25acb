//! Numbers, sizes and spans of time as people read them.
//!
//! Pure: the language comes in as its table of texts.

use crate::i18n::Texts;

/// A whole number with its digits in groups of three.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate with at most three digits that matter: `0`, `0.4`, `17`, `1.2k`, `3.4M`.
pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        r if r < 0.05 => "0".to_owned(),
        r if r < 9.95 => format!("{r:.1}"),
        r if r < 999.5 => format!("{r:.0}"),
        r if r < 999_500.0 => scaled(r / 1e3, "k"),
        r => scaled(r / 1e6, "M"),
    }
}

/// A rate of bytes, in bits per second as networks are measured.
pub(crate) fn bit_rate(bytes_per_second: f64) -> String {
    match bytes_per_second * 8.0 {
        b if b < 1e3 => format!("{b:.0} bit/s"),
        b if b < 999_500.0 => scaled(b / 1e3, " kbit/s"),
        b if b < 999_500_000.0 => scaled(b / 1e6, " Mbit/s"),
        b => scaled(b / 1e9, " Gbit/s"),
    }
}

/// A short time, in ms with the digits that matter.
pub(crate) fn duration(micros: u64) -> String {
    match micros {
        us if us < 1_000 => format!("{:.2} ms", f64_of(us) / 1e3),
        us if us < 100_000 => format!("{:.1} ms", f64_of(us) / 1e3),
        us => format!("{} ms", count(us / 1_000)),
    }
}

/// A span of time in its two largest units.
pub(crate) fn span(t: &Texts, ms: u64) -> String {
    let s = ms / 1_000;
    let (minutes, hours, days) = (s / 60, s / 3_600, s / 86_400);
    let two = |large: u64, large_unit, small: u64, small_unit| {
        if small == 0 {
            format!("{large}{large_unit}")
        } else {
            format!("{large}{large_unit} {small}{small_unit}")
        }
    };
    if days > 0 {
        two(days, t.unit_day, hours % 24, t.unit_hour)
    } else if hours > 0 {
        two(hours, t.unit_hour, minutes % 60, t.unit_minute)
    } else if minutes >= 10 {
        format!("{minutes}{}", t.unit_minute)
    } else if minutes > 0 {
        two(minutes, t.unit_minute, s % 60, t.unit_second)
    } else {
        format!("{s}{}", t.unit_second)
    }
}

/// A sentence of the cluster with a capital letter at its start.
pub(crate) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// A counter as a float; it stays exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "what is shown has three digits")]
pub(crate) fn f64_of(number: u64) -> f64 {
    number as f64
}

fn scaled(value: f64, unit: &str) -> String {
    if value < 9.95 { format!("{value:.1}{unit}") } else { format!("{value:.0}{unit}") }
}

#[cfg(test)]
mod tests;
