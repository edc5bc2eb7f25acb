//! Certificates made ready for use, with what is stapled to them.
//!
//! Invariant: a staple is with its certificate only while it is good; what handshakes use is replaced
//! in one store.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use ballast_model::status::{CertificateState, CertificateStatus, StapleStatus};
use ballast_model::{CertificateSpec, Resource, Sealed};
use ballast_tls::leaf::{self, LeafFacts};
use ballast_tls::ocsp::{self, StapleError, Subject};
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Opens a sealed private key; the PEM, or why it can't be opened.
pub type Unseal = Arc<dyn Fn(&Sealed) -> Result<Vec<u8>, String> + Send + Sync>;

/// The certificates in use, by uid.
pub type CertificateMap = Arc<BTreeMap<String, Arc<Certificate>>>;

const DAY_S: i64 = 24 * 3_600;

/// A certificate that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The chain is no PEM of certificates.
    #[error("the chain can't be read: {0}")]
    Chain(String),
    /// The private key can't be unsealed or read.
    #[error("the private key can't be read: {0}")]
    Key(String),
    /// Key and leaf don't belong together, or the key's algorithm is unknown.
    #[error("the private key does not fit: {0}")]
    Mismatch(#[from] rustls::Error),
}

/// A certificate ready for use.
#[derive(Debug)]
pub struct Certificate {
    name: String,
    uid: String,
    facts: LeafFacts,
    order_fault: Option<String>,
    expiry_warning_s: i64,
    is_fetched: bool,
    /// Without a staple.
    bare: Arc<CertifiedKey>,
    /// What handshakes use.
    current: ArcSwap<CertifiedKey>,
    /// Looked at by those who fetch and those who tell, never by a worker.
    stapled: Mutex<Stapled>,
}

/// What is known of the staple.
#[derive(Clone, Debug, Default)]
struct Stapled {
    this_update_s: i64,
    next_update_s: i64,
    is_there: bool,
    error: Option<String>,
}

