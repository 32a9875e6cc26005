//! api.
fn main() {}
