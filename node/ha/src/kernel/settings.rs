//! The kernel's settings of a device (ip-sysctl), below `/proc/sys/net`, which is no disk.

use std::io;
use std::path::PathBuf;

/// A setting of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// `ipv4` or `ipv6`.
    pub family: &'static str,
    /// The device's name.
    pub device: String,
    /// Such as `arp_ignore`.
    pub key: &'static str,
}

impl Setting {
    /// Names it.
    pub fn new(family: &'static str, device: &str, key: &'static str) -> Self {
        Self { family, device: device.to_owned(), key }
    }

    /// What it is.
    ///
    /// # Errors
    /// Where the device, the family or the setting is not there.
    pub fn read(&self) -> io::Result<i32> {
        let text = std::fs::read_to_string(self.path())?;
        text.trim().parse().map_err(io::Error::other)
    }

    /// Changes it.
    ///
    /// # Errors
    /// As for reading, and without `CAP_NET_ADMIN`.
    pub fn write(&self, value: i32) -> io::Result<()> {
        std::fs::write(self.path(), value.to_string())
    }

    /// How people name it.
    pub fn name(&self) -> String {
        format!("net.{}.conf.{}.{}", self.family, self.device, self.key)
    }

    fn path(&self) -> PathBuf {
        // A device's name may have dots, and never a slash.
        ["/proc/sys/net", self.family, "conf", &self.device, self.key].iter().collect()
    }
}
