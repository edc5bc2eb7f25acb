//! Hashes that every node must compute alike. The golden vectors in the tests pin them.

/// FNV-1a (64 bit) of several parts, kept apart by their lengths, finished by SplitMix64's finalizer
/// because FNV's upper bits are weak for short inputs. For shares, where a client that chooses its
/// hash gains nothing.
pub(crate) fn stable<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let fnv = parts.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, part: &[u8]| {
        let length = (part.len() as u64).to_be_bytes();
        length.into_iter().chain(part.iter().copied()).fold(hash, step)
    });
    let value = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Makes the keys of rate limits small: SipHash-2-4 with 128 bits (Aumasson and Bernstein, 2012).
/// Keyed, so that no client can look for a value that shares another one's limit; with a key that
/// all nodes of the cluster derive alike, so that they speak of the same thing.
#[derive(Clone)]
pub struct KeyHasher {
    k0: u64,
    k1: u64,
}

impl std::fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyHasher(..)")
    }
}

impl KeyHasher {
    /// Takes 16 bytes that every node of the cluster derives alike and nobody else knows.
    pub fn new(key: &[u8; 16]) -> Self {
        let [k0, k1] = [0, 8].map(|at| word(&key[at..at + 8]));
        Self { k0, k1 }
    }

    /// The hash of some bytes.
    pub fn hash(&self, bytes: &[u8]) -> u128 {
        let mut v = [
            self.k0 ^ 0x736f_6d65_7073_6575,
            self.k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            self.k0 ^ 0x6c79_6765_6e65_7261,
            self.k1 ^ 0x7465_6462_7974_6573,
        ];
        let mut chunks = bytes.chunks_exact(8);
        let mut absorb = |m: u64| {
            v[3] ^= m;
            rounds(&mut v, 2);
            v[0] ^= m;
        };
        for chunk in &mut chunks {
            absorb(word(chunk));
        }
        absorb(word(chunks.remainder()) | (bytes.len() as u64) << 56);
        v[2] ^= 0xee;
        rounds(&mut v, 4);
        let first = v[0] ^ v[1] ^ v[2] ^ v[3];
        v[1] ^= 0xdd;
        rounds(&mut v, 4);
        let second = v[0] ^ v[1] ^ v[2] ^ v[3];
        u128::from(second) << 64 | u128::from(first)
    }
}

/// Up to eight bytes, the lowest first.
fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn rounds(v: &mut [u64; 4], count: usize) {
    for _ in 0..count {
        v[0] = v[0].wrapping_add(v[1]);
        v[1] = v[1].rotate_left(13) ^ v[0];
        v[0] = v[0].rotate_left(32);
        v[2] = v[2].wrapping_add(v[3]);
        v[3] = v[3].rotate_left(16) ^ v[2];
        v[0] = v[0].wrapping_add(v[3]);
        v[3] = v[3].rotate_left(21) ^ v[0];
        v[2] = v[2].wrapping_add(v[1]);
        v[1] = v[1].rotate_left(17) ^ v[2];
        v[2] = v[2].rotate_left(32);
    }
}

#[cfg(test)]
mod tests;
