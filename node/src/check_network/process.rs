//! What the kernel grants to a process like this one.

use std::fs;

use ballast_ha::kernel;

use super::Check;

/// Numbers of capabilities (capabilities(7)).
const NEEDED: [(u32, &str, &str); 2] = [
    (12, "CAP_NET_ADMIN", "floating addresses can't be added or removed"),
    (13, "CAP_NET_RAW", "VRRP can't be spoken and takeovers can't be announced"),
];
/// As the VRRP thread asks for; any will do to find out.
const REALTIME_PRIORITY: i32 = 10;

pub(super) fn check() -> Vec<Check> {
    let mut checks = capabilities();
    // On a thread of its own: this one goes on as it is.
    let granted = std::thread::spawn(|| kernel::realtime(REALTIME_PRIORITY)).join();
    checks.push(match granted {
        Ok(Ok(())) => Check::ok("real-time priority", "granted"),
        Ok(Err(error)) => Check::warning(
            "real-time priority",
            format!("refused ({error}): a busy machine may be taken for dead"),
            "give the service CAP_SYS_NICE, or LimitRTPRIO=10",
        ),
        Err(_) => Check::warning("real-time priority", "could not be asked for", "run this again"),
    });
    checks.push(match kernel::lock_memory() {
        Ok(()) => Check::ok("locked memory", "granted"),
        Err(error) => Check::warning(
            "locked memory",
            format!("refused ({error}): a machine that swaps may be taken for dead"),
            "give the service CAP_IPC_LOCK, or LimitMEMLOCK=infinity",
        ),
    });
    checks
}

fn capabilities() -> Vec<Check> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let Some(effective) = effective(&status) else {
        let found = "/proc/self/status does not tell them";
        return vec![Check::warning("capabilities", found, "mount /proc")];
    };
    let judged = NEEDED.iter().map(|(number, name, without)| {
        if effective & (1 << number) != 0 {
            return Check::ok(*name, "granted to who runs this command");
        }
        let remedy = format!(
            "run this command as the service does; give the service AmbientCapabilities={name}"
        );
        Check::failed(*name, format!("not granted to who runs this command: {without}"), remedy)
    });
    judged.collect()
}

/// The effective capabilities of proc(5)'s status, a bit for each.
pub(super) fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}
