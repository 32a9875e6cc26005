//! Calling cargo from a command that cargo itself has started.

use std::process::Command;

use crate::project::Project;

/// Variables that `cargo run` sets for us, by their beginnings.
const SET_BY_CARGO: [&str; 4] = [
    "CARGO_BIN_",
    "CARGO_CRATE_",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
];

/// A cargo that runs in the checkout as if it was started by hand.
pub(crate) fn command(project: &Project) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(project.root());
    forget_ours(&mut cargo);
    cargo
}

/// Takes away what `cargo run` has set for this process. Build scripts watch some of it (ring's
/// watches `CARGO_PKG_NAME`): with ours in place, a build from here and one by hand would undo each
/// other, a minute each time.
pub(crate) fn forget_ours(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| SET_BY_CARGO.iter().any(|start| name.starts_with(start)))
        {
            command.env_remove(name);
        }
    }
}
