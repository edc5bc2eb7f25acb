//! Ballast's web console.

fn main() {}
