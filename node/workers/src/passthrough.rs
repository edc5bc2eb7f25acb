//! Where TLS that is passed on unopened goes: from names to pools.
//!
//! Invariant: finding a pool costs one look-up for each label of the name, however many routes there
//! are.

use std::collections::HashMap;
use std::sync::Arc;

use ballast_model::{TlsPassthrough, UnmatchedName};

use crate::slot::PoolSlot;

/// See the module.
#[derive(Debug, Default)]
pub struct Passthrough {
    exact: HashMap<String, Vec<Route>>,
    /// By what follows the `*.`.
    wildcard: HashMap<String, Vec<Route>>,
    /// For what no route fits; none: refused.
    unmatched: Option<Arc<PoolSlot>>,
    /// Longest wait for the client's first message, in ms.
    pub hello_timeout_ms: u64,
}

#[derive(Debug)]
struct Route {
    alpn_protocols: Vec<String>,
    pool: Arc<PoolSlot>,
}

impl Passthrough {
    /// Routes to the pools that `pool` knows by name; `own` is that of the virtual server.
    pub fn new(
        spec: &TlsPassthrough,
        own: &Arc<PoolSlot>,
        pool: impl Fn(&str) -> Option<Arc<PoolSlot>>,
    ) -> Self {
        let mut routes = Self {
            unmatched: (spec.unmatched == UnmatchedName::Pool).then(|| Arc::clone(own)),
            hello_timeout_ms: spec.hello_timeout_ms,
            ..Self::default()
        };
        for route in &spec.routes {
            // A configuration whose references don't hold is never committed.
            let Some(pool) = pool(&route.pool) else { continue };
            for name in &route.server_names {
                let name = name.to_ascii_lowercase();
                let (names, name) = match name.strip_prefix("*.") {
                    Some(suffix) => (&mut routes.wildcard, suffix),
                    None => (&mut routes.exact, name.as_str()),
                };
                let alpn_protocols = route.alpn_protocols.clone();
                let route = Route { alpn_protocols, pool: Arc::clone(&pool) };
                names.entry(name.to_owned()).or_default().push(route);
            }
        }
        routes
    }

    /// The pool for a client that asks for `server_name`, in lower case, and offers the application
    /// protocols that `offers` affirms; none: it is refused.
    pub fn find(
        &self,
        server_name: Option<&str>,
        offers: impl Fn(&str) -> bool,
    ) -> Option<&Arc<PoolSlot>> {
        let fits = |route: &&Route| {
            route.alpn_protocols.is_empty()
                || route.alpn_protocols.iter().any(|protocol| offers(protocol))
        };
        let first = |routes: Option<&Vec<Route>>| -> Option<usize> {
            routes?.iter().position(|route| fits(&route))
        };
        let Some(name) = server_name else { return self.unmatched.as_ref() };
        if let Some(routes) = self.exact.get(name)
            && let Some(index) = first(Some(routes))
        {
            return Some(&routes[index].pool);
        }
        let mut rest = name;
        while let Some((_, suffix)) = rest.split_once('.') {
            if let Some(routes) = self.wildcard.get(suffix)
                && let Some(index) = first(Some(routes))
            {
                return Some(&routes[index].pool);
            }
            rest = suffix;
        }
        self.unmatched.as_ref()
    }
}
