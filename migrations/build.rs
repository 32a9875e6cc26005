//! Makes `migrate!` see a new or changed file: without this line it keeps the old set.

fn main() {
    println!("cargo:rerun-if-changed=.");
}
