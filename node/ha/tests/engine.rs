//! What becomes of groups on real devices when their configuration or the kernel changes. Needs root;
//! nothing of the machine's own network is touched.

use std::sync::Arc;

use ballast_model::{Snapshot, TrafficGroupSpec};

#[path = "shared/namespace.rs"]
mod namespace;
#[path = "shared/world.rs"]
mod world;

use world::World;

const GROUP: &str = "web";

fn snapshot(index: u64, group: TrafficGroupSpec) -> Arc<Snapshot> {
    world::snapshot(index, world::nodes(), &[(GROUP, group)])
}

#[test]
fn a_group_that_was_off_has_an_owner_again() {
    let world = World::new();
    let ha = world.start(0, snapshot(1, world::group()));
    world.until_active(&ha);
    ha.apply(snapshot(2, TrafficGroupSpec { enabled: false, ..world::group() }));
    world.until("it runs nowhere", || ha.status().groups.is_empty());
    ha.apply(snapshot(3, world::group()));
    world.until_active(&ha);
    world.stop(&ha);
}
