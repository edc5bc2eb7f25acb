//! Packages of the distribution: found by the program they bring, installed with apt-get where that is possible.

use std::process::Command;

use anyhow::{Result, bail};

use super::Purpose;
use crate::process::{self, Step};
use crate::workspace;

/// How the presence of a package is noticed.
enum Probe {
    /// This program is on `PATH`, wherever it came from.
    Program(&'static str),
    /// This file exists.
    File(&'static str),
}

/// A package, what needs it, and how to tell that it is there.
struct Package {
    name: &'static str,
    purpose: Purpose,
    probe: Probe,
}

const fn program(name: &'static str, purpose: Purpose, program: &'static str) -> Package {
    Package { name, purpose, probe: Probe::Program(program) }
}

const PACKAGES: &[Package] = &[
    // Links, and compiles the cryptography; rustup brings no C compiler.
    program("gcc", Purpose::Build, "cc"),
    Package {
        name: "libc6-dev",
        purpose: Purpose::Build,
        probe: Probe::File("/usr/include/stdio.h"),
    },
    program("nodejs", Purpose::Build, "node"),
    program("npm", Purpose::Build, "npm"),
    program("iproute2", Purpose::Lab, "ip"),
    program("util-linux", Purpose::Lab, "setpriv"),
    program("procps", Purpose::Lab, "ps"),
    program("iputils-ping", Purpose::Lab, "ping"),
    program("nftables", Purpose::Lab, "nft"),
    program("curl", Purpose::Lab, "curl"),
    program("haproxy", Purpose::Bench, "haproxy"),
    program("nginx-light", Purpose::Bench, "nginx"),
    Package {
        name: "libnginx-mod-stream",
        purpose: Purpose::Bench,
        probe: Probe::File("/usr/lib/nginx/modules/ngx_stream_module.so"),
    },
    program("wrk", Purpose::Bench, "wrk"),
    program("strace", Purpose::Bench, "strace"),
    program("valgrind", Purpose::Bench, "valgrind"),
    program("keepalived", Purpose::Bench, "keepalived"),
    program("iputils-arping", Purpose::Bench, "arping"),
    program("tcpdump", Purpose::Bench, "tcpdump"),
    Package { name: "frr", purpose: Purpose::Test, probe: Probe::File("/usr/lib/frr/vrrpd") },
    program("e2fsprogs", Purpose::Test, "mkfs.ext4"),
    program("nghttp2-client", Purpose::Test, "h2load"),
    // The server without its service.
    program("apache2-bin", Purpose::Test, "apache2"),
    program("slowhttptest", Purpose::Test, "slowhttptest"),
    program("openssl", Purpose::Test, "openssl"),
    program("jq", Purpose::Test, "jq"),
    program("python3", Purpose::Test, "python3"),
    program("chromium", Purpose::Test, "chromium"),
    program("chromium-driver", Purpose::Test, "chromedriver"),
    Package {
        name: "fonts-noto-cjk",
        purpose: Purpose::Test,
        probe: Probe::File("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"),
    },
];

/// A daemon that its package starts at once and at every boot; the suites start their own.
struct Service {
    package: &'static str,
    /// What init calls it.
    name: &'static str,
    /// A process that shows that it runs.
    process: &'static str,
}

const SERVICES: &[Service] = &[
    Service { package: "haproxy", name: "haproxy", process: "haproxy" },
    Service { package: "nginx-light", name: "nginx", process: "nginx" },
    Service { package: "keepalived", name: "keepalived", process: "keepalived" },
    // zebra and the others are started by it, and again when they end.
    Service { package: "frr", name: "frr", process: "watchfrr" },
];

/// Installs the packages that `purpose` needs and that are missing.
pub(super) fn install(purpose: Purpose) -> Result<()> {
    let missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|package| package.purpose <= purpose && !package.is_there())
        .map(|package| package.name)
        .collect();
    install_packages(&missing)
}

/// Installs packages by name, or says how to do it by hand.
pub(crate) fn install_packages(names: &[&str]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let list = names.join(" ");
    if process::find("apt-get").is_none() {
        bail!("missing: {list} (names of Debian packages). Install them by hand, then try again.");
    }
    let Some(prefix) = privilege() else {
        bail!(
            "missing: {list}. Neither root nor passwordless sudo here; install them by hand:\n    \
             sudo apt-get update && sudo apt-get install --no-install-recommends {list}"
        );
    };
    let running_before: Vec<bool> = SERVICES.iter().map(|s| is_running(s.process)).collect();
    let step = Step::start(format!("Debian packages: {list}"));
    let logs = workspace::root().join("target/xtask");
    process::run_logged(apt(prefix).args(["-q", "update"]), &logs.join("apt-update.log"))?;
    let result = process::run_logged(
        apt(prefix)
            .args(["-q", "install", "--yes", "--no-install-recommends"])
            .args(["-o", "Dpkg::Options::=--force-confold", "-o", "Dpkg::Use-Pty=0"])
            .args(names),
        &logs.join("apt-install.log"),
    );
    for (service, was_running) in SERVICES.iter().zip(running_before) {
        if names.contains(&service.package) && !was_running {
            retire(prefix, service);
        }
    }
    result?;
    step.done();
    Ok(())
}

/// Stops a daemon that only its installation started, and keeps the next boot from starting it.
fn retire(prefix: &[&str], service: &Service) {
    if is_running(service.process) {
        eprintln!("  stopping the {} that its package started", service.name);
        process::succeeds(privileged(prefix, "service").args([service.name, "stop"]));
    }
    process::succeeds(privileged(prefix, "update-rc.d").args([service.name, "disable"]));
}

impl Package {
    fn is_there(&self) -> bool {
        match self.probe {
            Probe::Program(program) => process::find(program).is_some(),
            Probe::File(file) => std::path::Path::new(file).exists(),
        }
    }
}

/// What to put before a command that needs root: nothing, `sudo -n`, or `None` if neither works.
fn privilege() -> Option<&'static [&'static str]> {
    let uid = process::output(Command::new("id").arg("-u")).unwrap_or_default();
    if uid.trim() == "0" {
        return Some(&[]);
    }
    process::find("sudo")?;
    if process::succeeds(Command::new("sudo").args(["-n", "true"])) {
        return Some(&["sudo", "-n"]);
    }
    // A person at the terminal can be asked for the password; a script cannot.
    if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        eprintln!("  sudo asks for your password to install packages");
        if Command::new("sudo").arg("-v").status().is_ok_and(|status| status.success()) {
            return Some(&["sudo", "-n"]);
        }
    }
    None
}

fn privileged(prefix: &[&str], program: &str) -> Command {
    match prefix.split_first() {
        None => Command::new(program),
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    }
}

fn apt(prefix: &[&str]) -> Command {
    let mut command = privileged(prefix, "env");
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    command
}

fn is_running(daemon: &str) -> bool {
    // /proc rather than pgrep: procps may be among what is missing.
    std::fs::read_dir("/proc").into_iter().flatten().flatten().any(|entry| {
        std::fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.trim() == daemon)
    })
}
