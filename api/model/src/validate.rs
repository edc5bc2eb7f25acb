//! Field errors: every fault of an input at once, each with a JSON pointer, a stable code and a
//! sentence.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

use crate::limits::{
    DESCRIPTION_MAX_BYTES, FAULT_MAX_COUNT, LABEL_MAX_BYTES, LABEL_MAX_COUNT, NAME_MAX_CHARS,
    TIMEOUT_MAX_MS,
};
use crate::resource::ResourceRef;

/// One fault of an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the resource's document, such as `/spec/members/3/port`.
    pub pointer: String,
    /// Stable machine-readable code, such as `out_of_range`.
    pub code: String,
    /// What is wrong and what would be right, in a sentence.
    pub message: String,
    /// The resource at fault, where the input held several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceRef>,
}

/// Collects faults while walking an input; knows where in the document it stands.
///
/// ```
/// use ballast_model::FieldErrors;
/// let mut errors = FieldErrors::default();
/// errors.within("spec", |e| e.within(3, |e| e.push("port", "out_of_range", "is 0")));
/// assert_eq!(errors.into_vec()[0].pointer, "/spec/3/port");
/// ```
#[derive(Debug, Default)]
pub struct FieldErrors {
    path: String,
    resource: Option<ResourceRef>,
    found: Vec<FieldError>,
    /// Faults beyond [`FAULT_MAX_COUNT`], which are only counted.
    untold_count: usize,
}

impl FieldErrors {
    /// Runs `walk` one level deeper: all pointers it pushes start with `segment`.
    pub fn within<T>(&mut self, segment: impl Display, walk: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        self.path.push('/');
        let segment = segment.to_string();
        self.path.push_str(&segment.replace('~', "~0").replace('/', "~1"));
        let result = walk(self);
        self.path.truncate(length);
        result
    }

    /// Runs `walk` with all faults attributed to `resource`.
    pub fn of<T>(&mut self, resource: ResourceRef, walk: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.resource.replace(resource);
        let result = walk(self);
        self.resource = outer;
        result
    }

    /// Notes a fault of the field `segment` of the present place.
    pub fn push(&mut self, segment: impl Display, code: &str, message: impl Into<String>) {
        self.within(segment, |errors| errors.here(code, message));
    }

    /// Notes a fault of the present place itself.
    pub fn here(&mut self, code: &str, message: impl Into<String>) {
        self.note("", code, || message.into());
    }

    /// Notes a fault at a pointer that is ready-made.
    pub fn at(&mut self, pointer: &str, code: &str, message: impl FnOnce() -> String) {
        self.note(pointer, code, message);
    }

    /// An input chooses how many faults it has, but not how much memory telling them takes.
    fn note(&mut self, pointer: &str, code: &str, message: impl FnOnce() -> String) {
        if self.found.len() >= FAULT_MAX_COUNT {
            self.untold_count += 1;
            return;
        }
        self.found.push(FieldError {
            pointer: format!("{}{pointer}", self.path),
            code: code.to_owned(),
            message: message(),
            resource: self.resource.clone(),
        });
    }

    /// Notes a fault unless `holds`.
    pub fn require(
        &mut self,
        holds: bool,
        segment: impl Display,
        code: &str,
        message: impl FnOnce() -> String,
    ) {
        if !holds {
            self.push(segment, code, message());
        }
    }

    /// Requires `value` to lie in `min..=max`.
    pub fn range<T: PartialOrd + Display + Copy>(
        &mut self,
        segment: &str,
        value: T,
        min: T,
        max: T,
    ) {
        if value < min || value > max {
            let message = format!("is {value}; the range is {min} to {max}");
            self.push(segment, "out_of_range", message);
        }
    }

    /// Requires a timeout or interval of at least `min_ms` and at most a day.
    pub fn timeout_ms(&mut self, segment: &str, value_ms: u64, min_ms: u64) {
        self.range(segment, value_ms, min_ms, TIMEOUT_MAX_MS);
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Whether further faults are only counted, so that looking for them is of no use.
    pub fn is_full(&self) -> bool {
        self.found.len() >= FAULT_MAX_COUNT
    }

    /// The faults, in the order in which they were met; of more than [`FAULT_MAX_COUNT`], the last
    /// says how many more there are.
    pub fn into_vec(mut self) -> Vec<FieldError> {
        if self.untold_count > 0 {
            self.found.push(FieldError {
                pointer: String::new(),
                code: "more_faults".to_owned(),
                message: format!("{} more faults are not listed", self.untold_count),
                resource: None,
            });
        }
        self.found
    }
}

/// Checks a resource's name: 1 to 128 of letters, digits, `.`, `_`, `-`, starting with a letter or
/// digit.
pub fn name(errors: &mut FieldErrors, segment: &str, name: &str) {
    let mut chars = name.chars();
    let starts_well = chars.next().is_some_and(|c| c.is_ascii_alphanumeric());
    let goes_on_well = chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if !(starts_well && goes_on_well && name.len() <= NAME_MAX_CHARS) {
        errors.push(
            segment,
            "invalid_name",
            format!(
                "must be 1 to {NAME_MAX_CHARS} letters, digits, '.', '_' or '-', and start with a \
                 letter or digit"
            ),
        );
    }
}

/// Checks labels and description, which every resource has.
pub fn metadata<'a>(
    errors: &mut FieldErrors,
    labels: impl ExactSizeIterator<Item = (&'a String, &'a String)>,
    description: &str,
) {
    errors.range("labels", labels.len(), 0, LABEL_MAX_COUNT);
    errors.within("labels", |errors| {
        for (key, value) in labels {
            let fits = (1..=LABEL_MAX_BYTES).contains(&key.len()) && value.len() <= LABEL_MAX_BYTES;
            let plain = !key.chars().chain(value.chars()).any(char::is_control)
                && !key.contains(['=', ',']);
            errors.require(fits && plain, key, "invalid_label", || {
                format!(
                    "a label's key is 1 to {LABEL_MAX_BYTES} bytes without '=' and ',', its value \
                     at most {LABEL_MAX_BYTES}; neither holds control characters"
                )
            });
        }
    });
    errors.range("description", description.len(), 0, DESCRIPTION_MAX_BYTES);
}
