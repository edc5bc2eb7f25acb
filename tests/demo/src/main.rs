//! The demonstration: a cluster in a lab, with traffic through it.

fn main() {}