impl Certificate {
    /// Reads a certificate.
    ///
    /// # Errors
    /// Why it can't be used. A staple that is of no use does not keep a certificate from being used.
    pub fn read(spec: &CertificateSpec, unseal: &Unseal) -> Result<Self, CertificateError> {
        let chain = CertificateDer::pem_slice_iter(spec.chain_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| CertificateError::Chain(error.to_string()))?;
        if chain.is_empty() {
            return Err(CertificateError::Chain("it holds no certificate".to_owned()));
        }
        let facts =
            leaf::facts(&chain).map_err(|error| CertificateError::Chain(error.to_string()))?;
        let order_fault = leaf::check_order(&chain).err().map(|error| error.to_string());
        let key_pem = match (&spec.private_key_pem, &spec.private_key_sealed) {
            (Some(pem), _) => pem.clone().into_bytes(),
            (None, Some(sealed)) => unseal(sealed).map_err(CertificateError::Key)?,
            (None, None) => return Err(CertificateError::Key("there is none".to_owned())),
        };
        let key = PrivateKeyDer::from_pem_slice(&key_pem)
            .map_err(|error| CertificateError::Key(error.to_string()))?;
        let bare = Arc::new(CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())?);
        let certificate = Self {
            name: String::new(),
            uid: String::new(),
            facts,
            order_fault,
            expiry_warning_s: i64::from(spec.expiry_warning_days) * DAY_S,
            is_fetched: spec.ocsp_fetch,
            current: ArcSwap::new(Arc::clone(&bare)),
            bare,
            stapled: Mutex::default(),
        };
        if let Some(text) = &spec.ocsp_response {
            let taken = ocsp::from_text(text).and_then(|der| certificate.staple(&der, now_s()));
            if let Err(error) = taken {
                certificate.note_failure(error.to_string());
            }
        }
        Ok(certificate)
    }

    /// The chain and its key, with a staple if there is one.
    pub fn key(&self) -> Arc<CertifiedKey> {
        self.current.load_full()
    }

    /// The resource's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// DNS names of the leaf, in lower case.
    pub fn names(&self) -> &[String] {
        &self.facts.names
    }

    /// The algorithm of its key.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.bare.key.algorithm()
    }

    /// Whether its key makes a signature of one of those kinds.
    pub fn can_sign(&self, schemes: &[SignatureScheme]) -> bool {
        self.bare.key.choose_scheme(schemes).is_some()
    }

    /// Where the staple is to be fetched, and what to send there; none where it is not wanted.
    ///
    /// # Errors
    /// It is wanted and can't be asked for.
    pub fn staple_request(&self) -> Option<Result<(&str, Vec<u8>), String>> {
        if !self.is_fetched {
            return None;
        }
        let Some(url) = self.facts.responder_url.as_deref() else {
            return Some(Err("the certificate names no responder of OCSP with http".to_owned()));
        };
        let request = Subject::of_chain(&self.bare.cert).map(|subject| subject.request());
        Some(request.map(|request| (url, request)).map_err(|error| error.to_string()))
    }

    /// Staples that answer of the responder, if it is good at `now_s`. One that was there stays
    /// otherwise.
    ///
    /// # Errors
    /// Why it is not stapled.
    pub fn staple(&self, response: &[u8], now_s: i64) -> Result<(), StapleError> {
        let staple = Subject::of_chain(&self.bare.cert)?.staple(response, now_s)?;
        let mut key = CertifiedKey::clone(&self.bare);
        key.ocsp = Some(staple.der);
        let mut stapled = self.stapled();
        self.current.store(Arc::new(key));
        *stapled = Stapled {
            this_update_s: staple.this_update_s,
            next_update_s: staple.next_update_s,
            is_there: true,
            error: None,
        };
        Ok(())
    }

    /// Notes why there is no new staple.
    pub fn note_failure(&self, error: String) {
        self.stapled().error = Some(error);
    }

    /// From when to when the staple is good, in s since the Unix epoch; none where there is none.
    pub fn staple_times_s(&self) -> Option<(i64, i64)> {
        let stapled = self.stapled();
        stapled.is_there.then_some((stapled.this_update_s, stapled.next_update_s))
    }

    /// Takes the staple away if its time is over at `now_s`.
    pub fn drop_expired(&self, now_s: i64) {
        let mut stapled = self.stapled();
        if stapled.is_there && stapled.next_update_s <= now_s {
            stapled.is_there = false;
            stapled.error.get_or_insert_with(|| "the last staple's time is over".to_owned());
            self.current.store(Arc::clone(&self.bare));
        }
    }

    /// What there is to say of it at `now_s`.
    pub fn status(&self, now_s: i64) -> CertificateStatus {
        let facts = &self.facts;
        let left_s = facts.not_after_s - now_s;
        let state = match () {
            () if left_s < 0 => CertificateState::Expired,
            () if facts.not_before_s > now_s => CertificateState::NotYetValid,
            () if left_s < self.expiry_warning_s => CertificateState::Expiring,
            () => CertificateState::Valid,
        };
        let mut problems = Vec::new();
        match state {
            CertificateState::Valid => {}
            CertificateState::Expiring => problems.push(format!("expires in {}", span(left_s))),
            CertificateState::Expired => problems.push(format!("expired {} ago", span(-left_s))),
            CertificateState::NotYetValid => {
                problems.push(format!("is not good for {} yet", span(facts.not_before_s - now_s)));
            }
        }
        if facts.is_incomplete {
            problems
                .push("its chain lacks who issued it: not all clients can verify it".to_owned());
        }
        problems.extend(self.order_fault.as_ref().map(|fault| format!("its chain: {fault}")));
        let stapled = self.stapled().clone();
        if facts.must_staple && !stapled.is_there {
            problems.push("says that it must be stapled, and there is no staple".to_owned());
        }
        if let Some(error) = &stapled.error {
            problems.push(format!("OCSP: {error}"));
        }
        let to_ms = |s: i64| u64::try_from(s).unwrap_or(0) * 1_000;
        CertificateStatus {
            name: self.name.clone(),
            not_before_ms: to_ms(facts.not_before_s),
            not_after_ms: to_ms(facts.not_after_s),
            state,
            must_staple: facts.must_staple,
            staple: stapled.is_there.then(|| StapleStatus {
                this_update_ms: to_ms(stapled.this_update_s),
                next_update_ms: to_ms(stapled.next_update_s),
            }),
            problems,
        }
    }

    /// Goes on with the staple of an earlier revision of the same certificate.
    fn take_over(&self, earlier: &Self) {
        let is_same = self.is_fetched && earlier.is_fetched && self.bare.cert == earlier.bare.cert;
        if is_same && let Some(der) = earlier.key().ocsp.as_deref() {
            // What is not good any more is fetched anew.
            let _is_over = self.staple(der, now_s());
        }
    }

    /// Has it be for that name alone.
    #[cfg(test)]
    pub(crate) fn rename(&mut self, name: String) {
        self.facts.names = vec![name];
    }

    fn stapled(&self) -> MutexGuard<'_, Stapled> {
        self.stapled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn span(s: i64) -> String {
    match (s / DAY_S, s / 3_600) {
        (0, hours) => format!("{hours} h"),
        (1, _) => "1 day".to_owned(),
        (days, _) => format!("{days} days"),
    }
}

