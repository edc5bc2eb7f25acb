use super::*;

#[test]
fn counters_outlive_recompilation_and_go_with_their_virtual_server() {
    let registry = CounterRegistry::new(2);
    let first = registry.virtual_server("uid-1", "web");
    first.shard(1).connection_opened();
    assert!(Arc::ptr_eq(&first, &registry.virtual_server("uid-1", "web")));
    registry.virtual_server("uid-2", "api");
    let names: Vec<_> = registry.statuses().into_iter().map(|status| status.name).collect();
    assert_eq!(names, ["api", "web"]);
    registry.retain(&BTreeSet::from(["uid-1"]));
    assert_eq!(registry.statuses()[0].connections, 1);
    registry.remove("uid-1");
    assert!(registry.all().is_empty());
    first.shard(0).connection_closed();
}
