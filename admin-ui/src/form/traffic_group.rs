//! What stands in the inputs of the traffic group form, and how it becomes a declaration.

use std::net::IpAddr;
use std::str::FromStr;

use ballast_model::{
    Draft, Failback, FieldError, FieldErrors, Placement, Resource, TrackedGateway, TrackedNetwork,
    TrackedPool, Tracking, TrafficGroupSpec, VirtualAddress,
};

/// The VRID that is proposed first: low ones are what other routers come with.
const VRID_FIRST: u8 = 51;

/// The traffic group form's inputs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TrafficGroupForm {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) enabled: bool,
    pub(crate) vrid: String,
    pub(crate) network: String,
    pub(crate) interval_ms: String,
    pub(crate) load_factor: String,
    pub(crate) placement: Placement,
    pub(crate) failback: bool,
    pub(crate) delay_s: String,
    pub(crate) addresses: Vec<AddressForm>,
    /// The HA order; empty means every traffic node.
    pub(crate) nodes: Vec<String>,
    pub(crate) pools: Vec<TrackedForm>,
    pub(crate) gateways: Vec<TrackedForm>,
    pub(crate) networks: Vec<TrackedForm>,
    /// Everything else stays as it was.
    base: Option<Box<Resource<TrafficGroupSpec>>>,
}

/// A floating address's input: `192.0.2.10`, or with a prefix, `192.0.2.10/24`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct AddressForm {
    /// Tells rows apart while they come and go; never shown.
    pub(crate) key: usize,
    pub(crate) text: String,
}

/// The inputs of something that is tracked.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TrackedForm {
    /// Tells rows apart while they come and go; never shown.
    pub(crate) key: usize,
    /// A pool's name, a gateway's address, or a network's name.
    pub(crate) what: String,
    /// For pools alone: the least share of members that must be up, in percent.
    pub(crate) up_min_percent: String,
    pub(crate) weight: String,
}

impl TrafficGroupForm {
    /// An empty form, with a VRID that none of `groups` has.
    pub(crate) fn new(groups: &[Resource<TrafficGroupSpec>]) -> Self {
        let is_free = |vrid: &u8| groups.iter().all(|group| group.spec.virtual_router_id != *vrid);
        let vrid = (VRID_FIRST..=u8::MAX).chain(1..VRID_FIRST).find(is_free);
        let spec = TrafficGroupSpec::new(vrid.unwrap_or(VRID_FIRST), []);
        let addresses = vec![AddressForm::default()];
        Self { addresses, base: None, ..Self::of("", "", &spec) }
    }

    /// The form of a group that is there.
    pub(crate) fn edit(group: &Resource<TrafficGroupSpec>) -> Self {
        let form = Self::of(&group.name, &group.description, &group.spec);
        Self { base: Some(Box::new(group.clone())), ..form }
    }

    fn of(name: &str, description: &str, spec: &TrafficGroupSpec) -> Self {
        let addresses = spec.addresses.iter().enumerate();
        let pools = spec.tracking.pools.iter().enumerate();
        let gateways = spec.tracking.gateways.iter();
        let gateways = gateways.map(|tracked| (tracked.address.to_string(), tracked.weight));
        let networks = spec.tracking.networks.iter();
        let networks = networks.map(|tracked| (tracked.network.clone(), tracked.weight));
        Self {
            name: name.to_owned(),
            description: description.to_owned(),
            enabled: spec.enabled,
            vrid: spec.virtual_router_id.to_string(),
            network: spec.network.clone().unwrap_or_default(),
            interval_ms: spec.advert_interval_ms.to_string(),
            load_factor: spec.load_factor.to_string(),
            placement: spec.placement,
            failback: spec.failback.enabled,
            delay_s: spec.failback.delay_s.to_string(),
            addresses: addresses.map(|(key, address)| AddressForm::edit(key, address)).collect(),
            nodes: spec.nodes.clone(),
            pools: pools
                .map(|(key, tracked)| TrackedForm {
                    key,
                    what: tracked.pool.clone(),
                    up_min_percent: tracked.up_min_percent.to_string(),
                    weight: tracked.weight.to_string(),
                })
                .collect(),
            gateways: gateways.enumerate().map(TrackedForm::edit).collect(),
            networks: networks.enumerate().map(TrackedForm::edit).collect(),
            base: None,
        }
    }

    /// The revision that the form was filled from.
    pub(crate) fn revision(&self) -> Option<u64> {
        self.base.as_ref().map(|base| base.revision)
    }

    /// What the inputs declare.
    ///
    /// # Errors
    /// Every fault, each with the pointer of its field.
    pub(crate) fn declare(&self) -> Result<Draft<TrafficGroupSpec>, Vec<FieldError>> {
        let mut errors = FieldErrors::default();
        let spec = errors.within("spec", |errors| self.spec(errors));
        let mut draft = Draft::new(self.name.trim(), spec);
        draft.description = self.description.trim().to_owned();
        if let Some(base) = &self.base {
            draft.labels = base.labels.clone();
        }
        // Positions would be off by the rows that could not be read: those are reported first.
        if errors.is_empty() {
            draft.validate(&mut errors);
        }
        let errors = errors.into_vec();
        if errors.is_empty() { Ok(draft) } else { Err(errors) }
    }

