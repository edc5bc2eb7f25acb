//! The envelope that all resources share.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::config::{Kind, Reference};
use crate::validate::{self, FieldErrors};

/// Labels: free key/value pairs that select resources.
pub type Labels = BTreeMap<String, String>;

/// What one kind of resource declares, and how it is checked.
pub trait Spec: Clone + Debug + PartialEq + Serialize + DeserializeOwned {
    /// The kind that has this spec.
    const KIND: Kind;

    /// Notes every fault that can be seen without looking at other resources.
    fn validate(&self, errors: &mut FieldErrors);

    /// Resources that this one names; each must exist, and none can be deleted meanwhile.
    fn references(&self) -> Vec<Reference> {
        Vec::new()
    }

    /// Carries over what a caller can't send back because it is never readable (secrets), and what
    /// only the server sets.
    fn inherit(&mut self, _previous: &Self) {}

    /// Removes what must not be shown to anybody.
    fn redact(&mut self) {}

    /// The pointer of a field that only the server may set and that this spec sets, if any.
    fn server_only_field(&self) -> Option<&'static str> {
        None
    }
}

/// A resource as stored: what was declared, and what the server set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Resource<S> {
    /// Unique within its kind.
    pub name: String,
    /// Free key/value pairs that select resources.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// Free text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What was declared.
    pub spec: S,
    /// Never reused, unlike the name.
    pub uid: String,
    /// The Raft index that last changed this resource; also its `ETag`.
    pub revision: u64,
    /// When it was created, in milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// When it last changed, in milliseconds since the Unix epoch.
    pub updated_at_ms: u64,
}

impl<S: Spec> Resource<S> {
    /// The same without secrets: what the API shows.
    #[must_use]
    pub fn redacted(&self) -> Self {
        let mut shown = self.clone();
        shown.spec.redact();
        shown
    }

    /// The declaration that would make this resource.
    pub fn to_draft(&self) -> Draft<S> {
        Draft {
            labels: self.labels.clone(),
            description: self.description.clone(),
            ..Draft::new(&self.name, self.spec.clone())
        }
    }
}

/// A resource as a caller declares it. What a read returned is accepted back: fields that the
/// server sets are ignored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the ignored fields are there to be accepted, not to be read")]
pub struct Draft<S> {
    /// Unique within its kind. May be left out where the URL names it.
    #[serde(default)]
    pub name: String,
    /// Free key/value pairs that select resources.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// Free text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What is declared.
    pub spec: S,
    #[serde(default, skip_serializing, rename = "uid")]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    ignored_uid: Ignored,
    #[serde(default, skip_serializing, rename = "revision")]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    ignored_revision: Ignored,
    #[serde(default, skip_serializing, rename = "created_at_ms")]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    ignored_created_at_ms: Ignored,
    #[serde(default, skip_serializing, rename = "updated_at_ms")]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    ignored_updated_at_ms: Ignored,
    #[serde(default, skip_serializing, rename = "status")]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    ignored_status: Ignored,
}

impl<S> Draft<S> {
    /// A declaration without labels and description.
    pub fn new(name: impl Into<String>, spec: S) -> Self {
        Self {
            name: name.into(),
            labels: Labels::new(),
            description: String::new(),
            spec,
            ignored_uid: Ignored,
            ignored_revision: Ignored,
            ignored_created_at_ms: Ignored,
            ignored_updated_at_ms: Ignored,
            ignored_status: Ignored,
        }
    }

    /// The same with a description.
    #[must_use]
    pub fn described(self, description: impl Into<String>) -> Self {
        Self { description: description.into(), ..self }
    }

    /// The same with one more label.
    #[must_use]
    pub fn labelled(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }
}

impl<S: Spec> Draft<S> {
    /// Notes every fault that can be seen without looking at other resources.
    pub fn validate(&self, errors: &mut FieldErrors) {
        validate::name(errors, "name", &self.name);
        validate::metadata(errors, self.labels.iter(), &self.description);
        errors.within("spec", |errors| self.spec.validate(errors));
    }

    /// Whether making this declaration would leave `existing` as it is.
    pub fn is_as(&self, existing: &Resource<S>) -> bool {
        self.labels == existing.labels
            && self.description == existing.description
            && self.spec == existing.spec
    }
}

/// Names one resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResourceRef {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for ResourceRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind.plural(), self.name)
    }
}

/// Takes any value and keeps none.
#[derive(Clone, Copy, Debug, Default)]
struct Ignored;

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}
