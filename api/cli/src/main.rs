//! ballastctl: Ballast on the command line.

fn main() {}