    fn spec(&self, errors: &mut FieldErrors) -> TrafficGroupSpec {
        let base = self.base.as_ref().map(|base| base.spec.clone());
        let base = base.unwrap_or_else(|| TrafficGroupSpec::new(VRID_FIRST, []));
        let network = self.network.trim();
        let failback = errors.within("failback", |errors| Failback {
            enabled: self.failback,
            delay_s: number(errors, "delay_s", &self.delay_s, "0 to 300").unwrap_or_default(),
        });
        let tracking = errors.within("tracking", |errors| Tracking {
            pools: list(errors, "pools", &self.pools, TrackedForm::pool),
            gateways: list(errors, "gateways", &self.gateways, TrackedForm::gateway),
            networks: list(errors, "networks", &self.networks, TrackedForm::network),
        });
        TrafficGroupSpec {
            enabled: self.enabled,
            virtual_router_id: number(errors, "virtual_router_id", &self.vrid, "1 to 255")
                .unwrap_or_default(),
            addresses: list(errors, "addresses", &self.addresses, AddressForm::declare),
            network: (!network.is_empty()).then(|| network.to_owned()),
            nodes: self.nodes.clone(),
            placement: self.placement,
            load_factor: number(errors, "load_factor", &self.load_factor, "1 to 1000")
                .unwrap_or_default(),
            advert_interval_ms: number(
                errors,
                "advert_interval_ms",
                &self.interval_ms,
                "20 to 40950",
            )
            .unwrap_or_default(),
            failback,
            tracking,
            ..base
        }
    }
}

impl AddressForm {
    /// An empty row.
    pub(crate) fn new(key: usize) -> Self {
        Self { key, text: String::new() }
    }

    fn edit(key: usize, address: &VirtualAddress) -> Self {
        let prefix = address.prefix_length.map(|length| format!("/{length}")).unwrap_or_default();
        Self { key, text: format!("{}{prefix}", address.address) }
    }

    fn declare(&self, errors: &mut FieldErrors) -> Option<VirtualAddress> {
        let text = self.text.trim();
        let (address, prefix) =
            text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address = address.trim().parse::<IpAddr>();
        let prefix_length = prefix.map(|prefix| prefix.trim().parse::<u8>()).transpose();
        errors.require(address.is_ok(), "address", "invalid_address", || {
            "is no IPv4 or IPv6 address".to_owned()
        });
        errors.require(prefix_length.is_ok(), "prefix_length", "out_of_range", || {
            "is no length of a prefix".to_owned()
        });
        Some(VirtualAddress { address: address.ok()?, prefix_length: prefix_length.ok()? })
    }
}

impl TrackedForm {
    /// A row with the model's own defaults.
    pub(crate) fn new(key: usize, what: &str) -> Self {
        let (up_min_percent, weight) = ("50".to_owned(), "20".to_owned());
        Self { key, what: what.to_owned(), up_min_percent, weight }
    }

    fn edit((key, (what, weight)): (usize, (String, u8))) -> Self {
        Self { key, what, up_min_percent: String::new(), weight: weight.to_string() }
    }

    fn pool(&self, errors: &mut FieldErrors) -> Option<TrackedPool> {
        let least = number(errors, "up_min_percent", &self.up_min_percent, "1 to 100");
        let weight = number(errors, "weight", &self.weight, "1 to 100");
        Some(TrackedPool {
            pool: self.what.trim().to_owned(),
            up_min_percent: least?,
            weight: weight?,
        })
    }

    fn gateway(&self, errors: &mut FieldErrors) -> Option<TrackedGateway> {
        let address = self.what.trim().parse::<IpAddr>();
        errors.require(address.is_ok(), "address", "invalid_address", || {
            "is no IPv4 or IPv6 address".to_owned()
        });
        let weight = number(errors, "weight", &self.weight, "1 to 100");
        Some(TrackedGateway { address: address.ok()?, weight: weight? })
    }

    fn network(&self, errors: &mut FieldErrors) -> Option<TrackedNetwork> {
        let weight = number(errors, "weight", &self.weight, "1 to 100");
        Some(TrackedNetwork { network: self.what.trim().to_owned(), weight: weight? })
    }
}

fn number<T: FromStr>(errors: &mut FieldErrors, field: &str, text: &str, range: &str) -> Option<T> {
    let number = text.trim().parse::<T>().ok();
    errors
        .require(number.is_some(), field, "out_of_range", || format!("is no number from {range}"));
    number
}

fn list<F, T>(
    errors: &mut FieldErrors,
    field: &str,
    rows: &[F],
    declare: impl Fn(&F, &mut FieldErrors) -> Option<T>,
) -> Vec<T> {
    errors.within(field, |errors| {
        let rows = rows.iter().enumerate();
        rows.filter_map(|(i, row)| errors.within(i, |errors| declare(row, errors))).collect()
    })
}

#[cfg(test)]
mod tests;
