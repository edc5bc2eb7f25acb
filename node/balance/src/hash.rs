//! Hashes that every node and every version must compute alike: part of the behaviour, not an
//! implementation detail. The golden vectors in the tests pin them.

use std::net::IpAddr;

/// FNV-1a (64 bit), finished by [`mix`] because FNV's upper bits are weak for short inputs.
pub(crate) fn hash_bytes(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(fnv)
}

/// The hash of a client's address; an IPv4 address and its IPv6-mapped form are the same client.
pub(crate) fn hash_address(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => hash_bytes(&address.octets()),
        IpAddr::V6(address) => hash_bytes(&address.octets()),
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood, 2014): every input bit reaches every output bit.
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A sequence of random numbers grown from one.
#[derive(Debug)]
pub(crate) struct Draws(u64);

impl Draws {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (SplitMix64).
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`, which must not be 0. Lemire's multiplication: its bias of
    /// bound / 2^64 is far below anything that can be seen.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

/// Fractional bits of what [`neg_log2`] returns.
const LOG_FRACTION_BITS: u32 = 32;
const LOG_TABLE_BITS: u32 = 10;

/// `log2(1 + i / 1024)` with 32 fractional bits.
static LOG_TABLE: [u64; (1 << LOG_TABLE_BITS) + 1] = log_table();

/// `-log2(hash / 2^64)` in fixed point, from 0 excluded to 64.
///
/// In integers, so that two machines can't disagree in the last bit; the error stays below 2^-21,
/// which moves less than one client in a million.
pub(crate) fn neg_log2(hash: u64) -> u64 {
    let hash = hash | 1;
    let zeros = hash.leading_zeros();
    // The leading one removed, the rest shifted up: the fraction of 1.fraction.
    let fraction = (hash << zeros) << 1;
    let slot = (fraction >> (64 - LOG_TABLE_BITS)) as usize;
    let within = (fraction << LOG_TABLE_BITS) >> 32;
    let (low, high) = (LOG_TABLE[slot], LOG_TABLE[slot + 1]);
    let log = low + (((high - low) * within) >> 32);
    ((u64::from(zeros) + 1) << LOG_FRACTION_BITS) - log.min((1 << LOG_FRACTION_BITS) - 1)
}

const fn log_table() -> [u64; (1 << LOG_TABLE_BITS) + 1] {
    let mut table = [0; (1 << LOG_TABLE_BITS) + 1];
    let mut slot = 0;
    while slot < table.len() {
        table[slot] = log2_of_slot(slot as u64);
        slot += 1;
    }
    table
}

/// `log2(1 + slot / 1024)`, one bit at a time: squaring doubles the logarithm.
const fn log2_of_slot(slot: u64) -> u64 {
    if slot == 1 << LOG_TABLE_BITS {
        return 1 << LOG_FRACTION_BITS;
    }
    // 1.0 to 2.0 with 62 fractional bits.
    let mut x = (1_u128 << 62) + ((slot as u128) << (62 - LOG_TABLE_BITS));
    let mut log = 0;
    let mut bit = 0;
    while bit < LOG_FRACTION_BITS {
        x = (x * x) >> 62;
        log <<= 1;
        if x >= 1 << 63 {
            x >>= 1;
            log |= 1;
        }
        bit += 1;
    }
    log
}

#[cfg(test)]
mod tests;
