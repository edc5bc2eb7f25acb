//! What a call may ask for besides its subject, and what it learns besides its answer.

/// Which page of a list, and of which resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Most resources on the page, 1 to 500. Absent: 100.
    pub limit: Option<u32>,
    /// Where the page starts: the `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Text that name, description or a label must hold.
    pub q: Option<String>,
    /// Labels that the resource must carry, as key and value.
    pub labels: Vec<(String, String)>,
    /// `name`, `revision` or `updated_at_ms`, with a `-` before it for the other way round.
    pub sort: Option<String>,
}

impl ListQuery {
    pub(crate) fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        pairs.extend(self.limit.map(|limit| ("limit", limit.to_string())));
        pairs.extend(self.cursor.clone().map(|cursor| ("cursor", cursor)));
        pairs.extend(self.q.clone().map(|q| ("q", q)));
        pairs.extend(self.labels.iter().map(|(key, value)| ("label", format!("{key}={value}"))));
        pairs.extend(self.sort.clone().map(|sort| ("sort", sort)));
        pairs
    }
}

/// Which changes of traffic groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HaEventsQuery {
    /// Most changes in the answer, 1 to 1000. Absent: 100.
    pub limit: Option<u32>,
    /// Only this group's.
    pub group: Option<String>,
    /// Only this node's.
    pub node: Option<String>,
}

impl HaEventsQuery {
    pub(crate) fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        pairs.extend(self.group.clone().map(|group| ("group", group)));
        pairs.extend(self.limit.map(|limit| ("limit", limit.to_string())));
        pairs.extend(self.node.clone().map(|node| ("node", node)));
        pairs
    }
}

/// What must hold for a write to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Match {
    /// There must be no such resource yet.
    Absent,
    /// Anything.
    #[default]
    Any,
    /// The resource must still be at this revision.
    Revision(u64),
}

/// How a write is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// What must hold before.
    pub only_if: Match,
    /// Check everything, write nothing.
    pub dry_run: bool,
    /// Wait until every live node carries the change out, at most so long, in ms.
    pub wait_applied_ms: Option<u64>,
    /// Names the write, so that a repetition is not done twice.
    pub idempotency_key: Option<String>,
}

impl WriteOptions {
    /// How long [`WriteOptions::wait_applied`] waits, in ms.
    pub const WAIT_DEFAULT_MS: u64 = 10_000;

    /// Writes without any condition and waits for nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only if the resource is still at `revision`.
    #[must_use]
    pub fn if_revision(self, revision: u64) -> Self {
        Self { only_if: Match::Revision(revision), ..self }
    }

    /// Only if there is no such resource.
    #[must_use]
    pub fn if_absent(self) -> Self {
        Self { only_if: Match::Absent, ..self }
    }

    /// Checks everything and writes nothing.
    #[must_use]
    pub fn dry_run(self) -> Self {
        Self { dry_run: true, ..self }
    }

    /// Waits until every live node carries the change out.
    #[must_use]
    pub fn wait_applied(self) -> Self {
        Self { wait_applied_ms: Some(Self::WAIT_DEFAULT_MS), ..self }
    }

    /// Names the write, so that a repetition is not done twice.
    #[must_use]
    pub fn idempotency_key(self, key: impl Into<String>) -> Self {
        Self { idempotency_key: Some(key.into()), ..self }
    }

    pub(crate) fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        if self.dry_run {
            pairs.push(("dry_run", "true".to_owned()));
        }
        if let Some(wait_ms) = self.wait_applied_ms {
            pairs.push(("wait", "applied".to_owned()));
            pairs.push(("wait_timeout_ms", wait_ms.to_string()));
        }
        pairs
    }
}

/// What a write answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Written<T> {
    /// The resource as it is now (or would be, for a dry run).
    pub value: T,
    /// Whether it was created.
    pub created: bool,
    /// The index up to which the answering node has applied the log; no smaller than the write's.
    pub index: u64,
    /// Nodes that do not carry the change out yet, as `name=reason`; only after waiting.
    pub not_applied: Vec<String>,
}
