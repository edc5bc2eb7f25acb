//! Setup, build, demo, test, check and bench of Ballast.

fn main() {}
