//! ballastd: the Ballast node.

fn main() {}
