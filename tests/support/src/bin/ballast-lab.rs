//! A lab to try things in by hand: `up`, `down`, `status`.

fn main() {}
