//! A provider of tokens as workers see it: a slot whose keys are replaced while it stays.
//!
//! Invariant: keys that were good stay until others are there: neither an edit of the provider nor a
//! fetch that fails takes them away, but for a change of where they come from.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use ballast_model::JwtProviderSpec;
use ballast_policy::jwt::{JwksError, KeySet, Verifier, VerifierSettings};
use tokio::sync::Notify;

/// Providers by name.
pub type ProviderMap = Arc<BTreeMap<String, Arc<ProviderSlot>>>;

/// A provider of tokens.
#[derive(Debug)]
pub struct ProviderSlot {
    /// Its name.
    pub name: String,
    /// Never reused, unlike the name.
    pub uid: String,
    verifier: ArcSwapOption<Verifier>,
    state: Mutex<State>,
    /// Told when a token names a key that is not known.
    wish: Notify,
    unknown_key_count: AtomicU64,
    has_changed: AtomicBool,
}

/// What the control threads keep; workers never look at it.
#[derive(Debug, Default)]
struct State {
    revision: u64,
    spec: Option<JwtProviderSpec>,
    keys: Option<KeySet>,
    error: Option<String>,
    fetched_at_ms: Option<u64>,
}

/// A slot equals itself alone.
impl PartialEq for ProviderSlot {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

/// What is known of a provider's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderFacts {
    /// How many keys there are to verify with; an RSA key counts once for each algorithm.
    pub key_count: usize,
    /// Keys of the document that are not understood.
    pub skipped_count: usize,
    /// When they were last fetched, in ms since the Unix epoch; none for those in the resource.
    pub fetched_at_ms: Option<u64>,
    /// Why they could not be had the last time.
    pub error: Option<String>,
    /// Tokens that named a key that is not known.
    pub unknown_key_count: u64,
}

impl ProviderSlot {
    pub(crate) fn new(name: &str, uid: &str) -> Self {
        Self {
            name: name.to_owned(),
            uid: uid.to_owned(),
            verifier: ArcSwapOption::empty(),
            state: Mutex::default(),
            wish: Notify::new(),
            unknown_key_count: AtomicU64::new(0),
            has_changed: AtomicBool::new(true),
        }
    }

    /// A provider as it is declared in that revision.
    pub fn declared(name: &str, uid: &str, revision: u64, spec: &JwtProviderSpec) -> Self {
        let slot = Self::new(name, uid);
        slot.set(revision, spec);
        slot
    }

    /// Checks tokens; none while there are no keys.
    pub fn verifier(&self) -> arc_swap::Guard<Option<Arc<Verifier>>> {
        self.verifier.load()
    }

    /// Takes up what is declared, with the keys that stand in it.
    pub(crate) fn set(&self, revision: u64, spec: &JwtProviderSpec) {
        let mut state = self.state();
        if state.revision == revision {
            return;
        }
        state.revision = revision;
        self.has_changed.store(true, Ordering::Relaxed);
        let previous = state.spec.replace(spec.clone());
        if let Some(jwks) = &spec.jwks {
            state.fetched_at_ms = None;
            match KeySet::from_jwks(jwks.to_string().as_bytes()) {
                Ok(keys) => (state.keys, state.error) = (Some(keys), None),
                Err(error) => (state.keys, state.error) = (None, Some(error.to_string())),
            }
        } else if previous.is_none_or(|previous| previous.jwks_url != spec.jwks_url) {
            *state = State { revision, spec: state.spec.take(), ..State::default() };
        }
        self.rebuild(&state);
    }

    /// Whether it was declared anew since this was last asked.
    pub(crate) fn take_changed(&self) -> bool {
        self.has_changed.swap(false, Ordering::Relaxed)
    }

    /// Where the keys are to be fetched from, if they are; changes with each revision.
    pub fn source(&self) -> Option<(u64, JwtProviderSpec)> {
        let state = self.state();
        let spec = state.spec.as_ref().filter(|spec| spec.jwks_url.is_some())?;
        Some((state.revision, spec.clone()))
    }

    /// Takes up keys that were fetched for the declaration of that revision.
    ///
    /// # Errors
    /// They can't be used; those that were there stay.
    pub fn fetched(&self, revision: u64, document: &[u8], now_ms: u64) -> Result<(), JwksError> {
        let keys = KeySet::from_jwks(document);
        let mut state = self.state();
        if state.revision != revision {
            return Ok(());
        }
        match keys {
            Ok(keys) => {
                state.keys = Some(keys);
                state.error = None;
                state.fetched_at_ms = Some(now_ms);
                self.rebuild(&state);
                Ok(())
            }
            Err(error) => {
                state.error = Some(error.to_string());
                Err(error)
            }
        }
    }

    /// Notes that keys could not be fetched; those that were there stay.
    pub fn failed(&self, revision: u64, error: String) {
        let mut state = self.state();
        if state.revision == revision {
            state.error = Some(error);
        }
    }

    /// Notes that a token named a key that is not known: there may be new ones.
    pub fn note_unknown_key(&self) {
        self.unknown_key_count.fetch_add(1, Ordering::Relaxed);
        self.wish.notify_one();
    }

    /// Waits until a token has named a key that is not known. Cancel-safe.
    pub async fn wished(&self) {
        self.wish.notified().await;
    }

    /// What is known of its keys.
    pub fn facts(&self) -> ProviderFacts {
        let state = self.state();
        ProviderFacts {
            key_count: state.keys.as_ref().map_or(0, KeySet::len),
            skipped_count: state.keys.as_ref().map_or(0, KeySet::skipped_count),
            fetched_at_ms: state.fetched_at_ms,
            error: state.error.clone(),
            unknown_key_count: self.unknown_key_count.load(Ordering::Relaxed),
        }
    }

    fn rebuild(&self, state: &State) {
        let (Some(spec), Some(keys)) = (&state.spec, &state.keys) else {
            return self.verifier.store(None);
        };
        let settings = VerifierSettings {
            issuer: spec.issuer.clone(),
            audiences: spec.audiences.clone(),
            algorithms: spec.algorithms.clone(),
            clock_skew_s: u64::from(spec.clock_skew_s),
            requires_expiry: spec.requires_expiry,
        };
        self.verifier.store(Some(Arc::new(Verifier::new(settings, keys.clone()))));
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing panics while it is held, and each change of it is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
