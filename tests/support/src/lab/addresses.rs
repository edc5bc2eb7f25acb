//! The addresses in a namespace, as the kernel lists them.

use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

#[derive(Deserialize)]
struct Interface {
    #[serde(default)]
    ifname: String,
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Deserialize)]
struct Address {
    local: Option<IpAddr>,
}

/// Every address with its interface.
pub(super) fn list(namespace: &str) -> Result<Vec<(String, IpAddr)>> {
    let output = Command::new("ip").args(["-n", namespace, "-json", "address", "show"]).output();
    let output = output.context("starting ip (Debian package iproute2)")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    parse(&output.stdout)
}

fn parse(json: &[u8]) -> Result<Vec<(String, IpAddr)>> {
    let interfaces: Vec<Interface> = serde_json::from_slice(json).context("`ip -json address`")?;
    let all = interfaces.into_iter().flat_map(|interface| {
        let name = interface.ifname;
        let locals = interface.addr_info.into_iter().filter_map(|address| address.local);
        locals.map(move |local| (name.clone(), local)).collect::<Vec<_>>()
    });
    Ok(all.collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn addresses_are_listed_with_their_interface() {
        let json = br#"[{},{"ifname":"eth0","addr_info":[{"family":"inet","local":"10.77.0.9"},
            {"family":"inet6","local":"fd77:77::100"}]}]"#;
        let list = super::parse(json).unwrap();
        let expected = [("eth0", "10.77.0.9"), ("eth0", "fd77:77::100")];
        let expected = expected.map(|(name, ip)| (name.to_owned(), ip.parse().unwrap()));
        assert_eq!(list, expected);
    }
}
