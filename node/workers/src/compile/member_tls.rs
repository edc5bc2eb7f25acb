//! TLS to the members of pools, made ready once for each revision of settings and client certificate.
//!
//! Invariant: a pool with TLS settings is never left without: it has what its settings say, or what
//! they said before, or is unusable.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use ballast_balance::PoolRegistry;
use ballast_model::{Config, PoolSpec, PoolTls, Resource};
use ballast_tls::{MemberTls, Security, SystemRoots};

use crate::tls::CertificateStore;

/// The TLS of every pool that has settings for it.
#[derive(Debug, Default)]
pub(super) struct MemberTlsStore {
    /// By the pool's name.
    pools: BTreeMap<String, Made>,
    system: SystemRoots,
}

#[derive(Debug)]
struct Made {
    sources: Sources,
    security: Security,
    error: Option<String>,
}

/// What a pool's TLS was made from.
#[derive(Clone, Debug, PartialEq)]
struct Sources {
    pool_uid: String,
    settings: PoolTls,
    /// Uid and revision.
    client_certificate: Option<(String, u64)>,
}

impl MemberTlsStore {
    /// Secures the pools in `registry` as `config` says. `compiled` are those compiled a moment ago;
    /// others whose client certificate has changed are added to it.
    pub(super) fn secure(
        &mut self,
        config: &Config,
        certificates: &mut CertificateStore,
        registry: &mut PoolRegistry,
        compiled: &mut Vec<String>,
    ) {
        self.pools
            .retain(|name, _| config.pools.get(name).is_some_and(|pool| pool.spec.tls.is_some()));
        let just_compiled: HashSet<String> = compiled.iter().cloned().collect();
        for pool in config.pools.iter() {
            let Some(settings) = &pool.spec.tls else { continue };
            let is_new = self.make(config, certificates, pool, settings);
            let was_compiled = just_compiled.contains(&pool.name);
            if !was_compiled && !is_new {
                continue;
            }
            if let Some(made) = self.pools.get(&pool.name) {
                registry.secure(&pool.name, made.security.clone());
            }
            if !was_compiled {
                compiled.push(pool.name.clone());
            }
        }
    }

    /// What could not be made ready, in sentences.
    pub(super) fn errors(&self) -> impl Iterator<Item = String> + '_ {
        self.pools.iter().filter_map(|(name, made)| {
            made.error.as_ref().map(|error| format!("pool {name}: {error}"))
        })
    }

    /// Whether it made something that was not there.
    fn make(
        &mut self,
        config: &Config,
        certificates: &mut CertificateStore,
        pool: &Resource<PoolSpec>,
        settings: &PoolTls,
    ) -> bool {
        let certificate =
            settings.client_certificate.as_ref().and_then(|name| config.certificates.get(name));
        let sources = Sources {
            pool_uid: pool.uid.clone(),
            settings: settings.clone(),
            client_certificate: certificate.map(|found| (found.uid.clone(), found.revision)),
        };
        let previous = self.pools.get(&pool.name);
        if previous.is_some_and(|made| made.sources == sources) {
            return false;
        }
        let client = certificate.map(|found| certificates.certificate(found)).transpose();
        let tls = client.and_then(|client| {
            let client = client.map(|certificate| certificate.key());
            MemberTls::new(settings, client, &mut self.system).map_err(|error| error.to_string())
        });
        let (security, error) = match tls {
            Ok(tls) => (Security::Tls(Arc::new(tls)), None),
            Err(error) => {
                tracing::warn!(pool = pool.name, error, "TLS to the members can't be used");
                // A certificate that can't be read does not undo the one before it. Other settings
                // do: nobody asked for those of yesterday.
                let kept = previous.filter(|made| {
                    made.sources.settings == *settings && made.sources.pool_uid == pool.uid
                });
                let unusable = || Security::Unusable(error.as_str().into());
                (kept.map_or_else(unusable, |made| made.security.clone()), Some(error))
            }
        };
        self.pools.insert(pool.name.clone(), Made { sources, security, error });
        true
    }
}
