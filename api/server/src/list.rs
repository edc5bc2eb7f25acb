//! Pages of a list: which resources, in which order, from where.
//!
//! A cursor names the last resource of its page by what the list is sorted by, not by its place, so
//! that resources that come or go meanwhile move no page.

use ballast_model::AnyResource;
use ballast_model::api::Page;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::failure::{Answer, Failure};

/// Most resources on a page.
const LIMIT_MAX_COUNT: u64 = 500;
/// How many unless told otherwise.
const LIMIT_DEFAULT_COUNT: u64 = 100;

/// What to list.
pub(crate) struct Query {
    limit: usize,
    after: Option<Position>,
    text: String,
    labels: Vec<(String, String)>,
    sort: Sort,
}

/// By what, and which way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sort {
    by: By,
    descending: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum By {
    Name,
    Revision,
    UpdatedAt,
}

/// A place in a list: just after this resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Place {
    number: u64,
    name: String,
}

/// What a cursor holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Position {
    sort: Sort,
    place: Place,
}

impl Query {
    pub(crate) fn of(call: &Call) -> Answer<Self> {
        let limit = call.number("limit", LIMIT_DEFAULT_COUNT, 1, LIMIT_MAX_COUNT)?;
        let sort = Sort::read(call.parameter("sort").unwrap_or("name"))?;
        let after = call.parameter("cursor").map(|cursor| Position::read(cursor, sort));
        Ok(Self {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            after: after.transpose()?,
            text: call.parameter("q").unwrap_or("").to_lowercase(),
            labels: call.labels()?,
            sort,
        })
    }

    fn matches(&self, resource: &AnyResource) -> bool {
        let labels = resource.labels();
        let holds = |text: &str| text.to_lowercase().contains(&self.text);
        self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && (self.text.is_empty()
                || holds(resource.name())
                || holds(resource.description())
                || labels.iter().any(|(key, value)| holds(key) || holds(value)))
    }
}

impl Sort {
    fn read(text: &str) -> Answer<Self> {
        let (descending, key) = match text.strip_prefix('-') {
            Some(key) => (true, key),
            None => (false, text),
        };
        let by = match key {
            "name" => By::Name,
            "revision" => By::Revision,
            "updated_at_ms" => By::UpdatedAt,
            _ => {
                let known = "name, revision and updated_at_ms, each with or without - before it";
                return Err(Failure::parameter("sort", format!("is {text:?}; known are {known}")));
            }
        };
        Ok(Self { by, descending })
    }

    fn place(self, resource: &AnyResource) -> Place {
        let number = match self.by {
            By::Name => 0,
            By::Revision => resource.revision(),
            By::UpdatedAt => resource.updated_at_ms(),
        };
        Place { number, name: resource.name().to_owned() }
    }
}

impl Position {
    fn read(cursor: &str, sort: Sort) -> Answer<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
        let position = bytes.and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        match position {
            Some(position) if position.sort == sort => Ok(position),
            Some(_) => Err(Failure::parameter("cursor", "belongs to a list with another sort")),
            None => Err(Failure::parameter("cursor", "is none that was given out")),
        }
    }

    fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }
}

/// The page of `resources` that `query` asks for.
pub(crate) fn page(resources: Vec<AnyResource>, query: &Query) -> Answer<Page<AnyResource>> {
    let sort = query.sort;
    let matching = resources.into_iter().filter(|resource| query.matches(resource));
    let mut places: Vec<_> = matching.map(|resource| (sort.place(&resource), resource)).collect();
    places.sort_by(|(a, _), (b, _)| if sort.descending { b.cmp(a) } else { a.cmp(b) });
    let total = places.len();
    let start = query.after.as_ref().map_or(0, |after| {
        places.partition_point(|(place, _)| match sort.descending {
            true => *place >= after.place,
            false => *place <= after.place,
        })
    });
    let rest = &places[start..];
    let items = &rest[..rest.len().min(query.limit)];
    let next_cursor = items
        .last()
        .filter(|_| items.len() < rest.len())
        .map(|(place, _)| Position { sort, place: place.clone() }.text());
    let items = items.iter().map(|(_, resource)| resource.clone()).collect();
    Ok(Page { items, total, next_cursor })
}
