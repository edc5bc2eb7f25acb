//! What virtual servers must keep to with regard to each other: an address and port has one of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::Config;
use crate::command::Rejection;
use crate::limits::LISTENER_MAX_COUNT;
use crate::resource::Draft;
use crate::spec::virtual_server::{Transport, VirtualServerSpec};
use crate::validate::FieldErrors;

impl Config {
    pub(super) fn check_listener_count(&self) -> Result<(), Rejection> {
        let counts = self.virtual_servers.iter().map(|server| server.spec.listener_count());
        if counts.sum::<usize>() > LISTENER_MAX_COUNT {
            let what = "listening addresses and ports".to_owned();
            return Err(Rejection::TooMany { what, max: LISTENER_MAX_COUNT });
        }
        Ok(())
    }

    pub(super) fn listener_owners(&self) -> BTreeMap<(Transport, SocketAddr), Vec<&str>> {
        let mut owners = BTreeMap::<_, Vec<_>>::new();
        for server in self.virtual_servers.iter() {
            for listener in server.spec.listeners() {
                let transport = server.spec.protocol.transport();
                owners.entry((transport, listener)).or_default().push(server.name.as_str());
            }
        }
        owners
    }
}

pub(super) fn check(
    draft: &Draft<VirtualServerSpec>,
    owners: &BTreeMap<(Transport, SocketAddr), Vec<&str>>,
    errors: &mut FieldErrors,
) {
    for listener in draft.spec.listeners() {
        let others = owners.get(&(draft.spec.protocol.transport(), listener)).into_iter().flatten();
        if let Some(other) = others.copied().find(|other| *other != draft.name) {
            errors.at("/spec/addresses", "listener_conflict", || {
                format!("virtual server {other} listens on {listener} already")
            });
        }
    }
}
