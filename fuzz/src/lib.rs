//! Everything of the data plane that is fed bytes by strangers, as functions of those bytes. Each
//! checks more than that nothing panics: that cutting the input changes nothing, that what is accepted
//! is what a plain reading of the standard accepts, that two ways to the same answer agree.
//!
//! `cargo xtask fuzz TARGET` looks for inputs that break them (`fuzz_targets/`); what was found, and
//! what leads into every corner, lies in `corpus/` and is replayed by `tests/replay.rs`.
//!
//! Invariant: a target returns for every input; it panics only where the product is at fault.

#![forbid(unsafe_code)]

pub mod cookies;
pub mod http1;
pub mod http2;
pub mod jwt;
pub mod layer4;
pub mod policy;

/// A function of any bytes.
pub type Target = fn(&[u8]);

/// Every target by the name of its corpus.
pub const TARGETS: [(&str, Target); 12] = [
    ("client_hello", layer4::client_hello),
    ("cookies", cookies::cookies),
    ("http1_chunks", http1::chunks),
    ("http1_head", http1::head),
    ("http1_response", http1::response),
    ("http2_adapter", http2::adapter),
    ("http2_frames", http2::frames),
    ("jwks", jwt::jwks),
    ("jwt", jwt::token),
    ("policy_request", policy::request),
    ("policy_spec", policy::spec),
    ("proxy_protocol", layer4::proxy_protocol),
];

/// The first byte, which says where the rest is cut, and the rest.
fn cut_at(data: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = data.split_first()?;
    Some((usize::from(*first).min(rest.len()), rest))
}
