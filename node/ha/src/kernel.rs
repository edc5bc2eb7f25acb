//! What the kernel does for us: devices, addresses, raw sockets, scheduling.
//!
//! Invariant: only addresses that the caller names are ever changed.

use std::io;
use std::net::IpAddr;

use ballast_vrrp::Time;
use rustix::mm::MlockAllFlags;
use rustix::time::{ClockId, clock_gettime};

mod frame;
mod neighbour;
mod netlink;
mod probe;
mod raw;
mod settings;
mod socket;

pub use frame::multicast_frame;
pub use neighbour::NeighbourSocket;
pub use netlink::Netlink;
pub use probe::multicast_passes;
pub use settings::Setting;
pub use socket::{Datagram, FrameSocket, VrrpSocket};

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its number.
    pub index: u32,
    /// Its name, such as `eth0`.
    pub name: String,
    /// Its hardware address; zeros where it has none.
    pub mac: [u8; 6],
    /// Whether it is set up and has a carrier.
    pub up: bool,
    /// Whether it carries multicast.
    pub multicast: bool,
    /// Whether it is the loopback device.
    pub loopback: bool,
    /// Its addresses.
    pub addresses: Vec<DeviceAddress>,
    /// What it is on top of, where it is a macvlan.
    pub macvlan: Option<Macvlan>,
}

/// A device with a hardware address of its own on top of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Macvlan {
    /// Number of the device below.
    pub parent: u32,
    /// A text for people, by which its maker knows it again.
    pub alias: String,
    /// Whether it is set up, whatever the device below is.
    pub set_up: bool,
}

/// An address of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceAddress {
    /// The address.
    pub address: IpAddr,
    /// Length of its prefix.
    pub prefix_length: u8,
    /// Whether the kernel will take it away by itself: as it does with floating ones, and with those of
    /// DHCP and of router advertisements.
    pub leased: bool,
}

/// Time since some moment before the process started, which goes on while the machine's clock is set.
pub fn monotonic() -> Time {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let micros = u64::try_from(now.tv_nsec / 1_000).unwrap_or(0);
    Time(seconds * 1_000_000 + micros)
}

/// Gives the calling thread real-time priority (`SCHED_FIFO`); processes that it starts don't have it.
///
/// # Errors
/// Without `CAP_SYS_NICE`, or where the limit on real-time priority is below `priority`.
pub fn realtime(priority: i32) -> io::Result<()> {
    raw::schedule_fifo(priority)
}

/// Keeps pages that are used from then on from being paged out.
///
/// # Errors
/// Without `CAP_IPC_LOCK`, or beyond the limit on locked memory.
pub fn lock_memory() -> io::Result<()> {
    // On fault: pages that nobody touches are not brought in, so that the process stays small.
    rustix::mm::mlockall(MlockAllFlags::CURRENT | MlockAllFlags::ONFAULT)?;
    Ok(())
}
