//! m.
fn main() {}