/// The time since the Unix epoch, in s.
pub fn now_s() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}

/// Certificates that were read, so that each revision is read once.
pub struct CertificateStore {
    unseal: Unseal,
    read: HashMap<String, (u64, Result<Arc<Certificate>, String>)>,
    /// Those that can be used; none where it has to be made anew.
    usable: Option<CertificateMap>,
}

impl CertificateStore {
    /// An empty store.
    pub fn new(unseal: Unseal) -> Self {
        Self { unseal, read: HashMap::new(), usable: None }
    }

    /// The certificate as of its present revision.
    ///
    /// # Errors
    /// Why it can't be used, in a sentence.
    pub fn certificate(
        &mut self,
        resource: &Resource<CertificateSpec>,
    ) -> Result<Arc<Certificate>, String> {
        let known = self.read.get(&resource.uid);
        if let Some((revision, read)) = known
            && *revision == resource.revision
        {
            return read.clone();
        }
        let earlier = known.and_then(|(_, read)| read.as_ref().ok());
        let read = match Certificate::read(&resource.spec, &self.unseal) {
            Ok(mut certificate) => {
                certificate.name.clone_from(&resource.name);
                certificate.uid.clone_from(&resource.uid);
                if let Some(earlier) = earlier {
                    certificate.take_over(earlier);
                }
                Ok(Arc::new(certificate))
            }
            Err(error) => Err(format!("certificate {:?}: {error}", resource.name)),
        };
        self.read.insert(resource.uid.clone(), (resource.revision, read.clone()));
        self.usable = None;
        read
    }

    /// Forgets certificates whose uid `is_kept` denies.
    pub fn retain(&mut self, is_kept: impl Fn(&str) -> bool) {
        let before = self.read.len();
        self.read.retain(|uid, _| is_kept(uid));
        if self.read.len() != before {
            self.usable = None;
        }
    }

    /// Those that can be used; the same map for as long as they are the same.
    pub fn usable(&mut self) -> CertificateMap {
        let read = &self.read;
        let usable = self.usable.get_or_insert_with(|| {
            let usable = read.iter().filter_map(|(uid, (_, read))| {
                read.as_ref().ok().map(|certificate| (uid.clone(), Arc::clone(certificate)))
            });
            Arc::new(usable.collect())
        });
        Arc::clone(usable)
    }
}

#[cfg(test)]
pub(crate) mod tests;
