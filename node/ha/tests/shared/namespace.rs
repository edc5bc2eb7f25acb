//! A network namespace, and iproute2 in it.

use std::fs::File;
use std::process::Command;

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace; the calling thread is in the one that was made or entered last.
pub(crate) struct Namespace(pub(crate) File);

impl Namespace {
    pub(crate) fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNET)
            .expect("this test makes network namespaces: run it as root");
        let namespace = Self(File::open("/proc/thread-self/ns/net").expect("its own namespace"));
        ip("link set lo up");
        namespace
    }

    pub(crate) fn enter(&self) {
        setns(&self.0, CloneFlags::CLONE_NEWNET).expect("a namespace of this test");
    }
}

pub(crate) fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("iproute2");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {said}");
    String::from_utf8(output.stdout).expect("ip writes UTF-8")
}
