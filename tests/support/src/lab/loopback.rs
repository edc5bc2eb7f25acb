//! Hosts as addresses of the loopback interface, in a /24 that no other running lab uses.

use std::fs::File;
use std::net::Ipv4Addr;

use anyhow::{Result, bail};

/// A claimed network; the claim ends with the process at the latest, for it is a file lock.
#[derive(Debug)]
pub(super) struct Network {
    third: u8,
    _claim: File,
}

impl Network {
    /// Claims the first free network of 127.77.1.0/24 to 127.77.254.0/24.
    pub(super) fn claim() -> Result<Self> {
        for third in 1..=254 {
            let path = std::env::temp_dir().join(format!("ballast-lab-127.77.{third}.lock"));
            // A file of another user cannot be opened: that network is theirs.
            let Ok(file) = File::options().create(true).write(true).truncate(false).open(path)
            else {
                continue;
            };
            if file.try_lock().is_ok() {
                return Ok(Self { third, _claim: file });
            }
        }
        bail!("all 254 loopback networks are in use")
    }

    /// The address that ends in `last`.
    pub(super) fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 77, self.third, last)
    }
}
